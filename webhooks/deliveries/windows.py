"""Reading deliveries in the order in which they were accepted.

On SQL, Temporal's visibility has only one order: open workflows first, then closed ones by the time of their end. So
deliveries are read in windows of creation time that are small enough to be sorted here.
"""

import json
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.client import Client, WorkflowExecution

from webhooks import cursors
from webhooks.deliveries.visibility import CLOCKS_DIFFER, LONG_AGO, PAGE_ROWS, Filter, created, found
from webhooks.temporal.names import CREATED_AT

_NARROWEST = timedelta(milliseconds=10)
_FIRST_WIDTH = timedelta(seconds=10)
_WIDEST = timedelta(days=30)
"""After an empty window of this width, the next one reaches back to LONG_AGO."""
_TICK = timedelta(microseconds=1)
_FEW_ROWS = PAGE_ROWS / 8
"""After a window with fewer rows, the next one is wider."""
_FIRST_PAGE_ROWS = 100
"""The largest page of the API."""
_REMEMBERED_LISTS = 1_000


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


class Reached:
    """Remembers how far back the first page of each list reached, so that it is found with one call the next time."""

    def __init__(self) -> None:
        self._times: OrderedDict[str, datetime] = OrderedDict()
        """By query: when the last row of a first page was created; LONG_AGO if it has all rows."""

    def get(self, query: str) -> datetime | None:
        return self._times.get(query)

    def remember(self, query: str, time: datetime) -> None:
        self._times[query] = time
        self._times.move_to_end(query)
        if len(self._times) > _REMEMBERED_LISTS:
            self._times.popitem(last=False)


async def newest_first(
    client: Client, filter: Filter, after: Position | None, reached: Reached | None = None
) -> AsyncIterator[WorkflowExecution]:
    """Yield the runs that the filter selects, newest first, beginning after the position `after`. If the filter is
    about what changes (`Filter.is_of_state`), a run may be one that a later run has replaced."""
    query = filter.query()
    if query is None:
        return
    oldest = max(filter.since or LONG_AGO, LONG_AGO)
    upper = after.created_at if after else filter.until or datetime.now(UTC) + CLOCKS_DIFFER
    width = _FIRST_WIDTH
    if reached and not after and (time := reached.get(query)) and time < upper:
        width = upper - time
    seen = 0
    while upper >= oldest:
        lower = max(upper - width, oldest)
        rows = await _rows(client, f"{query} AND {created(lower, upper)}", all=width <= _NARROWEST)
        if rows is None:
            width /= 8
            continue
        newest = sorted(rows, key=lambda found: found[0], reverse=True)
        if reached and not after and seen < _FIRST_PAGE_ROWS <= seen + len(newest):
            reached.remember(query, newest[_FIRST_PAGE_ROWS - seen - 1][0].created_at)
        seen += len(newest)
        for position, row in newest:
            inside = lower <= position.created_at <= upper and (after is None or position < after)
            if inside and (filter.until is None or position.created_at < filter.until) and filter.selects(row):
                yield row
        upper = lower - _TICK
        if len(rows) < _FEW_ROWS:
            width = width * 64 if width < _WIDEST else upper - LONG_AGO
    if reached and not after and seen < _FIRST_PAGE_ROWS:
        reached.remember(query, LONG_AGO)


async def oldest_first(client: Client, filter: Filter, after: Position | None) -> AsyncIterator[WorkflowExecution]:
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
        rows = await _rows(client, f"{query} AND {created(lower, upper)}", all=width <= _NARROWEST)
        if rows is None:
            width /= 8
            continue
        for position, row in sorted(rows, key=lambda found: found[0]):
            inside = lower <= position.created_at < upper and (after is None or position > after)
            if inside and filter.selects(row):
                yield row
        lower = upper
        if len(rows) < _FEW_ROWS:
            width *= 64


async def _rows(client: Client, query: str, *, all: bool) -> list[tuple[Position, WorkflowExecution]] | None:
    """Return the rows that the query selects; None if they are more than a page, unless `all` are wanted. Leave out
    runs that another of the rows has replaced."""
    rows = found(client, query)
    await rows.fetch_next_page()
    if rows.next_page_token and not all:
        return None
    newest: dict[str, WorkflowExecution] = {}
    async for row in rows:
        if row.id not in newest or row.start_time > newest[row.id].start_time:
            newest[row.id] = row
    return [(Position.of(row), row) for row in newest.values()]
