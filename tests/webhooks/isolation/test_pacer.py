"""Jobs and fan-outs go as fast as their rate allows while nothing is live, and rest beside live deliveries."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from webhooks.isolation.live_traffic import LiveTraffic
from webhooks.isolation.pacer import Pacer

pytestmark = pytest.mark.unit
_WORK = 0.02


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Iterator[Clock]:
    yield Clock()


async def _seconds(pacer: Pacer, turns: int) -> float:
    """Return how long so many turns take, each with some work."""
    mine, began = pacer.turns(), time.monotonic()
    for _ in range(turns):
        await mine.next()
        await asyncio.sleep(_WORK)
    return time.monotonic() - began


async def test_beside_live_deliveries_each_turn_is_followed_by_a_rest(clock: Clock) -> None:
    live = LiveTraffic(clock)
    pacer = Pacer(10_000, live)
    alone = await _seconds(pacer, 5)
    live.note()
    beside = await _seconds(pacer, 5)
    assert beside > alone + 4 * 5 * _WORK  # four rests: after the last turn, nobody asks for one more
    clock.now += 1.1
    assert await _seconds(pacer, 5) < beside / 2


async def test_a_wait_of_ones_own_is_no_work(clock: Clock) -> None:
    live = LiveTraffic(clock)
    live.note()
    turns = Pacer(10_000, live).turns()
    await turns.next()
    turns.pause()
    await asyncio.sleep(0.2)
    began = time.monotonic()
    await turns.next()
    assert time.monotonic() - began < 0.2


async def test_no_turn_beyond_the_rate_and_none_while_it_is_busy() -> None:
    busy = True
    pacer = Pacer(50, LiveTraffic(), lambda: busy)
    first = asyncio.create_task(pacer.turns().next())
    await asyncio.sleep(0.1)
    assert not first.done()
    busy = False
    await first
    began = time.monotonic()
    await asyncio.gather(*(pacer.turns().next() for _ in range(5)))
    assert time.monotonic() - began > 4 / 50


async def test_two_who_work_share_the_rests(clock: Clock) -> None:
    live = LiveTraffic(clock)
    live.note()
    pacer = Pacer(10_000, live)
    one = await _seconds(pacer, 5)
    began = time.monotonic()
    await asyncio.gather(_seconds(pacer, 5), _seconds(pacer, 5))
    assert time.monotonic() - began > 1.3 * one
