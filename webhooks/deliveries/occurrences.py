"""The occurrences that were published: each with its deliveries, or why it has none.

An occurrence has one row in Temporal's visibility for each delivery, or one for the record that no webhook matched. If
a fan-out started the deliveries, its row stands for all of theirs. The occurrence's place in the list is that of its
oldest row, so that a delivery that is added later does not move it.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel
from temporalio.api.common.v1 import WorkflowExecution as WorkflowRun
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecution, WorkflowFailureError
from temporalio.service import RPCError, RPCStatusCode

from webhooks.contracts import Delivery, FanOut, Occurrence, UnmatchedOccurrence
from webhooks.deliveries import visibility
from webhooks.deliveries.history import known_of
from webhooks.deliveries.pages import page
from webhooks.deliveries.visibility import Filter, found
from webhooks.deliveries.windows import Position, newest_first
from webhooks.ids import fan_out_name, name_in, workflow_id
from webhooks.temporal import codec
from webhooks.temporal.codec import UnreadableError
from webhooks.temporal.names import (
    CREATED_AT,
    DELIVER_WEBHOOK,
    FAN_OUT_OCCURRENCE,
    MEMO_MATCHED,
    OCCURRENCE_ID,
    OF_OCCURRENCES,
    RECORD_OCCURRENCE,
    RPC_TIMEOUT,
    WEBHOOK_ID,
)

_INPUTS: dict[str, type[Delivery | UnmatchedOccurrence | FanOut]] = {
    DELIVER_WEBHOOK: Delivery,
    RECORD_OCCURRENCE: UnmatchedOccurrence,
    FAN_OUT_OCCURRENCE: FanOut,
}
_MAX_CONCURRENT_READS = 10
_ERASE_SECONDS = 10.0
"""How long to wait until Temporal has deleted what it was told to delete."""
_ERASE_AGAIN_SECONDS = 0.1
_END_SECONDS = 10.0
"""How long to wait for the end of a fan-out. Then it is terminated, and may start deliveries for another second."""


class StartedDelivery(BaseModel):
    """A delivery of an occurrence."""

    id: str
    webhook_id: str


@dataclass(frozen=True)
class PublishedOccurrence:
    """An occurrence as it was published first. `matched` is how many webhooks get it, and `started` how many deliveries
    are stored. If a fan-out starts them, `deliveries` is empty. `unmatched` says why no webhook matched; None if one
    did.

    If its data cannot be decrypted any more, it is not `readable`: there is no data, and no reason in `unmatched`."""

    occurrence: Occurrence
    created_at: datetime
    deliveries: list[StartedDelivery]
    unmatched: str | None
    position: Position
    readable: bool = True
    matched: int = 0
    started: int = 0
    fanned_out_to: tuple[str, ...] = ()
    """Ids of the webhooks for which a fan-out starts deliveries."""

    def goes_to(self, webhook_id: str) -> bool:
        """Return whether the webhook has a delivery, or gets one."""
        return webhook_id in self.fanned_out_to or any(one.webhook_id == webhook_id for one in self.deliveries)


class Occurrences:
    """Lists and reads the occurrences of a tenant."""

    def __init__(self, client: Client, tenant: str) -> None:
        self._client = client
        self._tenant = tenant

    async def get(self, id: str) -> PublishedOccurrence | None:
        """Return an occurrence; None if it never was published or its retention has ended. Its deliveries appear after
        a short delay; a fan-out, and the record that no webhook matched, at once. Raises RPCError."""
        rows = [row async for row in self._rows_of([id])]
        for name in (id, fan_out_name(id)):
            if not rows and (found := await self._describe(name)):
                rows = [found]
        return await self._read(rows) if rows else None

    async def _describe(self, name: str) -> WorkflowExecution | None:
        handle = self._client.get_workflow_handle(workflow_id(self._tenant, name))
        try:
            return await handle.describe(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise

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
            workflow_types=OF_OCCURRENCES,
            without_fanned_out=True,
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

        A delivery that was started within the last second may not be found yet, and of many, some may be left; then
        call it again. Raises RPCError."""
        erased: dict[str, None] = {}
        unseen = [workflow_id(self._tenant, name) for name in (id, fan_out_name(id))]
        until = time.monotonic() + _ERASE_SECONDS
        await self._end_fan_outs(id, unseen[1])
        while time.monotonic() < until:
            every = self._rows_of([id], fanned_out=True)
            runs: set[tuple[str, str | None]] = {(row.id, row.run_id) async for row in every}
            runs |= {(of, None) for of in (*unseen, *(of for of, _ in runs))}
            gate = asyncio.Semaphore(_MAX_CONCURRENT_READS)
            existed = await asyncio.gather(*(self._erase(gate, of, run) for of, run in runs))
            deleted = [of for (of, _), did in zip(runs, existed, strict=True) if did]
            if not deleted:
                break
            erased |= dict.fromkeys(deleted)
            await asyncio.sleep(_ERASE_AGAIN_SECONDS)
        return list(erased)

    async def _end_fan_outs(self, id: str, first: str) -> None:
        """Let what starts deliveries of the occurrence end: `first`, and others that can be found."""
        filter = Filter(self._tenant, occurrence_ids=[id], workflow_types=(FAN_OUT_OCCURRENCE,))
        query = filter.query()
        rows = [row async for row in found(self._client, query) if filter.selects(row)] if query else []
        for workflow in dict.fromkeys((first, *(row.id for row in rows))):
            handle = self._client.get_workflow_handle(workflow)
            if await _exists(handle.cancel(rpc_timeout=RPC_TIMEOUT)):  # or has ended
                with contextlib.suppress(TimeoutError, WorkflowFailureError):
                    async with asyncio.timeout(_END_SECONDS):
                        await handle.result()

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
        """Return the occurrences whose oldest workflow is among these rows, in the order of the rows."""
        if not rows:
            return []
        all_rows: dict[str, list[WorkflowExecution]] = defaultdict(list)
        async for row in self._rows_of([_id(row) for row in rows]):
            all_rows[_id(row)].append(row)
        gate = asyncio.Semaphore(_MAX_CONCURRENT_READS)

        async def read(row: WorkflowExecution) -> PublishedOccurrence | None:
            of_one = all_rows[_id(row)] or [row]
            if row.id != min(of_one, key=_accepted).id:  # whichever of its runs this is
                return None
            if matched is not None and matched != any(other.workflow_type != RECORD_OCCURRENCE for other in of_one):
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
        of_deliveries = sorted((row for row in rows if row.workflow_type == DELIVER_WEBHOOK), key=Position.of)
        webhooks = {row.id: row.typed_search_attributes[WEBHOOK_ID] for row in of_deliveries}  # once if it has two runs
        deliveries = [StartedDelivery(id=name_in(self._tenant, id), webhook_id=of) for id, of in webhooks.items()]
        matched = begun = len(deliveries)
        fan_outs = [row for row in rows if row.workflow_type == FAN_OUT_OCCURRENCE]
        if fan_outs:
            deliveries = []
            begun = await visibility.count(self._client, Filter(self._tenant, occurrence_ids=[_id(oldest)]))
            matched = await _matched(max(fan_outs, key=Position.of)) or begun
        unmatched = started.reason if isinstance(started, UnmatchedOccurrence) and not matched else None
        return PublishedOccurrence(
            started.occurrence,
            oldest.typed_search_attributes[CREATED_AT],
            deliveries,
            unmatched,
            Position.of(oldest),
            readable,
            matched,
            min(begun, matched),  # a resend after the end of a delivery has a row of its own
            started.webhook_ids if isinstance(started, FanOut) else (),
        )

    async def _input(self, row: WorkflowExecution) -> tuple[Delivery | UnmatchedOccurrence | FanOut, bool] | None:
        """Return what the workflow was started with, and whether it can be decrypted; None if its retention has just
        ended."""
        handle = self._client.get_workflow_handle(row.id, run_id=row.run_id)
        try:
            async for event in handle.fetch_history_events(page_size=1, rpc_timeout=RPC_TIMEOUT):
                [payload] = event.workflow_execution_started_event_attributes.input.payloads
                await codec.decrypt(self._client.data_converter, [payload])
                if codec.is_encrypted(payload):
                    return _known_of(row), False
                return _INPUTS[row.workflow_type].model_validate_json(payload.data), True
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        return None

    async def _rows_of(self, ids: Sequence[str], *, fanned_out: bool = False) -> AsyncIterator[WorkflowExecution]:
        """Yield every row of these occurrences; those of deliveries that a fan-out started only with `fanned_out`."""
        filter = Filter(
            self._tenant, occurrence_ids=ids, workflow_types=OF_OCCURRENCES, without_fanned_out=not fanned_out
        )
        if query := filter.query():
            async for row in found(self._client, query):
                if filter.selects(row):
                    yield row


def _accepted(row: WorkflowExecution) -> tuple[datetime, str]:
    """Return what orders workflows; all runs of one have the same."""
    return row.typed_search_attributes[CREATED_AT], row.id


def _id(row: WorkflowExecution) -> str:
    return row.typed_search_attributes[OCCURRENCE_ID]


def _is_verified(published: PublishedOccurrence) -> bool:
    received = published.occurrence.received
    return received is not None and received.verified


def _known_of(row: WorkflowExecution) -> Delivery | UnmatchedOccurrence:
    """Return what the search attributes say of a workflow that cannot be decrypted."""
    known = known_of(row.typed_search_attributes)
    if row.workflow_type == DELIVER_WEBHOOK:
        return known
    return UnmatchedOccurrence(tenant=known.tenant, occurrence=known.occurrence, reason="")


async def _matched(fan_out: WorkflowExecution) -> int | None:
    """Return how many webhooks a fan-out is for; None if that cannot be decrypted any more."""
    try:
        return await fan_out.memo_value(MEMO_MATCHED, type_hint=int)
    except UnreadableError:
        return None


async def _exists(call: Awaitable[object]) -> bool:
    """Make a call about a workflow run, and return whether there is such a run. Raises RPCError."""
    try:
        await call
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True
