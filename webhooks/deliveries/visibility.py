"""Finding deliveries by their search attributes, newest first.

On SQL, Temporal's visibility has only one order: open workflows first, then closed ones by the time of their end. So
deliveries are read in windows of creation time that are small enough to be sorted here.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.client import Client, WorkflowExecution
from temporalio.common import SearchAttributeKey

from webhooks import cursors, outcomes
from webhooks.deliveries.status import DeliveryStatus
from webhooks.temporal.names import (
    AWAITING_RESEND,
    CLIENT_ID,
    CREATED_AT,
    DELIVER_WEBHOOK,
    DELIVERY_STATUS,
    EVENT_KEY,
    FANNED_OUT,
    OCCURRENCE_ID,
    RPC_TIMEOUT,
    SOURCE_ID,
    TENANT_ID,
    WEBHOOK_ID,
)

_WINDOW_ROWS = 200
"""A window with more rows is made narrower."""
_NARROWEST = timedelta(milliseconds=10)
_FIRST_WIDTH = timedelta(seconds=10)
_WIDEST = timedelta(days=30)
"""After an empty window of this width, the next one reaches back to _LONG_AGO."""
_CLOCKS_DIFFER = timedelta(seconds=5)
"""How far the clock of another process may be ahead."""
_TICK = timedelta(microseconds=1)
_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
"""There are no older deliveries."""
_COARSE = timedelta(milliseconds=2)
"""SQLite compares times as text with milliseconds. So queries ask for a wider window, and the bounds are checked here.
"""

_NEVER_FOUND = re.compile(r'[\x00-\x1f"\\]')

RUNNING = "ExecutionStatus = 'Running'"
AWAITING = f"{DELIVERY_STATUS.name} = '{AWAITING_RESEND}'"
_IN_PROGRESS = f"({RUNNING} AND ({DELIVERY_STATUS.name} IS NULL OR {DELIVERY_STATUS.name} != '{AWAITING_RESEND}'))"
_BY_STATUS = {
    DeliveryStatus.DELIVERED: "ExecutionStatus = 'Completed'",
    DeliveryStatus.EXPIRED: "ExecutionStatus = 'Failed'",
    DeliveryStatus.FAILED: f"(({RUNNING} AND {AWAITING}) OR ExecutionStatus IN ('Terminated', 'TimedOut'))",
    DeliveryStatus.CANCELED: "ExecutionStatus = 'Canceled'",
    # Their histories tell which: a search attribute would cost each failing delivery one more write.
    DeliveryStatus.PENDING: _IN_PROGRESS,
    DeliveryStatus.RETRYING: _IN_PROGRESS,
}


@dataclass(frozen=True)
class Filter:
    """Which deliveries to list. Of several values, any one may match; no value means all.

    `since` (inclusive) and `until` (exclusive) are about their creation."""

    tenant: str
    webhook_ids: Sequence[str] = ()
    events: Sequence[str] = ()
    occurrence_ids: Sequence[str] = ()
    client_identifiers: Sequence[str] = ()
    statuses: Sequence[DeliveryStatus] = ()
    outcomes: Sequence[str] = ()
    """Of the last attempt. Histories tell it, so the query selects more."""
    since: datetime | None = None
    until: datetime | None = None
    workflow_types: Sequence[str] = (DELIVER_WEBHOOK,)
    source_ids: Sequence[str] = ()
    received: bool = False
    """Only of occurrences that were received."""
    without_fanned_out: bool = False
    """Leave out the deliveries that a fan-out started."""

    def query(self) -> str | None:
        """Return the filter in the visibility query language, without `since` and `until`. None if no delivery can
        match, because the language cannot name any of the values."""
        terms = [f"WorkflowType IN ({', '.join(map(quoted, self.workflow_types))})"]
        for attribute, values in self._values():
            literals = [quoted(value) for value in dict.fromkeys(values) if can_be_queried(value)]
            if not literals:
                return None
            terms.append(f"{attribute.name} IN ({', '.join(literals)})")
        if self.received:
            terms.append(f"{SOURCE_ID.name} IS NOT NULL")
        if self.without_fanned_out:
            terms.append(f"{FANNED_OUT.name} IS NULL")
        if self.statuses:
            terms.append(f"({' OR '.join(dict.fromkeys(_BY_STATUS[status] for status in self.statuses))})")
        # A delivered one can end with another outcome only if a forced resend had nothing to send.
        if self.outcomes and not {outcomes.DELIVERED, *outcomes.NEVER_SENT} & {*self.outcomes}:
            terms.append("ExecutionStatus != 'Completed'")
        return " AND ".join(terms)

    def selects(self, row: WorkflowExecution) -> bool:
        """Return whether a row that the query found has one of the values exactly. Status and times aside."""
        return all(row.typed_search_attributes.get(attribute) in values for attribute, values in self._values())

    def _values(self) -> Iterator[tuple[SearchAttributeKey[str], Sequence[str]]]:
        yield TENANT_ID, (self.tenant,)
        for attribute, values in (
            (WEBHOOK_ID, self.webhook_ids),
            (EVENT_KEY, self.events),
            (OCCURRENCE_ID, self.occurrence_ids),
            (CLIENT_ID, self.client_identifiers),
            (SOURCE_ID, self.source_ids),
        ):
            if values:
                yield attribute, values


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


async def newest_first(client: Client, filter: Filter, after: Position | None) -> AsyncIterator[WorkflowExecution]:
    """Yield the runs that the filter selects, newest first, beginning after the position `after`. A run may be one that
    a later run has replaced."""
    query = filter.query()
    if query is None:
        return
    oldest = max(filter.since or _LONG_AGO, _LONG_AGO)
    upper = after.created_at if after else filter.until or datetime.now(UTC) + _CLOCKS_DIFFER
    width = _FIRST_WIDTH
    while upper >= oldest:
        lower = max(upper - width, oldest)
        window = f"{query} AND {_created(lower, upper)}"
        count = (await client.count_workflows(window, rpc_timeout=RPC_TIMEOUT)).count
        if count > _WINDOW_ROWS and width > _NARROWEST:
            width /= 8
            continue
        rows = [(Position.of(row), row) async for row in found(client, window)] if count else []
        for position, row in sorted(rows, key=lambda found: found[0], reverse=True):
            inside = lower <= position.created_at <= upper and (after is None or position < after)
            if inside and (filter.until is None or position.created_at < filter.until) and filter.selects(row):
                yield row
        upper = lower - _TICK
        if count < _WINDOW_ROWS / 8:
            width = width * 64 if width < _WIDEST else upper - _LONG_AGO


async def oldest_first(client: Client, filter: Filter, after: Position | None) -> AsyncIterator[WorkflowExecution]:
    """Yield the runs that the filter selects, oldest first, beginning after the position `after`. The filter has an
    `until`."""
    query = filter.query()
    if query is None:
        return
    assert filter.until is not None  # noqa: S101
    lower = after.created_at if after else max(filter.since or _LONG_AGO, _LONG_AGO)
    width = _FIRST_WIDTH
    while lower < filter.until:
        upper = min(lower + width, filter.until)
        window = f"{query} AND {_created(lower, upper)}"
        count = (await client.count_workflows(window, rpc_timeout=RPC_TIMEOUT)).count
        if count > _WINDOW_ROWS and width > _NARROWEST:
            width /= 8
            continue
        rows = [(Position.of(row), row) async for row in found(client, window)] if count else []
        for position, row in sorted(rows, key=lambda found: found[0]):
            inside = lower <= position.created_at < upper and (after is None or position > after)
            if inside and filter.selects(row):
                yield row
        lower = upper
        if count < _WINDOW_ROWS / 8:
            width *= 64


async def count(client: Client, filter: Filter) -> int:
    """Return how many runs the query of the filter finds between its `since` and `until`. Histories could tell that
    some of them are not selected."""
    query = filter.query()
    if query is None:
        return 0
    lower, upper = filter.since or _LONG_AGO, filter.until or datetime.now(UTC) + _CLOCKS_DIFFER
    window = f"{query} AND {_created(lower, upper)}"
    return (await client.count_workflows(window, rpc_timeout=RPC_TIMEOUT)).count


def _created(lower: datetime, upper: datetime) -> str:
    """Return the condition that a run was created in a window, which is wider than asked by what SQLite needs."""
    attribute = CREATED_AT.name
    return f"{attribute} >= {stamp(lower - _COARSE)} AND {attribute} <= {stamp(upper + _COARSE)}"


def found(client: Client, query: str) -> AsyncIterator[WorkflowExecution]:
    """Return the runs that a visibility query selects."""
    return client.list_workflows(query, page_size=_WINDOW_ROWS, rpc_timeout=RPC_TIMEOUT)


async def latest_runs(client: Client, workflow_ids: list[str]) -> dict[str, str]:
    """Return the id of the newest run of each workflow."""
    query = f"WorkflowId IN ({', '.join(quoted(id) for id in workflow_ids)})"
    newest: dict[str, WorkflowExecution] = {}
    async for row in found(client, query):
        if row.id not in newest or row.start_time > newest[row.id].start_time:
            newest[row.id] = row
    return {id: row.run_id for id, row in newest.items()}


def quoted(value: str) -> str:
    """Return a string literal of the visibility query language. See `can_be_queried`."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def can_be_queried(value: str) -> bool:
    """Return whether a query can find this value.

    Temporal strips single quotes from the ends of a literal, escaped or not. A backslash, a double quote or a control
    character reaches the database with a backslash before it, and then equals nothing."""
    return not (_NEVER_FOUND.search(value) or value.startswith("'") or value.endswith("'"))


def stamp(time: datetime) -> str:
    """Return a time literal of the visibility query language."""
    return quoted(time.astimezone(UTC).isoformat(timespec="microseconds"))
