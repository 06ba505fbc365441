"""Jobs and fan-outs go as fast as their rate allows while nothing is live, and rest beside live deliveries."""

import asyncio
import time

import pytest

from tests.support.clock import Clock
from webhooks.isolation import pacer
from webhooks.isolation.live_traffic import LiveTraffic
from webhooks.isolation.pacer import Pacer, Turns

pytestmark = pytest.mark.unit
RATE = 10_000
REST = 8
"""A rest is so many times as long as the work."""


@pytest.fixture
def live(clock: Clock) -> LiveTraffic:
    live = LiveTraffic(clock)
    live.note()
    return live


async def work(turns: Turns, times: int) -> None:
    for _ in range(times):
        await turns.next()
        await asyncio.sleep(0.02)


async def test_beside_live_deliveries_each_turn_is_followed_by_a_rest(live: LiveTraffic) -> None:
    began = time.monotonic()
    await work(Pacer(RATE, live).turns(), 4)
    assert time.monotonic() - began >= 3 * REST * 0.02  # after the last turn, nobody asks for one more


async def test_all_who_work_share_the_rests(live: LiveTraffic) -> None:
    shared, began = Pacer(RATE, live), time.monotonic()
    await asyncio.gather(*(work(shared.turns(), 3) for _ in range(2)))
    assert time.monotonic() - began >= 4 * REST * 0.02


async def test_there_is_no_rest_a_second_after_the_last_live_delivery(
    live: LiveTraffic, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacer, "_LONGEST_REST_SECONDS", 600)
    clock.now += 1
    async with asyncio.timeout(30):
        await Pacer(RATE, live).turn(1, worked=100)


async def test_a_rest_has_a_longest_time(live: LiveTraffic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacer, "_LONGEST_REST_SECONDS", 0.1)
    async with asyncio.timeout(30):
        await Pacer(RATE, live).turn(1, worked=100)


async def test_a_wait_of_ones_own_is_no_work(live: LiveTraffic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacer, "_REST", 1_000)
    monkeypatch.setattr(pacer, "_LONGEST_REST_SECONDS", 600)
    turns = Pacer(RATE, live).turns()
    await turns.next()
    turns.pause()
    await asyncio.sleep(0.1)
    async with asyncio.timeout(50):  # if it were work, the rest would be 100 s
        await turns.next()


async def test_no_turn_comes_while_it_is_busy_and_none_beyond_the_rate() -> None:
    answers = iter([True, True, False])
    busy = Pacer(50, LiveTraffic(), lambda: next(answers, False))
    began = time.monotonic()
    await busy.turns().next()
    assert next(answers, None) is None  # it was asked until it said no
    assert time.monotonic() - began >= 2 / 50

    began = time.monotonic()
    await asyncio.gather(*(busy.turns().next() for _ in range(5)))
    assert time.monotonic() - began >= 4 / 50
