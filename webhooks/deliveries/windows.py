"""Reading deliveries in the order in which they were accepted.

On SQL, Temporal's visibility has only one order: open workflows first, then closed ones by the time of their end. So
deliveries are read in windows of creation time that are small enough to be sorted here.
"""

import json
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.client import Client, WorkflowExecution

from webhooks import cursors
from webhooks.deliveries.visibility import (
    CLOCKS_DIFFER,
    LONG_AGO,
    PAGE_ROWS,
    Filter,
    count_by_status,
    count_rows,
    created,
    found,
    newest_runs,
)
from webhooks.temporal.names import CREATED_AT

_NARROWEST = timedelta(milliseconds=10)
_FIRST_WIDTH = timedelta(seconds=10)
_WIDEST = timedelta(days=30)
"""After an empty window of this width, the next one reaches back to LONG_AGO."""
_TICK = timedelta(microseconds=1)
_FEW_ROWS = PAGE_ROWS / 8
"""After a window with fewer rows, the next one is wider."""
_FIRST_PAGE_ROWS = 51
"""What the monitor shows, and one more, which tells that others follow."""
_MORE_ROWS = 20
"""With more new rows than these, a page begins at a later time again."""
_REMEMBERED_LISTS = 100
"""With their rows, about 20 MB."""
_ROWS_SECONDS = 4.0
"""Then rows are read again. A count misses two changes that cancel each other."""


@dataclass(frozen=True, order=True)
class Position:
    """A position in the list of deliveries."""

    created_at: datetime
    workflow_id: str
    run_id: str

    @classmethod
    def of(cls, row: WorkflowExecution) -> "Position":
        return cls(row.typed_search_attributes[CREATED_AT], row.id, row.run_id)

    def cursor(self) -> str:
        return cursors.encode(json.dumps([self.created_at.isoformat(), self.workflow_id, self.run_id]))

    @classmethod
    def from_cursor(cls, cursor: str) -> "Position":
        """Return the position in a cursor. Raises BadCursorError."""
        try:
            created_at, workflow_id, run_id = json.loads(cursors.decode(cursor))
            return cls(datetime.fromisoformat(created_at).astimezone(UTC), str(workflow_id), str(run_id))
        except (ValueError, TypeError, OverflowError):
            raise cursors.BadCursorError("not a cursor of this list") from None


Found = tuple[Position, WorkflowExecution]


@dataclass(frozen=True)
class _First:
    lower: datetime
    """When the last row of the first page was created; LONG_AGO if it has all rows."""
    rows: Sequence[WorkflowExecution] | None
    """Those since then, if they were read with one call."""
    until: float


class FirstPages:
    """Remembers the first page of each list. Reading a row costs Temporal as much as counting hundreds, so they are
    read again only if a count by status differs, or after some seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: OrderedDict[str, _First] = OrderedDict()
        """By query."""

    def lower(self, query: str) -> datetime | None:
        """Return how far back the page reached."""
        return self._first[query].lower if query in self._first else None

    async def rows(self, client: Client, query: str, window: str) -> Sequence[WorkflowExecution] | None:
        """Return the rows of the window from `lower`, if they are as they were. Raises RPCError."""
        first = self._first.get(query)
        if first is None or first.rows is None or first.until <= self._clock():
            return None
        same = await count_by_status(client, window) == Counter(row.status for row in first.rows)
        return first.rows if same else None

    def note(
        self, query: str, lower: datetime, rows: Sequence[WorkflowExecution], newest: Sequence[Found], seen: int
    ) -> None:
        """Remember the end of the first page, if it is in this window: `seen` rows were in those before."""
        if seen == 0 and _FIRST_PAGE_ROWS <= len(newest) <= _FIRST_PAGE_ROWS + _MORE_ROWS:
            self.remember(query, lower, rows)
        elif seen < _FIRST_PAGE_ROWS <= seen + len(newest):
            self.remember(query, newest[_FIRST_PAGE_ROWS - seen - 1][0].created_at)

    def remember(self, query: str, lower: datetime, rows: Sequence[WorkflowExecution] | None = None) -> None:
        self._first[query] = _First(lower, rows, self._clock() + _ROWS_SECONDS)
        self._first.move_to_end(query)
        if len(self._first) > _REMEMBERED_LISTS:
            self._first.popitem(last=False)


async def newest_first(
    client: Client, filter: Filter, after: Position | None, first_pages: FirstPages | None = None
) -> AsyncIterator[WorkflowExecution]:
    """Yield the runs that the filter selects, newest first, beginning after the position `after`. A run may be one that
    a later run has replaced, if the filter is about what changes (`Filter.is_of_state`)."""
    query = filter.query()
    if query is None:
        return
    oldest = max(filter.since or LONG_AGO, LONG_AGO)
    upper = after.created_at if after else filter.until or datetime.now(UTC) + CLOCKS_DIFFER
    width, reached, seen = _FIRST_WIDTH, None, 0
    first = first_pages if not (after or filter.until) else None
    if first and (reached := first.lower(query)):
        width = upper - reached
    while upper >= oldest:
        lower = max(upper - width, oldest)
        window = f"{query} AND {created(lower, upper)}"
        known = first is not None and reached == lower
        kept = await first.rows(client, query, window) if first and known else None
        rows = kept if kept is not None else await _rows(client, window, width, count=not known)
        if rows is None:
            width /= 8
            continue
        newest = _newest(rows)
        if first and kept is None:
            first.note(query, lower, rows, newest, seen)
        seen += len(newest)
        for position, row in newest:
            inside = lower <= position.created_at <= upper and (after is None or position < after)
            if inside and (filter.until is None or position.created_at < filter.until) and filter.selects(row):
                yield row
        upper = lower - _TICK
        if len(rows) < _FEW_ROWS:
            width = width * 64 if width < _WIDEST else upper - LONG_AGO
    if first and not filter.since and kept is None and seen < _FIRST_PAGE_ROWS:
        first.remember(query, LONG_AGO, rows if seen == len(newest) else None)


async def oldest_first(client: Client, filter: Filter, after: Position | None) -> AsyncGenerator[WorkflowExecution]:
    """Yield the runs that the filter selects, oldest first, beginning after the position `after`. The filter has an
    `until`."""
    query = filter.query()
    if query is None:
        return
    assert filter.until is not None  # noqa: S101
    lower = after.created_at if after else max(filter.since or LONG_AGO, LONG_AGO)
    width = _FIRST_WIDTH
    while lower < filter.until:
        upper = min(lower + width, filter.until)
        rows = await _rows(client, f"{query} AND {created(lower, upper)}", width)
        if rows is None:
            width /= 8
            continue
        for position, row in reversed(_newest(rows)):
            inside = lower <= position.created_at < upper and (after is None or position > after)
            if inside and filter.selects(row):
                yield row
        lower = upper
        if len(rows) < _FEW_ROWS:
            width *= 64


async def _rows(client: Client, window: str, width: timedelta, *, count: bool = True) -> list[WorkflowExecution] | None:
    """Return the rows of a window; None if they are more than a page, and the window can be narrower. With `count`,
    count them first, which is cheap."""
    can_narrow = width > _NARROWEST
    if count:
        number = await count_rows(client, window)
        if number == 0:
            return []
        if number > PAGE_ROWS and can_narrow:
            return None
    rows = found(client, window)
    await rows.fetch_next_page()
    if rows.next_page_token and can_narrow:
        return None
    return [row async for row in rows]


def _newest(rows: Sequence[WorkflowExecution]) -> list[Found]:
    """Return the newest run of each workflow, newest first."""
    return sorted(((Position.of(row), row) for row in newest_runs(rows)), key=lambda found: found[0], reverse=True)
