"""How many jobs a tenant and its clients can have."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from temporalio.client import Client

from webhooks.contracts import Job, JobKind, Selection
from webhooks.deliveries.jobs import MAX_OF_CLIENT, MAX_RUNNING, Jobs, TooManyJobsError
from webhooks.ids import uuid7
from webhooks.temporal.names import TENANT_ID
from webhooks.testing.platform_process import PlatformProcess, until


def job(tenant: str, client: str | None) -> Job:
    return Job(
        id=uuid7(),
        tenant=tenant,
        kind=JobKind.CANCEL,
        selection=Selection(until=datetime.now(UTC)),
        rate=1,
        requested_by="test",
        client_identifier=client,
        started_at=datetime.now(UTC),
    )


@contextlib.asynccontextmanager
async def of_a_tenant(client: Client) -> AsyncIterator[str]:
    """Yield the id of a tenant, and end its jobs afterwards."""
    tenant = f"tenant-{uuid4().hex}"
    yield tenant
    async for row in client.list_workflows(f"{TENANT_ID.name} = '{tenant}' AND ExecutionStatus = 'Running'"):
        await client.get_workflow_handle(row.id).terminate()


async def test_jobs_of_clients_leave_room_for_each_other_and_for_the_tenant(platform: PlatformProcess) -> None:
    """No worker takes these jobs, so they do not end: as those that a client's users have paused."""
    client = await platform.temporal()
    jobs = Jobs(client, ui="", task_queue=f"nobody-{uuid4().hex}")
    async with of_a_tenant(client) as tenant:

        async def started(number: int) -> None:
            async def listed() -> bool:
                query = f"{TENANT_ID.name} = '{tenant}' AND ExecutionStatus = 'Running'"
                return (await client.count_workflows(query)).count == number

            await until(listed, timeout=20, what=f"{number} jobs are listed")

        async def refused(whose: str | None) -> str:
            with pytest.raises(TooManyJobsError) as error:
                await jobs.start(job(tenant, whose))
            return str(error.value)

        clients = [f"client-{number}" for number in range(MAX_RUNNING // MAX_OF_CLIENT)]
        for _ in range(MAX_OF_CLIENT):
            await jobs.start(job(tenant, clients[0]))
        await started(MAX_OF_CLIENT)
        of_one = await refused(clients[0])
        for name in clients[1:]:
            for _ in range(MAX_OF_CLIENT):
                await jobs.start(job(tenant, name))
        await started(MAX_RUNNING)
        of_another = await refused("another client")
        for _ in range(MAX_RUNNING):
            await jobs.start(job(tenant, None))
        await started(2 * MAX_RUNNING)
        of_tenant = await refused(None)

    assert of_one == f"{MAX_OF_CLIENT} jobs of the client have not ended yet"
    assert of_another == f"{MAX_RUNNING} jobs of the clients have not ended yet"
    assert of_tenant == f"{MAX_RUNNING} jobs of the tenant have not ended yet"
