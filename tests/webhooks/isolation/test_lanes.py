"""Lanes against a clock of our own."""

import asyncio
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.clock import Clock
from webhooks.contracts import TENANT_SUSPENDED
from webhooks.isolation.lane import FIRST_PAUSE_SECONDS, INITIAL_WIDTH, MAX_WIDTH, Condition, State
from webhooks.isolation.lanes import MAX_CONCURRENT_PER_TENANT, RESERVE_PER_TENANT, Lanes, Resumable


@pytest.fixture
def lanes(clock: Clock) -> Lanes:
    return Lanes(clock)


def fill(lanes: Lanes, many: int, webhook: str = "w") -> list[str]:
    """Try this many deliveries, and return those that must wait."""
    return [name for n in range(many) if lanes.try_acquire("t", webhook, name := f"{webhook}-{n}")]


def open_circuit(lanes: Lanes, webhook: str = "w") -> None:
    """Make requests fail until the circuit is open."""
    for n in count():
        if lanes.snapshot(webhook).state is not State.CLOSED:
            return
        assert lanes.try_acquire("t", webhook, f"failing-{n}") is None
        lanes.release("t", webhook, Condition.FAILING)


def resumed(lanes: Lanes) -> str | None:
    found = lanes.next_to_resume()
    return found.workflow_id if found else None


def test_a_new_lane_is_narrow_and_grows_with_answers(lanes: Lanes) -> None:
    assert len(fill(lanes, 100)) == 100 - INITIAL_WIDTH
    for _ in range(INITIAL_WIDTH):
        lanes.release("t", "w", Condition.HEALTHY)
    assert len(fill(lanes, 100)) == 100 - 2 * INITIAL_WIDTH
    for _ in range(10):
        for _ in range(lanes.snapshot("w").in_flight):
            lanes.release("t", "w", Condition.HEALTHY)
        fill(lanes, 100)
    assert lanes.snapshot("w").in_flight == MAX_WIDTH


def test_another_lane_has_room(lanes: Lanes) -> None:
    fill(lanes, 100)

    assert lanes.try_acquire("t", "other", "x") is None


def test_a_tenant_has_a_share(lanes: Lanes) -> None:
    for n in range(MAX_CONCURRENT_PER_TENANT + RESERVE_PER_TENANT):
        assert lanes.try_acquire("t", f"w-{n}", f"d-{n}") is None
    refused = lanes.try_acquire("t", "w-new", "d-new")

    assert refused
    assert refused.reason == "the tenant's share of requests is in flight"
    assert lanes.try_acquire("another", "w", "d") is None
    lanes.release("t", "w-0", Condition.HEALTHY)
    assert lanes.try_acquire("t", "w-new", "d-new") is None


def test_failures_in_a_row_open_the_circuit_and_a_probe_closes_it(lanes: Lanes, clock: Clock) -> None:
    open_circuit(lanes)
    assert lanes.snapshot("w").state is State.OPEN
    wait = lanes.try_acquire("t", "w", "a")
    assert wait
    assert wait.reason == "the receiver gives no answer"

    clock.now += 1
    assert lanes.snapshot("w").state is State.HALF_OPEN
    assert lanes.try_acquire("t", "w", "a") is None
    assert lanes.try_acquire("t", "w", "b"), "one probe at a time"
    lanes.release("t", "w", Condition.FAILING)
    assert lanes.snapshot("w").state is State.OPEN

    clock.now += 1.9
    assert lanes.snapshot("w").state is State.OPEN, "each pause is twice the last"
    clock.now += 0.1
    assert lanes.try_acquire("t", "w", "b") is None
    lanes.release("t", "w", Condition.HEALTHY)
    assert lanes.snapshot("w").state is State.CLOSED


def test_after_an_answer_the_first_pause_is_short_again(lanes: Lanes, clock: Clock) -> None:
    open_circuit(lanes)
    assert lanes.try_acquire("t", "w", "waiting")  # keeps the lane
    clock.now += FIRST_PAUSE_SECONDS
    assert lanes.try_acquire("t", "w", "probe") is None
    lanes.release("t", "w", Condition.HEALTHY)
    open_circuit(lanes)
    before = lanes.snapshot("w").state
    clock.now += FIRST_PAUSE_SECONDS

    assert (before, lanes.snapshot("w").state) == (State.OPEN, State.HALF_OPEN)


def test_answers_in_between_keep_it_closed(lanes: Lanes) -> None:
    for n in range(100):
        assert lanes.try_acquire("t", "w", str(n)) is None
        lanes.release("t", "w", Condition.FAILING if n % 3 else Condition.HEALTHY)

    assert lanes.snapshot("w").state is State.CLOSED


def test_requests_sent_before_it_opened_do_not_lengthen_the_pause(lanes: Lanes, clock: Clock) -> None:
    for n in range(INITIAL_WIDTH):
        lanes.try_acquire("t", "w", str(n))
    for _ in range(INITIAL_WIDTH):
        lanes.release("t", "w", Condition.NEUTRAL)
    lanes.try_acquire("t", "w", "late")
    for n in range(5):
        lanes.try_acquire("t", "w", str(n), by_person=True)
        lanes.release("t", "w", Condition.FAILING)
    lanes.release("t", "w", Condition.FAILING)
    clock.now += 1

    assert lanes.snapshot("w").state is State.HALF_OPEN


def test_an_open_circuit_does_not_stop_a_person(lanes: Lanes) -> None:
    open_circuit(lanes)

    assert lanes.try_acquire("t", "w", "by hand", by_person=True) is None


def test_waiting_deliveries_are_resumed_oldest_first_as_there_is_room(lanes: Lanes, clock: Clock) -> None:
    waiting = fill(lanes, INITIAL_WIDTH + 6)
    assert lanes.next_to_resume() is None
    lanes.release("t", "w", Condition.HEALTHY)

    assert [resumed(lanes), resumed(lanes), resumed(lanes)] == [waiting[0], waiting[1], None]
    assert lanes.try_acquire("t", "w", waiting[0]) is None
    assert lanes.try_acquire("t", "w", waiting[1]) is None
    assert lanes.next_to_resume() is None
    assert lanes.snapshot("w").waiting == 4


def test_a_resumed_delivery_that_does_not_come_is_not_waited_for(lanes: Lanes, clock: Clock) -> None:
    waiting = fill(lanes, INITIAL_WIDTH + 6)
    lanes.release("t", "w", Condition.NEUTRAL)
    assert resumed(lanes) == waiting[0]
    assert lanes.next_to_resume() is None
    clock.now += 10

    assert resumed(lanes) == waiting[1]


def test_a_half_open_circuit_resumes_one(lanes: Lanes, clock: Clock) -> None:
    open_circuit(lanes)
    waiting = fill(lanes, INITIAL_WIDTH + 6)
    assert lanes.next_to_resume() is None
    clock.now += 1

    assert [resumed(lanes), resumed(lanes)] == [waiting[0], None]


def test_lanes_resume_in_turn(lanes: Lanes) -> None:
    names = {webhook: fill(lanes, INITIAL_WIDTH + 6, webhook) for webhook in ("a", "b")}
    for webhook in names:
        for _ in range(2):
            lanes.release("t", webhook, Condition.NEUTRAL)

    assert [resumed(lanes) for _ in range(5)] == [names["a"][0], names["b"][0], names["a"][1], names["b"][1], None]


def test_the_more_deliveries_wait_the_longer_each_waits(lanes: Lanes) -> None:
    """So that wake-ups per second stay constant."""
    waits = [wait.after for n in range(20_000) if (wait := lanes.try_acquire("t", "w", str(n)))]

    assert 30 <= waits[0] <= 60
    assert waits[-1] >= 3_600
    assert max(waits) <= 7_200


def test_a_delayed_delivery_is_resumed_like_a_waiting_one(lanes: Lanes, clock: Clock) -> None:
    open_circuit(lanes)
    lanes.add_delayed("t", "w", "delayed", 60)
    assert lanes.try_acquire("t", "w", "started")
    clock.now += 1
    assert lanes.snapshot("w").waiting == 2

    assert lanes.next_to_resume() == Resumable("delayed", started=False)
    assert lanes.try_acquire("t", "w", "delayed") is None
    lanes.release("t", "w", Condition.HEALTHY)
    assert lanes.next_to_resume() == Resumable("started", started=True)


def test_a_delivery_that_starts_soon_by_itself_is_not_resumed(lanes: Lanes, clock: Clock) -> None:
    lanes.add_delayed("t", "w", "soon", 100)
    lanes.add_delayed("t", "w", "later", 101)
    clock.now += 95

    assert lanes.next_to_resume() == Resumable("later", started=False)
    assert lanes.next_to_resume() is None


def test_a_delivery_that_was_not_reached_is_the_next_again(lanes: Lanes) -> None:
    lanes.add_delayed("t", "w", "a", 100)
    lanes.add_delayed("t", "w", "b", 100)
    found = lanes.next_to_resume()
    assert found
    assert found == Resumable("a", started=False)
    lanes.requeue(found)

    assert [resumed(lanes), resumed(lanes), resumed(lanes)] == ["a", "b", None]


def test_a_delivery_that_has_come_meanwhile_is_not_put_back(lanes: Lanes) -> None:
    fill(lanes, INITIAL_WIDTH + 1)
    lanes.release("t", "w", Condition.HEALTHY)
    delivery = lanes.next_to_resume()
    assert delivery
    lanes.forget("w", delivery.workflow_id)
    lanes.requeue(delivery)

    assert lanes.snapshot("w").waiting == 0


def test_a_forgotten_delivery_makes_room_for_the_next(lanes: Lanes, clock: Clock) -> None:
    open_circuit(lanes)
    lanes.add_delayed("t", "w", "deleted", 100)
    lanes.add_delayed("t", "w", "next", 100)
    clock.now += 1
    assert resumed(lanes) == "deleted"
    lanes.forget("w", "deleted")

    assert resumed(lanes) == "next"


def test_a_tenant_s_slow_webhooks_leave_room_for_webhooks_with_few_requests(lanes: Lanes) -> None:
    for webhook in count():
        if fill(lanes, INITIAL_WIDTH, f"slow-{webhook}"):
            break
    assert lanes.try_acquire("t", "other", "1") is None
    assert sum(lanes.snapshot(f"slow-{n}").in_flight for n in range(webhook + 1)) >= MAX_CONCURRENT_PER_TENANT
    for n in range(2, 5):
        assert lanes.try_acquire("t", "other", str(n)) is None
    assert lanes.try_acquire("t", "other", "5"), "it has its few"


def test_slow_answers_do_not_widen_a_lane(lanes: Lanes) -> None:
    for n in range(20):
        assert lanes.try_acquire("t", "w", str(n)) is None
        lanes.release("t", "w", Condition.SLOW)

    assert lanes.snapshot("w").limit == INITIAL_WIDTH


def test_a_delivery_rejected_early_waits_like_the_others(lanes: Lanes, clock: Clock) -> None:
    assert lanes.reject_early("t", "w", "first") is None
    fill(lanes, INITIAL_WIDTH)
    assert lanes.reject_early("t", "w", "second") is None, "a closed circuit has a queue"
    open_circuit(lanes, "dead")
    wait = lanes.reject_early("t", "dead", "third")
    assert wait
    assert wait.reason == "the receiver gives no answer"
    clock.now += 1
    assert lanes.reject_early("t", "dead", "fourth") is None, "it may probe"
    assert resumed(lanes) == "third"


async def test_a_closed_circuit_has_a_queue(lanes: Lanes) -> None:
    """A delivery that finds the lane full gets in when another ends, in turn, without a wait in Temporal."""
    fill(lanes, INITIAL_WIDTH)
    queued = [asyncio.create_task(lanes.acquire("t", "w", f"q-{n}")) for n in range(3)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in queued)
    for _ in range(3):
        lanes.release("t", "w", Condition.NEUTRAL)

    assert await asyncio.gather(*queued) == [None, None, None]
    assert (lanes.snapshot("w").in_flight, lanes.snapshot("w").waiting) == (INITIAL_WIDTH, 0)


async def test_a_cancelled_wait_leaves_no_gap_in_the_queue(lanes: Lanes) -> None:
    fill(lanes, INITIAL_WIDTH)
    impatient, patient = [asyncio.create_task(lanes.acquire("t", "w", name)) for name in ("impatient", "patient")]
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.wait([impatient])
    lanes.release("t", "w", Condition.NEUTRAL)
    assert await patient is None
    late = asyncio.create_task(lanes.acquire("t", "w", "late"))
    await asyncio.sleep(0)
    lanes.release("t", "w", Condition.NEUTRAL)  # its turn has come in the moment in which it is cancelled
    late.cancel()
    await asyncio.wait([late])

    assert lanes.snapshot("w").in_flight == INITIAL_WIDTH - 1


async def test_a_failing_lane_has_no_queue(lanes: Lanes) -> None:
    lanes.try_acquire("t", "w", "first")
    lanes.release("t", "w", Condition.FAILING)
    fill(lanes, INITIAL_WIDTH)

    assert await lanes.acquire("t", "w", "next")
    assert lanes.snapshot("w").waiting > 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([*Condition, "acquire", "resume"])), max_size=200))
def test_the_books_balance(steps: list[tuple[str, object]]) -> None:
    """Whatever happens, what entered and has not left is in flight, never more than there is room for; an idle lane
    leaves nothing behind."""
    clock = Clock()
    lanes, inside, names = Lanes(clock), dict.fromkeys("abc", 0), count()
    for webhook, step in steps:
        clock.now += 0.3
        if step == "resume":
            lanes.next_to_resume()
        elif step == "acquire":
            inside[webhook] += lanes.try_acquire("t", webhook, str(next(names))) is None
        elif inside[webhook]:
            inside[webhook] -= 1
            lanes.release("t", webhook, step)  # type: ignore[arg-type]
        assert {name: lanes.snapshot(name).in_flight for name in inside} == inside
        assert max(inside.values()) <= MAX_WIDTH
    for webhook, many in inside.items():
        for _ in range(many):
            lanes.release("t", webhook, Condition.HEALTHY)
    assert lanes.try_acquire("t", "new", "x") is None


async def test_all_lanes_are_counted(lanes: Lanes, clock: Clock) -> None:
    """Deliveries that are queued, resumed and delayed are counted too."""
    assert lanes.totals().in_flight == lanes.totals().waiting == 0
    fill(lanes, INITIAL_WIDTH)
    queued = asyncio.ensure_future(lanes.acquire("t", "w", "queued"))
    await asyncio.sleep(0)
    lanes.add_delayed("t", "w", "delayed", 600)
    open_circuit(lanes, "silent")
    fill(lanes, 5, "silent")
    clock.now += 0.5
    counted = lanes.totals()
    lanes.release("t", "w", Condition.HEALTHY)
    await queued

    assert (counted.in_flight, counted.waiting) == (INITIAL_WIDTH, 7)
    assert counted.states == {State.CLOSED: 1, State.OPEN: 1}


async def test_a_suspended_tenant_s_deliveries_wait(lanes: Lanes, clock: Clock) -> None:
    """Also those that a person asks for. Others go on; when the suspension is lifted, they are resumed in turn."""
    assert lanes.try_acquire("acme", "w", "on-the-wire") is None
    lanes.suspend(frozenset({"acme"}))
    early = lanes.reject_early("acme", "w", "first")
    wait = await lanes.acquire("acme", "w", "second", by_person=True)
    lanes.release("acme", "w", Condition.HEALTHY)

    assert [found and found.reason for found in (early, wait)] == [TENANT_SUSPENDED] * 2
    assert lanes.try_acquire("other", "o", "x") is None
    clock.now += 60
    assert lanes.next_to_resume() is None
    lanes.suspend(frozenset())
    assert [resumed(lanes), resumed(lanes), resumed(lanes)] == ["first", "second", None]
    assert lanes.try_acquire("acme", "w", "first") is None
