"""Doing something to many deliveries: a job."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.jobs import JobActivities
    from webhooks.contracts import Job, JobProgress, JobState, JobStatus
    from webhooks.deliveries.jobs import Request
    from webhooks.temporal.names import MEMO_JOB_STATUS, RUN_JOB

_SPARE = timedelta(minutes=10)
"""How much longer than its time a step may take, to finish the delivery in hand."""
_HEARTBEAT_TIMEOUT = timedelta(seconds=20)
"""After a crash, another worker goes on this much later."""


@workflow.defn(name=RUN_JOB)
class RunJob:
    """Call `work` again and again until it has nothing left to do, with pauses when somebody asks for them.

    The memo says how far it has come, so that a list of jobs reads no history."""

    @workflow.init
    def __init__(self, job: Job) -> None:
        self._progress = job.progress
        self._paused = job.paused
        self._stopped = False
        self._shown = JobStatus(state=JobState.PAUSED if job.paused else JobState.RUNNING, progress=job.progress)

    @workflow.signal(name=Request.PAUSE.value)
    def pause(self) -> None:
        self._paused = True

    @workflow.signal(name=Request.RESUME.value)
    def resume(self) -> None:
        self._paused = False

    @workflow.signal(name=Request.STOP.value)
    def stop(self) -> None:
        self._stopped = True

    @workflow.run
    async def run(self, job: Job) -> JobProgress:
        """Return how far it has come when it ends, by itself or because somebody stopped it."""
        steps = 0
        while not (self._stopped or self._progress.complete):
            if steps == job.steps_per_run:
                self._show(self._shown.state)
                workflow.continue_as_new(job.model_copy(update={"progress": self._progress, "paused": self._paused}))
            if self._paused:
                self._show(JobState.PAUSED)
                await workflow.wait_condition(lambda: self._stopped or not self._paused)
                continue
            self._show(JobState.RUNNING)
            await self._step(job)
            steps += 1
        self._show(JobState.DONE if self._progress.complete else JobState.STOPPED)
        return self._progress

    async def _step(self, job: Job) -> None:
        """Work for some minutes, or until somebody asks for something else."""
        working = workflow.start_activity_method(
            JobActivities.work,
            job.model_copy(update={"progress": self._progress}),
            start_to_close_timeout=timedelta(seconds=job.step_seconds) + _SPARE,
            heartbeat_timeout=_HEARTBEAT_TIMEOUT,
            retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=1)),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=job.kind,
        )
        await workflow.wait_condition(lambda: working.done() or self._paused or self._stopped)
        if not working.done():
            working.cancel()  # it finishes with the delivery in hand, and says how far it has come
        try:
            self._progress = await working
        except BaseException as error:
            if not (self._paused or self._stopped) or not is_cancelled_exception(error):
                raise

    def _show(self, state: JobState) -> None:
        status = JobStatus(state=state, progress=self._progress)
        if status != self._shown:
            self._shown = status
            workflow.upsert_memo({MEMO_JOB_STATUS: status})
