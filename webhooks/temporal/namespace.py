"""Prepares the namespace: search attributes and retention."""

import asyncio
import logging
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    UpdateNamespaceRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from webhooks.errors import CannotRunError
from webhooks.temporal.names import SEARCH_ATTRIBUTES

log = logging.getLogger(__name__)

RETENTION = timedelta(days=30)
"""How long Temporal should keep finished workflows."""
_COUNT_TIMEOUT = timedelta(seconds=2)
_MAX_REGISTRATION_CHECKS = 60
"""One a second: servers that cache search attributes know new ones within a minute."""


class NotReadyError(CannotRunError):
    """Temporal answers, but cannot be used as it is."""


async def prepare(client: Client, *, ours: bool) -> None:
    """Register our search attributes and check their types. On our own server (`ours`), also set the retention; on
    another one, its operator sets it, and a shorter one is only logged. Raises NotReadyError, or RPCError while the
    server is starting."""
    await _register_search_attributes(client)
    described = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    retention = described.config.workflow_execution_retention_ttl.ToTimedelta()
    if retention >= RETENTION:
        return
    if ours:
        ttl = Duration()
        ttl.FromTimedelta(RETENTION)
        await client.workflow_service.update_namespace(
            UpdateNamespaceRequest(
                namespace=client.namespace, config=NamespaceConfig(workflow_execution_retention_ttl=ttl)
            )
        )
    else:
        log.warning(
            "namespace %s keeps finished workflows for only %s: after that, deliveries are no longer listed, and their "
            "occurrence ids can be used again", client.namespace, retention,
        )  # fmt: skip


async def _register_search_attributes(client: Client) -> None:
    registered = await _registered(client)
    missing = {name: kind for name, kind in SEARCH_ATTRIBUTES.items() if name not in registered}
    if missing:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
        )
    for _ in range(_MAX_REGISTRATION_CHECKS):
        registered = await _registered(client)
        if registered.keys() >= SEARCH_ATTRIBUTES.keys() and await _are_usable(client):
            break
        await asyncio.sleep(1)
    for name, kind in SEARCH_ATTRIBUTES.items():
        if registered.get(name) != kind:
            raise NotReadyError(
                f"The search attribute {name} of namespace {client.namespace} has a type that the platform cannot use. "
                "Remove it, or use another namespace (TEMPORAL_NAMESPACE)."
            )


async def _are_usable(client: Client) -> bool:
    """Return whether workflows can be started with our search attributes. The server lists them before that."""
    terms = " AND ".join(f"{name} IS NULL" for name in SEARCH_ATTRIBUTES)
    try:
        await client.count_workflows(f"WorkflowId = '-' AND {terms}", rpc_timeout=_COUNT_TIMEOUT)
    except RPCError as error:
        if error.status is not RPCStatusCode.INVALID_ARGUMENT:
            raise
        return False
    return True


async def _registered(client: Client) -> dict[str, IndexedValueType.ValueType]:
    answer = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    return dict(answer.custom_attributes)
