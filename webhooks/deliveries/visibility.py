"""Finding deliveries by their search attributes, in Temporal's order. `windows.py` sorts them."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionAsyncIterator, WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey

from webhooks import outcomes
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

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
"""There are no older deliveries."""
CLOCKS_DIFFER = timedelta(seconds=5)
"""How far the clock of another process may be ahead."""
_COARSE = timedelta(milliseconds=2)
"""SQLite compares times as text with milliseconds. So queries ask for a wider window, and rows are checked again."""
PAGE_ROWS = 200
"""Rows of one call."""
_NEVER_FOUND = re.compile(r'[\x00-\x1f"\\]')

_STATUSES = {"".join(map(str.title, status.name.split("_"))): status for status in WorkflowExecutionStatus}
"""By the names that a count gives them."""

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

    @property
    def is_of_state(self) -> bool:
        """Whether it may find one run of a delivery, and not a later one."""
        return bool(self.statuses or self.outcomes)

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


async def count(client: Client, filter: Filter) -> int:
    """Return how many runs the query of the filter finds between its `since` and `until`. Histories could tell that
    some of them are not selected."""
    query = filter.query()
    if query is None:
        return 0
    lower, upper = filter.since or LONG_AGO, filter.until or datetime.now(UTC) + CLOCKS_DIFFER
    window = f"{query} AND {created(lower, upper)}"
    return await count_rows(client, window)


def created(lower: datetime, upper: datetime) -> str:
    """Return the condition that a run was created in a window, which is wider than asked by what SQLite needs."""
    attribute = CREATED_AT.name
    return f"{attribute} >= {stamp(lower - _COARSE)} AND {attribute} <= {stamp(upper + _COARSE)}"


async def count_rows(client: Client, query: str) -> int:
    """Return how many runs a visibility query selects. Raises RPCError."""
    return (await client.count_workflows(query, rpc_timeout=RPC_TIMEOUT)).count


async def count_by_status(client: Client, query: str) -> Counter[WorkflowExecutionStatus]:
    """Return how many runs a visibility query selects, by their status in Temporal. Raises RPCError."""
    answer = await client.count_workflows(f"{query} GROUP BY ExecutionStatus", rpc_timeout=RPC_TIMEOUT)
    return Counter({_STATUSES[str(group.group_values[0])]: group.count for group in answer.groups})


def found(client: Client, query: str) -> WorkflowExecutionAsyncIterator:
    """Return the runs that a visibility query selects."""
    return client.list_workflows(query, page_size=PAGE_ROWS, rpc_timeout=RPC_TIMEOUT)


async def latest_runs(client: Client, workflow_ids: list[str]) -> dict[str, str]:
    """Return the id of the newest run of each workflow."""
    query = f"WorkflowId IN ({', '.join(quoted(id) for id in workflow_ids)})"
    return {row.id: row.run_id for row in newest_runs([row async for row in found(client, query)])}


def newest_runs(rows: Iterable[WorkflowExecution]) -> list[WorkflowExecution]:
    """Return the rows without runs that another of them has replaced."""
    newest: dict[str, WorkflowExecution] = {}
    for row in rows:
        if row.id not in newest or row.start_time > newest[row.id].start_time:
            newest[row.id] = row
    return [*newest.values()]


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
