"""Counting deliveries of a busy webhook, without a Temporal server: bars, what is kept, what is unknown."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from api.routes.statistics import counted
from tests.support.clock import Clock
from webhooks.deliveries.recent import Recent
from webhooks.deliveries.statistics import HALF_HOUR, Numbers, Statistics, Window
from webhooks.deliveries.visibility import AWAITING, Filter

FILTER = Filter(tenant="acme")


LATE = RPCError("late", RPCStatusCode.DEADLINE_EXCEEDED, b"")


class _Temporal:
    """Answers each count with 300 delivered, 20 expired and 10 running ones, of which 4 wait for a person."""

    def __init__(
        self, fault: RPCError | None = None, *, sizes: Sequence[int | RPCError] = (660,), awaiting: int = 4
    ) -> None:
        self.fault, self.awaiting = fault, awaiting
        self.sizes = [*sizes]
        """What it answers to counts that are not by status: of the newest bars, and then of the whole."""
        self.queries: list[str] = []

    async def count_workflows(self, query: str, **_: Any) -> SimpleNamespace:
        self.queries.append(query)
        await asyncio.sleep(0)
        if self.fault:
            raise self.fault
        if "GROUP BY" not in query:
            if AWAITING in query:
                return SimpleNamespace(count=self.awaiting)
            size = self.sizes.pop(0) if len(self.sizes) > 1 else self.sizes[0]
            if isinstance(size, RPCError):
                raise size
            return SimpleNamespace(count=size)
        counts = {"Completed": 300, "Failed": 20, "Running": 10}
        return SimpleNamespace(groups=[SimpleNamespace(group_values=[name], count=n) for name, n in counts.items()])


async def test_bars_of_many_deliveries_are_counted_once_for_simultaneous_callers() -> None:
    temporal, statistics, window = _Temporal(), Statistics(), Window.last(timedelta(hours=2))
    results = await asyncio.gather(*(statistics.count(cast("Client", temporal), FILTER, window) for _ in range(20)))
    asked = len(temporal.queries)
    again = await statistics.count(cast("Client", temporal), FILTER, window)
    other = await statistics.count(cast("Client", temporal), Filter(tenant="globex"), window)

    assert len({id(result) for result in (*results, again)}) == 1
    assert again.numbers == Numbers(1500, 120, 30)
    assert [bar.numbers for bar in again.bars] == [Numbers(300, 24, 6)] * 5
    assert asked == 2 * (1 + 5)  # the newest bars, what waits for a person at all, and two for each bar
    assert len(temporal.queries) == 2 * asked
    assert other.numbers == again.numbers
    assert all("'globex'" in query for query in temporal.queries[asked:])


async def test_of_many_deliveries_only_what_is_new_is_counted_again() -> None:
    clock, temporal, window = Clock(), _Temporal(), Window.last(timedelta(days=7))
    statistics = Statistics(clock)
    await statistics.count(cast("Client", temporal), FILTER, window)
    first = len(temporal.queries)
    clock.now += 8
    result = await statistics.count(cast("Client", temporal), FILTER, window)
    again = temporal.queries[first:]

    assert len(result.bars) == 49
    assert result.numbers == Numbers(300 * 49, 24 * 49, 6 * 49)
    assert 0 < sum("GROUP BY" in query for query in again) <= 2
    assert all("GROUP BY" in query or AWAITING in query for query in again)


@pytest.mark.parametrize("sizes", [[LATE], [200, LATE], [0, 201]])
async def test_figures_of_a_window_that_is_too_large_for_one_call_are_those_of_its_bars(
    sizes: Sequence[int | RPCError],
) -> None:
    temporal = _Temporal(sizes=sizes)
    result = await Statistics().count(cast("Client", temporal), FILTER, Window.last(timedelta(hours=2)))

    assert result.numbers == Numbers(1500, 120, 30)


async def test_figures_are_unknown_while_temporal_does_not_answer() -> None:
    """Unknown, not 0. The next call asks again."""
    temporal, statistics, window = _Temporal(), Statistics(), Window.last(timedelta(hours=1))
    temporal.fault = RPCError("away", RPCStatusCode.UNAVAILABLE, b"")
    platform: Any = SimpleNamespace(publisher=SimpleNamespace(client=temporal), statistics=statistics)
    away = await counted(platform, FILTER, window)
    temporal.fault = None
    back = await counted(platform, FILTER, window)
    platform.publisher = None
    before = await counted(platform, FILTER, window)

    for unknown in (away, before):
        assert unknown.numbers is None
        assert [bar.numbers for bar in unknown.bars] == [None] * 3
    assert back.numbers


@pytest.mark.parametrize(("days", "hours"), [(1, 0.5), (2, 1), (7, 3.5), (30, 15)])
def test_bars_of_a_longer_window_are_wider(days: int, hours: float) -> None:
    window = Window.last(timedelta(days=days))
    bars = window.bars()

    assert window.width == timedelta(hours=hours)
    assert bars[0] == window.since <= datetime.now(UTC) - timedelta(days=days)
    assert bars[-1] <= datetime.now(UTC) < bars[-1] + window.width == window.end
    assert len(bars) == 49


def test_a_window_between_two_times_has_a_bar_for_each_half_hour_it_touches() -> None:
    since = datetime(2026, 1, 1, 9, 10, tzinfo=UTC)
    window = Window.of(since, since + timedelta(hours=1))

    assert window.bars() == [datetime(2026, 1, 1, 9, tzinfo=UTC) + HALF_HOUR * index for index in range(3)]


@pytest.mark.parametrize(("number", "seconds"), [(200, 2), (201, 10)])
async def test_the_number_that_waits_for_a_resend_is_as_current_as_the_figures_unless_it_is_large(
    number: int, seconds: int
) -> None:
    clock, temporal = Clock(), _Temporal(awaiting=number)
    statistics, client = Statistics(clock), cast("Client", temporal)
    for later in (0, seconds - 0.1, 0.1):
        clock.now += later
        assert await statistics.awaiting_resend(client, FILTER) == number
        assert len(temporal.queries) == (2 if later == 0.1 else 1)


async def test_recent_results_are_shared_bounded_and_end() -> None:
    clock, computed = Clock(), []
    recent: Recent[int] = Recent(2, clock)

    async def compute() -> int:
        computed.append(1)
        if len(computed) == 1:
            raise ValueError
        return len(computed)

    with pytest.raises(ValueError):
        await recent.get("a", 10, compute)
    assert [await recent.get("a", 10, compute) for _ in range(3)] == [2, 2, 2]
    clock.now += 10
    assert await recent.get("a", 10, compute) == 3
    assert [await recent.get(key, 10, compute) for key in "bca"] == [4, 5, 6]
