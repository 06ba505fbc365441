"""Start delays against a clock of our own."""

import asyncio

import pytest

from tests.support.clock import Clock
from tests.webhooks.isolation.test_lanes import fill, open_circuit
from webhooks.isolation.delayed_starts import DelayedStarts, TooManyDelayedError
from webhooks.isolation.lane import INITIAL_WIDTH, Condition
from webhooks.isolation.lanes import Lanes


@pytest.fixture
def lanes(clock: Clock) -> Lanes:
    return Lanes(clock)


@pytest.fixture
def delayed(lanes: Lanes) -> DelayedStarts:
    return DelayedStarts(lanes)


def test_a_new_delivery_has_a_start_delay_only_while_the_circuit_is_open(
    lanes: Lanes, delayed: DelayedStarts, clock: Clock
) -> None:
    assert delayed.delay("w") == 0
    fill(lanes, 100)
    assert delayed.delay("w") == 0
    open_circuit(lanes, "dead")
    assert 60 <= delayed.delay("dead") <= 120
    clock.now += 5
    assert 60 <= delayed.delay("dead") <= 120
    clock.now += 595
    assert 2_400 <= delayed.delay("dead") <= 4_800, "several times as long as the trouble has lasted"
    clock.now += 86_400
    assert 21_600 <= delayed.delay("dead") <= 43_200
    assert lanes.try_acquire("t", "dead", "probe") is None
    lanes.release("t", "dead", Condition.HEALTHY)
    assert delayed.delay("dead") == 0


def test_a_full_lane_in_which_nothing_ends_is_in_trouble(lanes: Lanes, delayed: DelayedStarts, clock: Clock) -> None:
    """Long before its requests time out."""
    fill(lanes, INITIAL_WIDTH)
    assert delayed.delay("w") == 0
    clock.now += 3
    assert delayed.delay("w") > 0
    lanes.release("t", "w", Condition.HEALTHY)

    assert delayed.delay("w") == 0


async def test_delayed_starts_are_stored_two_at_a_time_and_bounded(delayed: DelayedStarts) -> None:
    """They leave Temporal to what is urgent."""
    inside, most, go = 0, 0, asyncio.Event()

    async def store() -> None:
        nonlocal inside, most
        async with delayed.storing():
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
    async with delayed.storing():
        pass
