"""Names that Temporal stores for us. They never change: histories and visibility records hold them."""

from datetime import timedelta

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.common import SearchAttributeKey

DELIVER_WEBHOOK = "DeliverWebhook"
RECORD_OCCURRENCE = "RecordOccurrence"
RUN_JOB = "RunJob"
FAN_OUT_OCCURRENCE = "FanOutOccurrence"
OF_OCCURRENCES = (DELIVER_WEBHOOK, RECORD_OCCURRENCE, FAN_OUT_OCCURRENCE)
"""Workflows that hold an occurrence."""
TENANT_ID = SearchAttributeKey.for_keyword("TenantId")
EVENT_KEY = SearchAttributeKey.for_keyword("EventKey")
WEBHOOK_ID = SearchAttributeKey.for_keyword("WebhookId")
OCCURRENCE_ID = SearchAttributeKey.for_keyword("OccurrenceId")
CLIENT_ID = SearchAttributeKey.for_keyword("ClientId")
CREATED_AT = SearchAttributeKey.for_datetime("CreatedAt")
"""When the delivery was accepted. A resend after the end of its workflow starts another run of the same delivery."""
HELD_BY = SearchAttributeKey.for_keyword("HeldBy")
"""The process that will resume a delivery with a start delay: the identity of its Temporal client."""
SOURCE_ID = SearchAttributeKey.for_keyword("SourceId")
"""The source of an occurrence that was received."""
FANNED_OUT = SearchAttributeKey.for_bool("FannedOut")
"""Set for deliveries that a fan-out started. Lists of occurrences leave them out: the fan-out has a row of its own."""
DELIVERY_STATUS = SearchAttributeKey.for_keyword("DeliveryStatus")
"""Set when a delivery has finally failed (AWAITING_RESEND), and changed by a resend (RESENT). A successful delivery
never sets it, which saves an upsert."""
AWAITING_RESEND = "failed"
RESENT = "retrying"

SEARCH_ATTRIBUTES: dict[str, IndexedValueType.ValueType] = {
    key.name: key.indexed_value_type.value  # type: ignore[misc]
    for key in (
        TENANT_ID,
        EVENT_KEY,
        WEBHOOK_ID,
        OCCURRENCE_ID,
        CLIENT_ID,
        CREATED_AT,
        HELD_BY,
        SOURCE_ID,
        FANNED_OUT,
        DELIVERY_STATUS,
    )
}
MAX_KEYWORD = 255
"""Characters of a Keyword. Temporal's SQL visibility retries a longer value without end, so we refuse it."""
_MAX_SUMMARY_CHARACTERS = 100
_MAX_SUMMARY_BYTES = 200
"""Of UTF-8. Temporal allows 400 bytes, of which encryption takes 150. JSON writes some characters as two bytes."""
RPC_TIMEOUT = timedelta(seconds=5)
"""For a call that a person or a producer waits for."""

MEMO_DIGEST = "digest"
MEMO_EXACT_DIGEST = "exact_digest"
MEMO_URL = "url"
MEMO_JOB = "job"
MEMO_JOB_STATUS = "job_status"
MEMO_MATCHED = "matched"
MEMO_WEBHOOKS = "webhooks"
"""Keys of a workflow's memo."""
TASK_SECONDS = 20.0
"""Workflow task timeout. Must exceed a normal attempt, or another worker sends a second time. After `kill -9`, recovery
waits for it."""


def cut_summary(text: str) -> str:
    """Return the beginning of a text, short enough for a summary that the Temporal Web UI shows."""
    return text[:_MAX_SUMMARY_CHARACTERS].encode(errors="ignore")[:_MAX_SUMMARY_BYTES].decode(errors="ignore")
