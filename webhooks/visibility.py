"""Deliveries found by their search attributes, newest first.

On SQL, Temporal's visibility sorts open workflows before closed ones and those by their end, and takes no other
order. So a page is cut from a window of start times that is small enough to be sorted here.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.client import Client, WorkflowExecution

from webhooks.history import Status
from webhooks.store import pages
from webhooks.temporal import DELIVER_WEBHOOK, PARKED

_WINDOW_ROWS = 300
"""A window with more rows is narrowed."""
_NARROWEST = timedelta(milliseconds=1)
_FIRST_WIDTH = timedelta(seconds=10)
_WIDEST = timedelta(days=30)

_RUNNING = "ExecutionStatus = 'Running'"
_BY_STATUS = {
    Status.DELIVERED: "ExecutionStatus = 'Completed'",
    Status.EXPIRED: "ExecutionStatus = 'Failed'",
    Status.FAILED: f"(({_RUNNING} AND DeliveryStatus = '{PARKED}') OR "
    "ExecutionStatus IN ('Terminated', 'Canceled', 'TimedOut'))",
    # Told apart by their history: a search attribute for it would cost each failing delivery one more write.
    Status.PENDING: f"({_RUNNING} AND (DeliveryStatus IS NULL OR DeliveryStatus != '{PARKED}'))",
    Status.RETRYING: f"({_RUNNING} AND (DeliveryStatus IS NULL OR DeliveryStatus != '{PARKED}'))",
}


@dataclass(frozen=True)
class Filter:
    """What to list. Times bound the delivery's creation: `since` included, `until` not."""

    tenant: str
    webhook_id: str | None = None
    event: str | None = None
    occurrence_id: str | None = None
    client_identifier: str | None = None
    status: Status | None = None
    since: datetime | None = None
    until: datetime | None = None

    def query(self) -> str:
        terms = [f"WorkflowType = '{DELIVER_WEBHOOK}'", f"TenantId = {quoted(self.tenant)}"]
        for attribute, value in (
            ("WebhookId", self.webhook_id),
            ("EventKey", self.event),
            ("OccurrenceId", self.occurrence_id),
            ("ClientId", self.client_identifier),
        ):
            if value is not None:
                terms.append(f"{attribute} = {quoted(value)}")
        if self.status:
            terms.append(_BY_STATUS[self.status])
        if self.since:
            terms.append(f"StartTime >= {_stamp(self.since)}")
        if self.until:
            terms.append(f"StartTime < {_stamp(self.until)}")
        return " AND ".join(terms)


@dataclass(frozen=True, order=True)
class Position:
    """A place in the order newest first."""

    started_at: datetime
    workflow_id: str

    @classmethod
    def of(cls, row: WorkflowExecution) -> "Position":
        return cls(row.start_time, row.id)

    def cursor(self) -> str:
        return pages.encode(json.dumps([self.started_at.isoformat(), self.workflow_id]))

    @classmethod
    def from_cursor(cls, cursor: str) -> "Position":
        """Raises pages.BadCursorError."""
        try:
            started_at, workflow_id = json.loads(pages.decode(cursor))
            return cls(datetime.fromisoformat(started_at).astimezone(UTC), str(workflow_id))
        except (ValueError, TypeError):
            raise pages.BadCursorError("not a cursor of this list") from None


async def newest_first(client: Client, filter: Filter, after: Position | None) -> AsyncIterator[WorkflowExecution]:
    """Every run that the filter finds, from `after` on backwards. A row may be of a run that a later one replaced."""
    query = filter.query()
    upper = after.started_at if after else datetime.now(UTC) + timedelta(minutes=1)  # clocks differ
    width: timedelta | None = None  # unbounded: most lists fit into one window
    while True:
        window = f"{query} AND StartTime <= {_stamp(upper)}"
        if width:
            window += f" AND StartTime > {_stamp(upper - width)}"
        limit = None if width and width <= _NARROWEST else _WINDOW_ROWS
        rows = [row async for row in client.list_workflows(window, limit=limit, page_size=_WINDOW_ROWS)]
        if len(rows) == limit:
            width = width / 8 if width else _FIRST_WIDTH
            continue
        for row in sorted(rows, key=Position.of, reverse=True):
            if after is None or Position.of(row) < after:
                yield row
        if width is None or (filter.since and upper - width < filter.since):
            return
        upper -= width
        if len(rows) < _WINDOW_ROWS / 4:
            width = width * 4 if width < _WIDEST else None


async def latest_runs(client: Client, workflow_ids: list[str]) -> dict[str, str]:
    """The newest run id of each workflow id."""
    query = f"WorkflowId IN ({', '.join(quoted(id) for id in workflow_ids)})"
    newest: dict[str, WorkflowExecution] = {}
    async for row in client.list_workflows(query):
        if row.id not in newest or row.start_time > newest[row.id].start_time:
            newest[row.id] = row
    return {id: row.run_id for id, row in newest.items()}


def quoted(value: str) -> str:
    """A string literal of the visibility query language."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _stamp(time: datetime) -> str:
    return quoted(time.astimezone(UTC).isoformat(timespec="microseconds"))
