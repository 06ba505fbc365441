"""How we use Temporal: names, payloads, search attributes, the connection."""

import asyncio
import logging
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, UpdateNamespaceRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import CompositePayloadConverter, DataConverter
from temporalio.envconfig import ClientConfig
from temporalio.service import GrpcCompression

from webhooks.settings import Settings

log = logging.getLogger(__name__)

DELIVER_WEBHOOK = "DeliverWebhook"
RECORD_OCCURRENCE = "RecordOccurrence"

TENANT_ID = SearchAttributeKey.for_keyword("TenantId")
EVENT_KEY = SearchAttributeKey.for_keyword("EventKey")
WEBHOOK_ID = SearchAttributeKey.for_keyword("WebhookId")
OCCURRENCE_ID = SearchAttributeKey.for_keyword("OccurrenceId")
CLIENT_ID = SearchAttributeKey.for_keyword("ClientId")
DELIVERY_STATUS = SearchAttributeKey.for_keyword("DeliveryStatus")
"""Set only once a delivery failed for good (PARKED), and changed by a resend: success costs no upsert."""
PARKED = "failed"
RESENT = "retrying"

SEARCH_ATTRIBUTES = (TENANT_ID, EVENT_KEY, WEBHOOK_ID, OCCURRENCE_ID, CLIENT_ID, DELIVERY_STATUS)
MAX_KEYWORD = 255
"""Characters in a Keyword: SQL visibility would retry a longer value for ever, so we refuse it first."""

RETENTION = timedelta(days=30)
_ENCODERS = tuple(PydanticPayloadConverter().converters.values())


class _PayloadConverter(CompositePayloadConverter):
    """Pydantic's, sharing its type adapters: Temporal makes a converter for each workflow run."""

    def __init__(self) -> None:
        super().__init__(*_ENCODERS)


DATA_CONVERTER = DataConverter(payload_converter_class=_PayloadConverter)


class NotReadyError(Exception):
    """Temporal is reachable but not as we need it; the message says what an operator must do."""


async def connect(settings: Settings) -> Client:
    """Connects by Temporal's own `TEMPORAL_*` variables. Raises RuntimeError while the server does not answer."""
    config = ClientConfig.load_client_connect_config(disable_file=True)
    config["target_host"] = settings.temporal_target
    config["namespace"] = settings.temporal_namespace
    return await Client.connect(
        **config,
        data_converter=DATA_CONVERTER,
        grpc_compression=GrpcCompression.NONE,  # costs both sides more time than a local network costs
    )


async def prepare_namespace(client: Client, *, ours: bool) -> None:
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
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    registered = await _registered(client)
    missing = [key.name for key in SEARCH_ATTRIBUTES if key.name not in registered]
    if missing:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=client.namespace, search_attributes=dict.fromkeys(missing, keyword))
        )
    for _ in range(60):  # servers that cache search attributes show new ones within a minute
        registered = await _registered(client)
        if all(key.name in registered for key in SEARCH_ATTRIBUTES):
            break
        await asyncio.sleep(1)
    for key in SEARCH_ATTRIBUTES:
        if registered.get(key.name) != keyword:
            raise NotReadyError(
                f"search attribute {key.name} of namespace {client.namespace} must be a Keyword; "
                "remove it or use another namespace (TEMPORAL_NAMESPACE)"
            )


async def _registered(client: Client) -> dict[str, int]:
    answer = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    return dict(answer.custom_attributes)
