"""The workflow of a job: how it goes on when it is long."""

from datetime import timedelta

from temporalio.client import WorkflowExecutionStatus

from tests.api.test_jobs import failed
from tests.support.decrypting import client_of
from tests.workflows.long_job import start_long_job
from webhooks.contracts import JobState
from webhooks.deliveries.jobs import JobView
from webhooks.testing.platform_process import PlatformProcess, until
from webhooks.testing.receiver import Receiver

_COUNT = 10


async def test_a_long_job_continues_in_new_runs(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """With steps of 0.4 s and two steps a run: what an ordinary job does after eight hours."""
    event, ids = await failed(platform, receiver.tell(path, [500] * _COUNT + [200]), _COUNT)
    client = await client_of(platform)
    jobs, job_id = await start_long_job(client, event, rate=5, step_seconds=0.4, steps_per_run=2)
    view: JobView | None = None

    async def has_ended() -> bool:
        nonlocal view
        view = await jobs.get("default", job_id)
        return view is not None and view.ended_at is not None

    await until(has_ended, timeout=60, what="the end of the job", shown=lambda: str(view))
    for id in ids:
        await platform.wait(id, "delivered")
    runs = [run async for run in client.list_workflows(f"WorkflowId = 'default/~job~{job_id}'")]
    listed = [one["id"] for one in (await platform.get("/v1/jobs", limit=100))["items"]]

    assert view is not None
    assert (view.state, view.progress.found, view.progress.seen) == (JobState.DONE, _COUNT, _COUNT)
    assert (view.progress.done, view.progress.skipped) == (_COUNT, {})
    assert timedelta(seconds=view.progress.worked) > timedelta(seconds=(_COUNT - 1) / 5)
    assert [request.headers["webhook-id"] for request in receiver.got(path)[_COUNT:]] == ids
    assert [run.status for run in runs].count(WorkflowExecutionStatus.CONTINUED_AS_NEW) == len(runs) - 1 >= 2
    assert listed.count(job_id) == 1
