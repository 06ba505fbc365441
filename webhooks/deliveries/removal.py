"""Removing every delivery and every recorded occurrence of a tenant from Temporal, whether it has ended or not."""

import asyncio

from temporalio.api.common.v1 import WorkflowExecution as Execution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecution
from temporalio.service import RPCError, RPCStatusCode

from webhooks.deliveries.visibility import RUNNING, found, quoted
from webhooks.temporal.names import RPC_TIMEOUT, TENANT_ID

_MAX_CONCURRENT = 4
"""It is not urgent, so it leaves Temporal to what is."""


async def remove_all(client: Client, tenant: str) -> int:
    """Ask Temporal to remove every workflow of a tenant, those that run first. Return how many it still had: call again
    until there are none. Raises RPCError."""
    of_tenant = f"{TENANT_ID.name} = {quoted(tenant)}"
    removed = 0
    for which in (f"{of_tenant} AND {RUNNING}", of_tenant):
        rows: list[WorkflowExecution] = []
        async for row in found(client, which):
            rows.append(row)
            if len(rows) == _MAX_CONCURRENT:
                removed += await _remove(client, rows)
                rows = []
        removed += await _remove(client, rows)
    return removed


async def _remove(client: Client, rows: list[WorkflowExecution]) -> int:
    await asyncio.gather(*(_remove_one(client, row) for row in rows))
    return len(rows)


async def _remove_one(client: Client, row: WorkflowExecution) -> None:
    request = DeleteWorkflowExecutionRequest(
        namespace=client.namespace, workflow_execution=Execution(workflow_id=row.id, run_id=row.run_id)
    )
    try:
        await client.workflow_service.delete_workflow_execution(request, timeout=RPC_TIMEOUT)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
