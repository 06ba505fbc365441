"""How many deliveries succeeded and failed, by time, as Temporal's visibility counts them; and how fast receivers were.

It reads no history, but for the times of a sample.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from webhooks.deliveries.monitor import Deliveries
from webhooks.deliveries.recent import Recent
from webhooks.deliveries.visibility import (
    AWAITING,
    RUNNING,
    Filter,
    count_by_status,
    count_rows,
    found,
    newest_runs,
    stamp,
)
from webhooks.temporal.names import AWAITING_RESEND, CREATED_AT, DELIVERY_STATUS

HALF_HOUR = timedelta(minutes=30)
_DAY = timedelta(days=1)
_FEW = 200
"""Deliveries that are read with one call and counted here, which is cheaper than a count for each bar."""
_SIZE_SECONDS = 60.0
"""For how long a window with more than these counts as one with more."""
_KEPT_RESULTS, _KEPT_BARS, _KEPT_TIMES = 1000, 10_000, 1000
_RESULT_SECONDS, _NEW_BAR_SECONDS, _OLD_BAR_SECONDS, _TIMES_SECONDS = 2.0, 5.0, 60.0, 15.0
_MANY_AWAITING_SECONDS = 10.0
"""For how long the number of those that wait for a person is kept, if they are more than _FEW."""
_OLD = timedelta(hours=1)
"""Deliveries that were accepted before this seldom change."""
_MAX_CONCURRENT_COUNTS = 4
"""Temporal has 10 connections for its visibility, and lists need some too."""


@dataclass(frozen=True)
class Numbers:
    """`failed` are those that ended without being delivered, and those that wait for a person."""

    delivered: int = 0
    failed: int = 0
    waiting: int = 0

    @property
    def success_rate(self) -> float | None:
        """From 0 to 1; None if none has been delivered or failed."""
        ended = self.delivered + self.failed
        return self.delivered / ended if ended else None

    @property
    def total(self) -> int:
        return self.delivered + self.failed + self.waiting


@dataclass(frozen=True)
class Bar:
    """The deliveries accepted from `at` to the next bar."""

    at: datetime
    numbers: Numbers | None
    """None if they are unknown."""


@dataclass(frozen=True)
class Window:
    """Deliveries accepted from `since` to `end`, in bars of `width`."""

    since: datetime
    end: datetime
    width: timedelta

    @classmethod
    def of(cls, since: datetime, until: datetime | None, width: timedelta | None = None) -> "Window":
        """Return a window up to `until`, by default to the end of the current bar. Bars are half hours; of more than a
        day, as much longer as the window is longer than a day."""
        now = datetime.now(UTC)
        width = width or HALF_HOUR * max(math.ceil(((until or now) - since) / (_DAY + HALF_HOUR)), 1)
        return cls(since, until or _floor(now, width) + width, width)

    @classmethod
    def last(cls, span: timedelta, width: timedelta | None = None) -> "Window":
        """Return a window up to now. It begins at the beginning of a bar, so it may be up to one bar longer."""
        now = datetime.now(UTC)
        found = cls.of(now - span, None, width)
        return replace(found, since=_floor(now - span, found.width))

    def bars(self) -> list[datetime]:
        """Return when each bar begins."""
        first = _floor(self.since, self.width)
        return [first + self.width * index for index in range(math.ceil((self.end - first) / self.width))]

    def empty_bars(self) -> list[Bar]:
        """Return the bars of no deliveries."""
        return [Bar(at, Numbers()) for at in self.bars()]

    def unknown(self) -> "Result":
        """Return the result while Temporal does not answer."""
        return Result(None, [Bar(at, None) for at in self.bars()], datetime.now(UTC))


@dataclass(frozen=True)
class Result:
    numbers: Numbers | None
    """None if they are unknown."""
    bars: list[Bar]
    as_of: datetime


@dataclass(frozen=True)
class Times:
    """How long the last attempts of the newest deliveries took, in milliseconds. None if there is none."""

    p50_ms: float | None
    p95_ms: float | None
    sample: int


class Statistics:
    """Counts deliveries. What it counted is kept for seconds; one for each process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._results: Recent[Result] = Recent(_KEPT_RESULTS, clock)
        self._bars: Recent[Numbers] = Recent(_KEPT_BARS, clock)
        self._times: Recent[Times] = Recent(_KEPT_TIMES, clock)
        self._awaiting: Recent[int] = Recent(_KEPT_RESULTS, clock)
        self._sizes: Recent[int] = Recent(_KEPT_RESULTS, clock)
        self._gate = asyncio.Semaphore(_MAX_CONCURRENT_COUNTS)

    async def count(self, client: Client, filter: Filter, window: Window) -> Result:
        """Count the deliveries that the filter selects; its own times aside. Of up to 200, the result is up to 2 s old.
        Of more, it is up to 7 s old, and what was accepted more than an hour ago is counted again after 60 s.

        A delivery that was resent after it had ended may count once for each time. Raises RPCError."""
        query = filter.query()
        if query is None:
            return Result(Numbers(), window.empty_bars(), datetime.now(UTC))
        return await self._results.get((query, window), _RESULT_SECONDS, lambda: self._count(client, query, window))

    async def times(self, deliveries: Deliveries, filter: Filter, most: int) -> Times:
        """Return how long the last attempts of the newest `most` deliveries took; up to 15 s old. Raises RPCError."""
        key = (filter.query(), filter.since, most)
        return await self._times.get(key, _TIMES_SECONDS, lambda: _times(deliveries, filter, most))

    async def awaiting_resend(self, client: Client, filter: Filter) -> int:
        """Count the deliveries that wait for a person, of those that the filter selects; up to 2 s old, of more
        than 200 up to 10 s. Raises RPCError."""
        query = filter.query()
        return 0 if query is None else await self._count_awaiting(client, query)

    async def _count_awaiting(self, client: Client, query: str) -> int:
        async def count() -> int:
            async with self._gate:
                return await count_rows(client, f"{query} AND {RUNNING} AND {AWAITING}")

        return await self._awaiting.get(query, _awaiting_seconds, count)

    async def _count(self, client: Client, query: str, window: Window) -> Result:
        as_of, starts = datetime.now(UTC), window.bars()
        rows = await self._few_rows(client, query, window)
        if rows is not None:
            counted = _of_rows(rows, window)
            return Result(_sum(counted.values()), [Bar(at, counted.get(at, Numbers())) for at in starts], as_of)

        async def numbers(at: datetime) -> Numbers:
            part = _between(query, max(at, window.since), min(at + window.width, window.end))
            seconds = _OLD_BAR_SECONDS if at + window.width < as_of - _OLD else _NEW_BAR_SECONDS
            return await self._bars.get(part, seconds, lambda: self._grouped(client, query, part))

        # The whole window is not counted again: of a million deliveries that takes seconds.
        bars = await asyncio.gather(*map(numbers, starts))
        return Result(_sum(bars), [Bar(at, of_bar) for at, of_bar in zip(starts, bars, strict=True)], as_of)

    async def _few_rows(self, client: Client, query: str, window: Window) -> Sequence[WorkflowExecution] | None:
        """Return the rows of a window; None if they are many. Raises RPCError."""
        whole = _between(query, window.since, window.end)
        newest = _between(query, max(window.end - 2 * window.width, window.since), window.end)

        async def size() -> int:
            async with self._gate:
                try:
                    of_newest = await count_rows(client, newest)  # if these are many, the others need no count
                    return of_newest if of_newest > _FEW else await count_rows(client, whole)
                except RPCError as error:
                    if error.status is not RPCStatusCode.DEADLINE_EXCEEDED:
                        raise
                    return _FEW + 1  # too many to be counted with one call

        if await self._sizes.get(whole, _SIZE_SECONDS, size) > _FEW:
            return None
        rows = []
        async for row in found(client, whole):
            rows.append(row)
            if len(rows) > _FEW:
                return None
        return rows

    async def _grouped(self, client: Client, query: str, part: str) -> Numbers:
        """Count a part of what the query selects, by status."""
        async with self._gate:
            counts = await count_by_status(client, part)
        running, completed = counts[WorkflowExecutionStatus.RUNNING], counts[WorkflowExecutionStatus.COMPLETED]
        awaiting = 0
        if running and await self._count_awaiting(client, query):
            async with self._gate:
                awaiting = min(await count_rows(client, f"{part} AND {RUNNING} AND {AWAITING}"), running)
        return Numbers(completed, counts.total() - running - completed + awaiting, running - awaiting)


def _awaiting_seconds(number: int) -> float:
    return _MANY_AWAITING_SECONDS if number > _FEW else _RESULT_SECONDS


def _of_rows(rows: Sequence[WorkflowExecution], window: Window) -> dict[datetime, Numbers]:
    """Count the newest run of each delivery, by the bar in which it was accepted."""
    counted: dict[datetime, Numbers] = {}
    for row in newest_runs(rows):
        at = _floor(row.typed_search_attributes[CREATED_AT], window.width)
        counted[at] = _sum([counted.get(at, Numbers()), _of_row(row)])
    return counted


def _of_row(row: WorkflowExecution) -> Numbers:
    if row.status is WorkflowExecutionStatus.COMPLETED:
        return Numbers(delivered=1)
    is_open = row.status is WorkflowExecutionStatus.RUNNING
    if is_open and row.typed_search_attributes.get(DELIVERY_STATUS) != AWAITING_RESEND:
        return Numbers(waiting=1)
    return Numbers(failed=1)


async def _times(deliveries: Deliveries, filter: Filter, most: int) -> Times:
    newest, _ = await deliveries.list(filter, limit=most, cursor=None)
    took = sorted(each.last_duration_ms for each in newest if each.last_duration_ms)
    return Times(_percentile(took, 0.5), _percentile(took, 0.95), len(took))


def _percentile(values: Sequence[float], part: float) -> float | None:
    return values[math.ceil(part * len(values)) - 1] if values else None


def _sum(numbers: Iterable[Numbers]) -> Numbers:
    every = list(numbers)
    return Numbers(*(sum(getattr(each, name) for each in every) for name in ("delivered", "failed", "waiting")))


def _between(query: str, since: datetime, until: datetime) -> str:
    return f"{query} AND {CREATED_AT.name} >= {stamp(since)} AND {CREATED_AT.name} < {stamp(until)}"


def _floor(time: datetime, width: timedelta) -> datetime:
    """Return when the bar begins in which the time is."""
    seconds = int(width.total_seconds())
    return datetime.fromtimestamp(int(time.timestamp()) // seconds * seconds, UTC)
