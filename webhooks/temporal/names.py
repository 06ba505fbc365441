"""What of ours is stored in Temporal by name. Names are for ever: histories and rows hold them."""

from datetime import timedelta

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.common import SearchAttributeKey

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
"""Set only once a delivery failed for good (AWAITING_RESEND), and changed by a resend: success costs no upsert."""
AWAITING_RESEND = "failed"
RESENT = "retrying"

SEARCH_ATTRIBUTES: dict[str, IndexedValueType.ValueType] = {
    key.name: key.indexed_value_type.value  # type: ignore[misc]
    for key in (TENANT_ID, EVENT_KEY, WEBHOOK_ID, OCCURRENCE_ID, CLIENT_ID, CREATED_AT, HELD_BY, DELIVERY_STATUS)
}
MAX_KEYWORD = 255
"""Characters in a Keyword: SQL visibility would retry a longer value for ever, so we refuse it first."""
MAX_SUMMARY = 100
"""Characters of a summary; Temporal bounds it at 400 bytes."""
RPC_TIMEOUT = timedelta(seconds=5)
"""For one call that a person or a producer waits for."""

MEMO_DIGEST, MEMO_URL = "digest", "url"
TASK_SECONDS = 20.0
"""Workflow task timeout. Must exceed a normal attempt, or another worker sends a second time. After `kill -9`, recovery
waits for it."""
