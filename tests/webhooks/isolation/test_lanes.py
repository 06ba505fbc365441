"""Lanes against a clock of our own."""

import asyncio
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.clock import Clock
from webhooks.isolation.lanes import (
    BACKLOG,
    NARROW,
    OF_ONE_TENANT,
    RESERVE,
    WIDE,
    Call,
    Lanes,
    State,
    TooManyDelayedError,
)


@pytest.fixture
def lanes(clock: Clock) -> Lanes:
    return Lanes(clock)


def fill(lanes: Lanes, many: int, webhook: str = "w") -> list[str]:
    """Tries that many deliveries; those that must wait."""
    return [name for n in range(many) if lanes.enter("t", webhook, name := f"{webhook}-{n}")]


def shut(lanes: Lanes, webhook: str = "w") -> None:
    """Requests that hurt until the lane is shut."""
    for n in count():
        if lanes.traffic(webhook).state is not State.OPEN:
            return
        assert lanes.enter("t", webhook, f"shutting-{n}") is None
        lanes.leave("t", webhook, hurt=True)


def called(lanes: Lanes) -> str | None:
    call = lanes.call()
    return call.delivery if call else None


def test_a_new_lane_is_narrow_and_grows_with_answers(lanes: Lanes) -> None:
    assert len(fill(lanes, 100)) == 100 - NARROW
    for _ in range(NARROW):
        lanes.leave("t", "w", hurt=False)
    assert len(fill(lanes, 100)) == 100 - 2 * NARROW
    for _ in range(10):
        for _ in range(lanes.traffic("w").in_flight):
            lanes.leave("t", "w", hurt=False)
        fill(lanes, 100)
    assert lanes.traffic("w").in_flight == WIDE


def test_another_lane_has_room(lanes: Lanes) -> None:
    fill(lanes, 100)

    assert lanes.enter("t", "other", "x") is None


def test_a_tenant_has_a_share(lanes: Lanes) -> None:
    for n in range(OF_ONE_TENANT + RESERVE):
        assert lanes.enter("t", f"w-{n}", f"d-{n}") is None
    refused = lanes.enter("t", "w-new", "d-new")

    assert refused
    assert refused.reason == "the tenant's share of requests is in flight"
    assert lanes.enter("another", "w", "d") is None
    lanes.leave("t", "w-0", hurt=False)
    assert lanes.enter("t", "w-new", "d-new") is None


def test_what_hurts_in_a_row_shuts_the_lane_and_probes_open_it(lanes: Lanes, clock: Clock) -> None:
    shut(lanes)
    assert lanes.traffic("w").state is State.SHUT
    wait = lanes.enter("t", "w", "a")
    assert wait
    assert wait.reason == "the receiver gives no answer"

    clock.now += 1
    assert lanes.traffic("w").state is State.PROBING
    assert lanes.enter("t", "w", "a") is None
    assert lanes.enter("t", "w", "b"), "one probe at a time"
    lanes.leave("t", "w", hurt=True)
    assert lanes.traffic("w").state is State.SHUT

    clock.now += 1.9
    assert lanes.traffic("w").state is State.SHUT, "each pause is twice the last"
    clock.now += 0.1
    assert lanes.enter("t", "w", "b") is None
    lanes.leave("t", "w", hurt=False)
    assert lanes.traffic("w").state is State.OPEN


def test_answers_in_between_keep_it_open(lanes: Lanes) -> None:
    for n in range(100):
        assert lanes.enter("t", "w", str(n)) is None
        lanes.leave("t", "w", hurt=n % 3 > 0)

    assert lanes.traffic("w").state is State.OPEN


def test_what_was_sent_before_it_shut_does_not_lengthen_the_pause(lanes: Lanes, clock: Clock) -> None:
    for n in range(NARROW):
        lanes.enter("t", "w", str(n))
    for _ in range(NARROW):
        lanes.leave("t", "w", hurt=None)
    lanes.enter("t", "w", "late")
    for n in range(5):
        lanes.enter("t", "w", str(n), at_once=True)
        lanes.leave("t", "w", hurt=True)
    lanes.leave("t", "w", hurt=True)
    clock.now += 1

    assert lanes.traffic("w").state is State.PROBING


def test_a_person_gets_through(lanes: Lanes) -> None:
    shut(lanes)

    assert lanes.enter("t", "w", "by hand", at_once=True) is None


def test_those_who_wait_are_called_oldest_first_as_there_is_room(lanes: Lanes, clock: Clock) -> None:
    waiting = fill(lanes, NARROW + 6)
    assert lanes.call() is None
    lanes.leave("t", "w", hurt=False)

    assert [called(lanes), called(lanes), called(lanes)] == [waiting[0], waiting[1], None]
    assert lanes.enter("t", "w", waiting[0]) is None
    assert lanes.enter("t", "w", waiting[1]) is None
    assert lanes.call() is None
    assert lanes.traffic("w").waiting == 4


def test_who_does_not_come_gives_way(lanes: Lanes, clock: Clock) -> None:
    waiting = fill(lanes, NARROW + 6)
    lanes.leave("t", "w", hurt=None)
    assert called(lanes) == waiting[0]
    assert lanes.call() is None
    clock.now += 10

    assert called(lanes) == waiting[1]


def test_a_shut_lane_calls_one_when_it_probes(lanes: Lanes, clock: Clock) -> None:
    shut(lanes)
    waiting = fill(lanes, NARROW + 6)
    assert lanes.call() is None
    clock.now += 1

    assert [called(lanes), called(lanes)] == [waiting[0], None]


def test_lanes_are_called_in_turn(lanes: Lanes) -> None:
    names = {webhook: fill(lanes, NARROW + 6, webhook) for webhook in ("a", "b")}
    for webhook in names:
        for _ in range(2):
            lanes.leave("t", webhook, hurt=None)

    assert [called(lanes) for _ in range(5)] == [names["a"][0], names["b"][0], names["a"][1], names["b"][1], None]


def test_the_more_wait_the_longer(lanes: Lanes) -> None:
    """So that the timers of many who wait stay a trickle."""
    waits = [wait.after for n in range(20_000) if (wait := lanes.enter("t", "w", str(n)))]

    assert 30 <= waits[0] <= 60
    assert waits[-1] >= 3_600
    assert max(waits) <= 7_200


def test_a_new_delivery_has_a_head_start_only_where_the_lane_is_shut(lanes: Lanes, clock: Clock) -> None:
    assert lanes.head_start("w") == 0
    fill(lanes, 100)
    assert lanes.head_start("w") == 0
    shut(lanes, "dead")
    assert 60 <= lanes.head_start("dead") <= 120
    clock.now += 5
    assert 60 <= lanes.head_start("dead") <= 120
    clock.now += 595
    assert 2_400 <= lanes.head_start("dead") <= 4_800, "several times as long as the trouble has lasted"
    clock.now += 86_400
    assert 21_600 <= lanes.head_start("dead") <= 43_200
    assert lanes.enter("t", "dead", "probe") is None
    lanes.leave("t", "dead", hurt=False)
    assert lanes.head_start("dead") == 0


def test_what_is_held_is_called_like_what_waits(lanes: Lanes, clock: Clock) -> None:
    shut(lanes)
    lanes.hold("t", "w", "held", 60)
    assert lanes.enter("t", "w", "begun")
    clock.now += 1
    assert lanes.traffic("w").waiting == 2

    assert lanes.call() == Call("held", begun=False)
    assert lanes.enter("t", "w", "held") is None
    lanes.leave("t", "w", hurt=False)
    assert lanes.call() == Call("begun", begun=True)


def test_what_is_begun_soon_by_itself_is_not_called(lanes: Lanes, clock: Clock) -> None:
    lanes.hold("t", "w", "soon", 100)
    lanes.hold("t", "w", "later", 101)
    clock.now += 95

    assert lanes.call() == Call("later", begun=False)
    assert lanes.call() is None


async def test_what_is_to_be_held_is_stored_two_at_a_time_and_bounded(lanes: Lanes) -> None:
    """It must leave Temporal to what is urgent."""
    inside, most, go = 0, 0, asyncio.Event()

    async def store() -> None:
        nonlocal inside, most
        async with lanes.holding():
            inside += 1
            most = max(most, inside)
            await go.wait()
            inside -= 1

    storing = [asyncio.create_task(store()) for _ in range(40)]
    await asyncio.sleep(0)
    go.set()
    results = await asyncio.gather(*storing, return_exceptions=True)

    assert most == 2
    assert [type(result) for result in results] == [type(None)] * 32 + [TooManyDelayedError] * 8
    async with lanes.holding():
        pass


def test_who_was_not_reached_is_the_next_again(lanes: Lanes) -> None:
    lanes.hold("t", "w", "a", 100)
    lanes.hold("t", "w", "b", 100)
    call = lanes.call()
    assert call == Call("a", begun=False)
    lanes.put_back(call)

    assert [called(lanes), called(lanes), called(lanes)] == ["a", "b", None]


def test_who_will_not_come_is_waited_for_no_longer(lanes: Lanes, clock: Clock) -> None:
    shut(lanes)
    lanes.hold("t", "w", "deleted", 100)
    lanes.hold("t", "w", "next", 100)
    clock.now += 1
    assert called(lanes) == "deleted"
    lanes.drop("w", "deleted")

    assert called(lanes) == "next"


def test_a_tenant_s_slow_webhooks_leave_room_for_those_that_ask_for_little(lanes: Lanes) -> None:
    for webhook in count():
        if fill(lanes, NARROW, f"slow-{webhook}"):
            break
    assert lanes.enter("t", "other", "1") is None
    assert sum(lanes.traffic(f"slow-{n}").in_flight for n in range(webhook + 1)) >= OF_ONE_TENANT
    for n in range(2, 5):
        assert lanes.enter("t", "other", str(n)) is None
    assert lanes.enter("t", "other", "5"), "it has its few"


def test_slow_answers_do_not_widen_a_lane(lanes: Lanes) -> None:
    for n in range(20):
        assert lanes.enter("t", "w", str(n)) is None
        lanes.leave("t", "w", hurt=False, slow=True)

    assert lanes.traffic("w").limit == NARROW


def test_who_is_turned_away_before_it_is_prepared_waits_like_the_others(lanes: Lanes, clock: Clock) -> None:
    assert lanes.turn_away("w", "first") is None
    fill(lanes, NARROW)
    assert lanes.turn_away("w", "second") is None, "a lane that flows has a queue"
    shut(lanes, "dead")
    wait = lanes.turn_away("dead", "third")
    assert wait
    assert wait.reason == "the receiver gives no answer"
    clock.now += 1
    assert lanes.turn_away("dead", "fourth") is None, "it may probe"
    assert called(lanes) == "third"


def test_a_full_lane_in_which_nothing_ends_is_in_trouble(lanes: Lanes, clock: Clock) -> None:
    """Long before its requests time out."""
    fill(lanes, NARROW)
    assert lanes.head_start("w") == 0
    clock.now += 3
    assert lanes.head_start("w") > 0
    lanes.leave("t", "w", hurt=False)

    assert lanes.head_start("w") == 0


async def test_a_lane_that_flows_has_a_queue(lanes: Lanes) -> None:
    """Who comes while it is full gets in as others leave, in turn, without waiting in Temporal."""
    fill(lanes, NARROW)
    queued = [asyncio.create_task(lanes.admit("t", "w", f"q-{n}")) for n in range(3)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in queued)
    for _ in range(3):
        lanes.leave("t", "w", hurt=None)

    assert await asyncio.gather(*queued) == [None, None, None]
    assert (lanes.traffic("w").in_flight, lanes.traffic("w").waiting) == (NARROW, 0)


async def test_who_leaves_the_queue_leaves_no_gap(lanes: Lanes) -> None:
    fill(lanes, NARROW)
    impatient, patient = [asyncio.create_task(lanes.admit("t", "w", name)) for name in ("impatient", "patient")]
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.wait([impatient])
    lanes.leave("t", "w", hurt=None)
    assert await patient is None
    late = asyncio.create_task(lanes.admit("t", "w", "late"))
    await asyncio.sleep(0)
    lanes.leave("t", "w", hurt=None)  # its turn has come in the moment in which it is cancelled
    late.cancel()
    await asyncio.wait([late])

    assert lanes.traffic("w").in_flight == NARROW - 1


async def test_a_lane_that_hurts_has_no_queue(lanes: Lanes) -> None:
    lanes.enter("t", "w", "first")
    lanes.leave("t", "w", hurt=True)
    fill(lanes, NARROW)

    assert await lanes.admit("t", "w", "next")
    assert lanes.traffic("w").waiting > 0


def test_accepted_and_not_begun_is_a_backlog(lanes: Lanes, clock: Clock) -> None:
    for n in range(BACKLOG):
        assert not lanes.backlogged()
        lanes.announce(str(n))
    assert lanes.backlogged()
    lanes.begin("7")
    assert not lanes.backlogged()
    lanes.announce("again")
    assert lanes.backlogged()
    clock.now += 31

    assert not lanes.backlogged(), "another process's worker has them"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([True, False, None, "wait", "call"])), max_size=200))
def test_the_books_balance(steps: list[tuple[str, object]]) -> None:
    """Whatever happens, what entered and has not left is in flight, never more than there is room for; an idle lane
    leaves nothing behind."""
    clock = Clock()
    lanes, inside, names = Lanes(clock), dict.fromkeys("abc", 0), count()
    for webhook, step in steps:
        clock.now += 0.3
        if step == "call":
            lanes.call()
        elif step == "wait":
            inside[webhook] += lanes.enter("t", webhook, str(next(names))) is None
        elif inside[webhook]:
            inside[webhook] -= 1
            lanes.leave("t", webhook, hurt=step)  # type: ignore[arg-type]
        assert {name: lanes.traffic(name).in_flight for name in inside} == inside
        assert max(inside.values()) <= WIDE
    for webhook, many in inside.items():
        for _ in range(many):
            lanes.leave("t", webhook, hurt=False)
    assert lanes.enter("t", "new", "x") is None


async def test_all_lanes_are_counted(lanes: Lanes, clock: Clock) -> None:
    """Also who queues for a moment, who is called, and who is held back."""
    assert lanes.census().in_flight == lanes.census().waiting == 0
    fill(lanes, NARROW)
    queued = asyncio.ensure_future(lanes.admit("t", "w", "queued"))
    await asyncio.sleep(0)
    lanes.hold("t", "w", "held", 600)
    shut(lanes, "silent")
    fill(lanes, 5, "silent")
    clock.now += 0.5
    counted = lanes.census()
    lanes.leave("t", "w", hurt=False)
    await queued

    assert (counted.in_flight, counted.waiting) == (NARROW, 7)
    assert counted.states == {State.OPEN: 1, State.SHUT: 1}
