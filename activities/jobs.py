"""The activity of a job: it works until its time is over, the job ends, or it is told to stop."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator

from temporalio import activity
from temporalio.client import WorkflowExecution

from webhooks.contracts import Job, JobKind, JobProgress, Occurrence
from webhooks.deliveries import bulk, visibility, windows
from webhooks.deliveries.bulk import DONE, Resends
from webhooks.deliveries.monitor import Deliveries
from webhooks.deliveries.occurrences import Occurrences, PublishedOccurrence
from webhooks.deliveries.selection import filter_of
from webhooks.deliveries.windows import Position
from webhooks.ids import delivery_id, name_in
from webhooks.isolation.delayed_starts import TooManyDelayedError
from webhooks.isolation.pacer import Pacer, Turns
from webhooks.publishing.publish import Publisher
from webhooks.publishing.replay import EXISTS, Replays
from webhooks.sending.sender import NotSendableError, sendable
from webhooks.store import webhooks as stored_webhooks
from webhooks.store.database import Database
from webhooks.temporal.names import CREATED_AT, OCCURRENCE_ID

_READING = 0.1
"""What it takes of a turn to look at a delivery, which is read and may be left as it is."""
_CHUNK = 4
"""Occurrences that are read together. With more, live deliveries would notice each time: `make bench ONLY=bulk`."""
_VISIBLE_SECONDS = 2.0
"""Visibility follows this much later: the search begins this long after the end of the time that is searched."""
_TRY_AGAIN_SECONDS = 1.0
_HEARTBEAT_SECONDS = 1.0
_NOT_DONE = "not_done"
"""It was told to stop before anything was done."""
Handled = AsyncGenerator[tuple[WorkflowExecution, str | None]]
"""Rows with what became of each: DONE, or why it was left as it is. None: it is another row of what was handled."""
_LAST_RUN = "\U0010ffff"
"""Sorts after the id of any run: of a delivery's runs, the job looks at one."""


class JobActivities:
    """Holds what the jobs of a process share. The worker makes one."""

    def __init__(self, publisher: Publisher, database: Database, pacer: Pacer) -> None:
        """All jobs of the process share the pacer."""
        self._client = publisher.client
        self._database = database
        self._pacer = pacer
        self._deliveries = Deliveries(self._client, ui="", task_queue=publisher.task_queue)
        self._resends = Resends(self._client, self._deliveries, publisher.task_queue, self._is_sendable)
        self._replays = Replays(publisher, database)

    @activity.defn
    async def work(self, job: Job) -> JobProgress:
        """Go on with a job. Return how far it has come; it is `complete` if nothing is left to do.

        The progress is a heartbeat: after a crash, another call goes on from the last one. What was done after it is
        recognized, and counted."""
        if earlier := activity.info().heartbeat_details:
            job = job.model_copy(update={"progress": JobProgress.model_validate(earlier[0])})
        step = _Step(job, self._pacer.turns())
        working = asyncio.ensure_future(self._work(step))
        while not working.done():
            try:
                await asyncio.wait((working,), timeout=_HEARTBEAT_SECONDS)
                activity.heartbeat(step.progress)
            except asyncio.CancelledError:  # told to stop, or the worker ends: finish with the delivery in hand
                step.stopping.set()
        return working.result()

    async def _work(self, step: "_Step") -> JobProgress:
        job = step.job
        if job.progress.found is None:
            age = time.time() - job.selection.until.timestamp()
            await asyncio.sleep(_VISIBLE_SECONDS - age)
            step.change(found=await visibility.count(self._client, filter_of(job)))
        handled = self._replayed(step) if job.kind is JobKind.REPLAY else self._handled(step)
        async with contextlib.aclosing(handled) as rows:
            async for row, outcome in rows:
                step.looked_at(row, outcome)
                if step.is_over():
                    return step.progress
        return step.change(complete=not step.stopping.is_set())

    async def _handled(self, step: "_Step") -> Handled:
        """Resend or give up one delivery after the other."""
        job = step.job
        async for row in windows.oldest_first(self._client, filter_of(job), step.position):
            if row.id == step.progress.workflow_id:
                yield row, None
                continue
            await step.turns.next(_READING)
            id = name_in(job.tenant, row.id)
            if job.kind is JobKind.CANCEL:
                yield row, await bulk.cancel(self._deliveries, job, id, lambda: self._turn(step))
            else:
                yield row, await self._resends.resend(job, id, lambda: self._turn(step))

    async def _replayed(self, step: "_Step") -> Handled:
        """Start the delivery of one occurrence after the other."""
        job = step.job
        async with contextlib.aclosing(windows.oldest_first(self._client, filter_of(job), step.position)) as every:
            while rows := await _next(every):
                found = await Occurrences(self._client, job.tenant).first_of(rows)
                first = {(one.occurrence.id, one.created_at): one for one in found}
                for row in rows:
                    attributes = row.typed_search_attributes
                    published = first.pop((attributes[OCCURRENCE_ID], attributes[CREATED_AT]), None)
                    outcome = await self._replay(step, published) if published else None
                    if step.stopping.is_set() and outcome == _NOT_DONE:
                        return
                    yield row, outcome

    async def _replay(self, step: "_Step", published: PublishedOccurrence) -> str:
        """Start the delivery of an occurrence if there is none. If the job asks for it, resend one that failed. Return
        DONE or why not."""
        job, occurrence = step.job, published.occurrence
        [webhook_id] = job.selection.webhook_ids
        await step.turns.next(_READING)
        if not published.readable:
            return bulk.UNREADABLE
        outcome = EXISTS
        if not any(known.webhook_id == webhook_id for known in published.deliveries):
            outcome = await self._start(step, occurrence)
        if outcome != EXISTS:
            return outcome
        id = delivery_id(occurrence.id, webhook_id)
        if job.only_missing:
            detail = await self._deliveries.get(job.tenant, id)
            return DONE if detail and detail.latest.job_id == job.id else EXISTS
        outcome = await self._resends.resend(job, id, lambda: self._turn(step))
        return EXISTS if outcome == bulk.DOES_NOT_MATCH else outcome

    async def _start(self, step: "_Step", occurrence: Occurrence) -> str:
        while not step.stopping.is_set():
            try:
                return await self._replays.replay(step.job, occurrence, lambda: self._turn(step))
            except TooManyDelayedError:  # its receiver is in trouble, and more than this job publishes to it
                step.turns.pause()
                await asyncio.sleep(_TRY_AGAIN_SECONDS)
        return _NOT_DONE

    async def _is_sendable(self, tenant: str, webhook_id: str, event: str) -> bool:
        async with self._database.read() as session:
            found = await stored_webhooks.load(session, tenant, webhook_id, event)
        try:
            sendable(found)
        except NotSendableError:
            return False
        return True

    async def _turn(self, step: "_Step") -> None:
        step.turns.pause()
        await step.turn()
        await step.turns.next(1 - _READING)


class _Step:
    """One call: the job, how far it has come, and whether the call is over."""

    def __init__(self, job: Job, turns: Turns) -> None:
        self.job = job
        self.turns = turns
        """Among all jobs of the process."""
        self.progress = job.progress
        self.stopping = asyncio.Event()
        self._began = time.monotonic()
        self._next_at = 0.0

    @property
    def position(self) -> Position | None:
        """Where to go on: after the last one that was looked at."""
        at = self.progress.created_at
        return Position(at, self.progress.workflow_id, _LAST_RUN) if at else None

    def looked_at(self, row: WorkflowExecution, outcome: str | None) -> None:
        """Count a row that is done with. `outcome` is DONE or why it was left as it is; None if it is only another row
        of what was counted before."""
        skipped = dict(self.progress.skipped)
        if outcome:
            skipped[outcome] = skipped.get(outcome, 0) + 1
        self.change(
            seen=self.progress.seen + 1,
            done=self.progress.done + (outcome == DONE),
            skipped=skipped,
            created_at=row.typed_search_attributes[CREATED_AT],
            workflow_id=row.id,
        )

    def change(self, **fields: object) -> JobProgress:
        worked = self.job.progress.worked + time.monotonic() - self._began
        self.progress = self.progress.model_copy(update={**fields, "worked": round(worked, 3)})
        return self.progress

    def is_over(self) -> bool:
        return self.stopping.is_set() or time.monotonic() - self._began > self.job.step_seconds

    async def turn(self) -> None:
        """Wait as the job's own rate says, unless it is told to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(self._next_at - time.monotonic(), 0)):
                await self.stopping.wait()
        self._next_at = max(self._next_at, time.monotonic()) + 1 / self.job.rate


async def _next(rows: AsyncIterator[WorkflowExecution]) -> list[WorkflowExecution]:
    """Return the next rows, which are read together."""
    chunk = []
    async for row in rows:
        chunk.append(row)
        if len(chunk) == _CHUNK:
            break
    return chunk
