"""A job with small steps, which does in seconds what an ordinary one does in hours."""

from datetime import UTC, datetime

from temporalio.client import Client

from webhooks.contracts import Job, JobKind, Selection
from webhooks.deliveries.jobs import Jobs
from webhooks.ids import uuid7
from webhooks.settings import Settings


async def start_long_job(
    client: Client, event: str, *, rate: float, step_seconds: float, steps_per_run: int
) -> tuple[Jobs, str]:
    """Start a job that resends what failed of an event. Return the jobs, and its id."""
    jobs = Jobs(client, ui="", task_queue=Settings.model_fields["task_queue"].default)
    now = datetime.now(UTC)
    job = Job(
        id=uuid7(),
        tenant="default",
        kind=JobKind.RESEND,
        selection=Selection(events=(event,), statuses=("failed",), until=now),
        rate=rate,
        requested_by="a test",
        started_at=now,
        step_seconds=step_seconds,
        steps_per_run=steps_per_run,
    )
    await jobs.start(job)
    return jobs, job.id
