"""How we use Temporal: names, payloads, search attributes, the connection."""

import asyncio
import logging
import os
import secrets
import socket
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType, TaskQueueType
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeTaskQueueRequest,
    DescribeTaskQueueResponse,
    UpdateNamespaceRequest,
)
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import CompositePayloadConverter, DataConverter
from temporalio.envconfig import ClientConfig
from temporalio.service import GrpcCompression, RPCError, RPCStatusCode

from webhooks.errors import CannotRunError
from webhooks.settings import Settings
from webhooks.telemetry import setup

log = logging.getLogger(__name__)

DELIVER_WEBHOOK = "DeliverWebhook"
RECORD_OCCURRENCE = "RecordOccurrence"

TENANT_ID = SearchAttributeKey.for_keyword("TenantId")
EVENT_KEY = SearchAttributeKey.for_keyword("EventKey")
WEBHOOK_ID = SearchAttributeKey.for_keyword("WebhookId")
OCCURRENCE_ID = SearchAttributeKey.for_keyword("OccurrenceId")
CLIENT_ID = SearchAttributeKey.for_keyword("ClientId")
CREATED_AT = SearchAttributeKey.for_datetime("CreatedAt")
"""When the delivery was accepted: a resend after its close starts another run, not another delivery."""
HELD_BY = SearchAttributeKey.for_keyword("HeldBy")
"""The process that will begin a delivery whose start is delayed: its client's identity."""
DELIVERY_STATUS = SearchAttributeKey.for_keyword("DeliveryStatus")
"""Set only once a delivery failed for good (PARKED), and changed by a resend: success costs no upsert."""
PARKED = "failed"
RESENT = "retrying"

SEARCH_ATTRIBUTES: dict[str, IndexedValueType.ValueType] = {
    key.name: key.indexed_value_type.value  # type: ignore[misc]
    for key in (TENANT_ID, EVENT_KEY, WEBHOOK_ID, OCCURRENCE_ID, CLIENT_ID, CREATED_AT, HELD_BY, DELIVERY_STATUS)
}
MAX_KEYWORD = 255
"""Characters in a Keyword: SQL visibility would retry a longer value for ever, so we refuse it first."""

MAX_SUMMARY = 100
"""Characters of a summary; Temporal bounds it at 400 bytes."""

RETENTION = timedelta(days=30)
RPC_TIMEOUT = timedelta(seconds=5)
"""For one call that a person or a producer waits for."""
_CHECK_TIMEOUT = timedelta(seconds=2)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.3, 10.0
_PASSING = (
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.CANCELLED,
)
_STARTING = (*_PASSING, RPCStatusCode.INTERNAL, RPCStatusCode.UNKNOWN)
_ENCODERS = tuple(PydanticPayloadConverter().converters.values())


class _PayloadConverter(CompositePayloadConverter):
    """Pydantic's, sharing its type adapters: Temporal makes a converter for each workflow run."""

    def __init__(self) -> None:
        super().__init__(*_ENCODERS)


DATA_CONVERTER = DataConverter(payload_converter_class=_PayloadConverter)


class NotReadyError(CannotRunError):
    """Temporal is reachable but not as we need it."""


def is_passing(error: RPCError) -> bool:
    """Whether Temporal may serve the same call in a moment."""
    return error.status in _PASSING


async def describe_task_queue(client: Client, task_queue: str) -> DescribeTaskQueueResponse:
    """Who polls for workflow tasks, and how many wait; some seconds old, for Temporal keeps it that long. Raises
    RPCError."""
    return await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=task_queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
            report_stats=True,
        ),
        timeout=_CHECK_TIMEOUT,
    )


async def connect(settings: Settings) -> Client:
    """Connects by Temporal's own `TEMPORAL_*` variables and makes the namespace ready for us. Keeps trying while the
    server does not answer: ours needs a moment to start, another one may be away for longer.

    Raises NotReadyError for what trying again will not mend."""
    config = ClientConfig.load_client_connect_config(disable_file=True)
    config["target_host"] = settings.temporal_target
    config["namespace"] = settings.temporal_namespace
    # Never that of a process before this one, though it had the same number on the same host (webhooks/isolation/takeover.py).
    identity = f"{os.getpid()}@{socket.gethostname()}#{secrets.token_hex(4)}"
    ours = settings.temporal_address is None
    runtime = setup.runtime(settings)
    pause = _FIRST_PAUSE
    while True:
        try:
            client = await Client.connect(
                **config,
                identity=identity,
                data_converter=DATA_CONVERTER,
                interceptors=setup.interceptors(),
                runtime=runtime,
                grpc_compression=GrpcCompression.NONE,  # costs both sides more time than a local network costs
            )
            await _prepare_namespace(client, ours=ours)
            return client
        except RuntimeError as error:  # no connection
            reason: Exception = error
        except RPCError as error:
            if error.status not in _STARTING and not (ours and error.status is RPCStatusCode.NOT_FOUND):
                raise NotReadyError(f"Temporal at {settings.temporal_target}: {error}") from error
            reason = error
        if pause > 1:
            log.warning("Temporal at %s does not answer yet: %s", settings.temporal_target, reason)
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


async def _prepare_namespace(client: Client, *, ours: bool) -> None:
    """Registers our search attributes and checks their types. On our own server retention is set as well; on another
    it belongs to its operator, and we only warn. Raises NotReadyError, or RPCError while the server is starting."""
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
            "namespace %s keeps finished workflows for %s: deliveries vanish from the monitor, and their occurrence "
            "ids can be used again, after that", client.namespace, retention,
        )  # fmt: skip


async def _register_search_attributes(client: Client) -> None:
    registered = await _registered(client)
    missing = {name: kind for name, kind in SEARCH_ATTRIBUTES.items() if name not in registered}
    if missing:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
        )
    for _ in range(60):  # servers that cache search attributes know new ones within a minute
        registered = await _registered(client)
        if registered.keys() >= SEARCH_ATTRIBUTES.keys() and await _are_usable(client):
            break
        await asyncio.sleep(1)
    for name, kind in SEARCH_ATTRIBUTES.items():
        if registered.get(name) != kind:
            raise NotReadyError(
                f"search attribute {name} of namespace {client.namespace} has another type than we need; "
                "remove it or use another namespace (TEMPORAL_NAMESPACE)"
            )


async def _are_usable(client: Client) -> bool:
    """Whether the server takes them, too: it lists them before that, and would refuse to start workflows with them."""
    terms = " AND ".join(f"{name} IS NULL" for name in SEARCH_ATTRIBUTES)
    try:
        await client.count_workflows(f"WorkflowId = '-' AND {terms}", rpc_timeout=_CHECK_TIMEOUT)
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
