"""The occurrences that were published: each with its deliveries, or why it has none.

An occurrence has one row in Temporal's visibility for each delivery, or one for the record that no webhook matched. Its
place in the list is that of its oldest row, so that a delivery that is added later does not move it.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel
from temporalio.api.common.v1 import WorkflowExecution as WorkflowRun
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecution
from temporalio.service import RPCError, RPCStatusCode

from webhooks.contracts import Delivery, Occurrence, UnmatchedOccurrence
from webhooks.deliveries.history import known_of
from webhooks.deliveries.pages import page
from webhooks.deliveries.visibility import Filter, Position, found, newest_first
from webhooks.ids import name_in, workflow_id
from webhooks.temporal import codec
from webhooks.temporal.names import (
    CREATED_AT,
    DELIVER_WEBHOOK,
    OCCURRENCE_ID,
    RECORD_OCCURRENCE,
    RPC_TIMEOUT,
    WEBHOOK_ID,
)

_TYPES = (DELIVER_WEBHOOK, RECORD_OCCURRENCE)
_MAX_CONCURRENT_READS = 10
_ERASE_SECONDS = 10.0
"""How long to wait until Temporal has deleted what it was told to delete."""
_ERASE_AGAIN_SECONDS = 0.1


class StartedDelivery(BaseModel):
    """A delivery of an occurrence."""

    id: str
    webhook_id: str


@dataclass(frozen=True)
class PublishedOccurrence:
    """An occurrence as it was published first. `unmatched` says why no webhook matched; None if one did.

    If its data cannot be decrypted any more, it is not `readable`: there is no data, and no reason in `unmatched`."""

    occurrence: Occurrence
    created_at: datetime
    deliveries: list[StartedDelivery]
    unmatched: str | None
    position: Position
    readable: bool = True


class Occurrences:
    """Lists and reads the occurrences of a tenant."""

    def __init__(self, client: Client, tenant: str) -> None:
        self._client = client
        self._tenant = tenant

    async def get(self, id: str) -> PublishedOccurrence | None:
        """Return an occurrence; None if it never was published or its retention has ended. Its deliveries appear after
        a short delay, the record that no webhook matched at once. Raises RPCError."""
        rows = [row async for row in self._rows_of([id])]
        if not rows:
            try:
                handle = self._client.get_workflow_handle(workflow_id(self._tenant, id))
                rows = [await handle.describe(rpc_timeout=RPC_TIMEOUT)]
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    return None
                raise
        return await self._read(rows)

    async def list(
        self,
        *,
        ids: Sequence[str] = (),
        events: Sequence[str],
        client_identifiers: Sequence[str],
        matched: bool | None,
        since: datetime | None,
        until: datetime | None,
        limit: int,
        cursor: str | None,
        received: bool = False,
        source_ids: Sequence[str] = (),
        verified: bool | None = None,
    ) -> tuple[list[PublishedOccurrence], str | None]:
        """Return a page of occurrences, newest first, and the cursor of the next page; None on the last page. Without
        `matched`: all. `received`: only those that were received, of these sources and with this verification, if they
        are given. Raises BadCursorError and RPCError."""
        filter = Filter(
            self._tenant,
            occurrence_ids=ids,
            events=events,
            client_identifiers=client_identifiers,
            since=since,
            until=until,
            workflow_types=_TYPES,
            source_ids=source_ids,
            received=received,
        )
        after = Position.from_cursor(cursor) if cursor else None
        rows = newest_first(self._client, filter, after)

        async def items_of(rows: Sequence[WorkflowExecution]) -> Sequence[PublishedOccurrence]:
            return [one for one in await self.first_of(rows, matched) if verified in (None, _is_verified(one))]

        return await page(rows, after, limit, items_of)

    async def erase(self, id: str) -> Sequence[str]:
        """Delete an occurrence from Temporal: its deliveries with all their runs, and the record that no webhook
        matched. What still runs is terminated first. Return the workflow ids that were deleted; empty if there is
        nothing.

        A delivery that was started within the last second may not be found yet; then call it again. Raises RPCError."""
        erased: dict[str, None] = {}
        until = time.monotonic() + _ERASE_SECONDS
        while time.monotonic() < until:
            runs: set[tuple[str, str | None]] = {(row.id, row.run_id) async for row in self._rows_of([id])}
            runs |= {(of, None) for of in (workflow_id(self._tenant, id), *(of for of, _ in runs))}
            gate = asyncio.Semaphore(_MAX_CONCURRENT_READS)
            existed = await asyncio.gather(*(self._erase(gate, of, run) for of, run in runs))
            deleted = [of for (of, _), did in zip(runs, existed, strict=True) if did]
            if not deleted:
                break
            erased |= dict.fromkeys(deleted)
            await asyncio.sleep(_ERASE_AGAIN_SECONDS)
        return list(erased)

    async def _erase(self, gate: asyncio.Semaphore, workflow: str, run: str | None) -> bool:
        """Terminate and delete one run; without `run`, the latest one. Return False if there is none."""
        async with gate:
            handle = self._client.get_workflow_handle(workflow, run_id=run)
            await _exists(handle.terminate(reason="erased", rpc_timeout=RPC_TIMEOUT))  # or has ended
            request = DeleteWorkflowExecutionRequest(
                namespace=self._client.namespace,
                workflow_execution=WorkflowRun(workflow_id=workflow, run_id=run or ""),
            )
            return await _exists(self._client.workflow_service.delete_workflow_execution(request, timeout=RPC_TIMEOUT))

    async def first_of(
        self, rows: Sequence[WorkflowExecution], matched: bool | None = None
    ) -> Sequence[PublishedOccurrence]:
        """Return the occurrences whose oldest row is among these rows, in the order of the rows."""
        if not rows:
            return []
        all_rows: dict[str, list[WorkflowExecution]] = defaultdict(list)
        async for row in self._rows_of([_id(row) for row in rows]):
            all_rows[_id(row)].append(row)
        gate = asyncio.Semaphore(_MAX_CONCURRENT_READS)

        async def read(row: WorkflowExecution) -> PublishedOccurrence | None:
            of_one = all_rows[_id(row)] or [row]
            if Position.of(row) != min(map(Position.of, of_one)):
                return None
            if matched is not None and matched != any(_is_delivery(other) for other in of_one):
                return None
            async with gate:
                return await self._read(of_one)

        return [read for read in await asyncio.gather(*map(read, rows)) if read]

    async def _read(self, rows: Sequence[WorkflowExecution]) -> PublishedOccurrence | None:
        """Return the occurrence that these rows are of, as its oldest row was started."""
        oldest = min(rows, key=Position.of)
        found = await self._input(oldest)
        if found is None:
            return None
        started, readable = found
        of_deliveries = sorted(filter(_is_delivery, rows), key=Position.of)
        webhooks = {row.id: row.typed_search_attributes[WEBHOOK_ID] for row in of_deliveries}  # once if it has two runs
        deliveries = [StartedDelivery(id=name_in(self._tenant, id), webhook_id=of) for id, of in webhooks.items()]
        unmatched = started.reason if isinstance(started, UnmatchedOccurrence) and not deliveries else None
        return PublishedOccurrence(
            started.occurrence,
            oldest.typed_search_attributes[CREATED_AT],
            deliveries,
            unmatched,
            Position.of(oldest),
            readable,
        )

    async def _input(self, row: WorkflowExecution) -> tuple[Delivery | UnmatchedOccurrence, bool] | None:
        """Return what the workflow was started with, and whether it can be decrypted; None if its retention has just
        ended."""
        handle = self._client.get_workflow_handle(row.id, run_id=row.run_id)
        try:
            async for event in handle.fetch_history_events(page_size=1, rpc_timeout=RPC_TIMEOUT):
                [payload] = event.workflow_execution_started_event_attributes.input.payloads
                await codec.decrypt(self._client.data_converter, [payload])
                if codec.is_encrypted(payload):
                    return _known_of(row), False
                model = Delivery if _is_delivery(row) else UnmatchedOccurrence
                return model.model_validate_json(payload.data), True
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        return None

    async def _rows_of(self, ids: Sequence[str]) -> AsyncIterator[WorkflowExecution]:
        """Yield every row of these occurrences."""
        filter = Filter(self._tenant, occurrence_ids=ids, workflow_types=_TYPES)
        if query := filter.query():
            async for row in found(self._client, query):
                if filter.selects(row):
                    yield row


def _id(row: WorkflowExecution) -> str:
    return row.typed_search_attributes[OCCURRENCE_ID]


def _is_delivery(row: WorkflowExecution) -> bool:
    return row.workflow_type == DELIVER_WEBHOOK


def _is_verified(published: PublishedOccurrence) -> bool:
    received = published.occurrence.received
    return received is not None and received.verified


def _known_of(row: WorkflowExecution) -> Delivery | UnmatchedOccurrence:
    """Return what the search attributes say of a workflow that cannot be decrypted."""
    known = known_of(row.typed_search_attributes)
    if _is_delivery(row):
        return known
    return UnmatchedOccurrence(tenant=known.tenant, occurrence=known.occurrence, reason="")


async def _exists(call: Awaitable[object]) -> bool:
    """Make a call about a workflow run, and return whether there is such a run. Raises RPCError."""
    try:
        await call
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True
