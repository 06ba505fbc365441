"""Operational events: what the platform publishes about webhooks and deliveries, with keys that are reserved in every
tenant's catalogue."""

import logging
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

WEBHOOK_DEACTIVATED = "webhook.deactivated"
DELIVERY_FAILED = "delivery.failed"
DELIVERY_RECOVERED = "delivery.recovered"
AUDIT_RECORDED = "audit.recorded"
KEYS = frozenset((WEBHOOK_DEACTIVATED, DELIVERY_FAILED, DELIVERY_RECOVERED, AUDIT_RECORDED))

_TEXT: dict[str, Any] = {"type": "string"}
_TEXT_OR_NULL: dict[str, Any] = {"type": ["string", "null"]}
_MOMENT: dict[str, Any] = {"type": "string", "format": "date-time"}
_WEBHOOK = {"webhook_id": _TEXT, "webhook_name": _TEXT}
_DELIVERY = {
    "delivery_id": _TEXT,
    **_WEBHOOK,
    "occurrence_id": _TEXT,
    "event": _TEXT,
    "client_identifier": _TEXT_OR_NULL,
    "outcome": _TEXT,
}
_WEBHOOK_SAMPLE = {"webhook_id": "123e4567-e89b-12d3-a456-426614174000", "webhook_name": "Shipment Order Webhook"}
_DELIVERY_SAMPLE = {
    "delivery_id": "order-4711-created~123e4567-e89b-12d3-a456-426614174000",
    **_WEBHOOK_SAMPLE,
    "occurrence_id": "order-4711-created",
    "event": "ShipmentOrderCreated",
    "client_identifier": None,
}


@dataclass(frozen=True)
class _OperationalEvent:
    description: str
    members: dict[str, Any]
    sample: dict[str, Any]

    @property
    def schema(self) -> dict[str, Any]:
        return {"type": "object", "properties": self.members, "required": [*self.members]}


EVENTS = {
    WEBHOOK_DEACTIVATED: _OperationalEvent(
        "The platform deactivated a webhook because its receiver answered 410 or failed for too long",
        {**_WEBHOOK, "reason": _TEXT, "deactivated_at": _MOMENT},
        {
            **_WEBHOOK_SAMPLE,
            "reason": "the receiver answered 410 Gone",
            "deactivated_at": "2026-01-10T10:30:00Z",
        },
    ),
    DELIVERY_FAILED: _OperationalEvent(
        "A delivery failed for good and waits for a resend",
        {**_DELIVERY, "failed_at": _MOMENT},
        {**_DELIVERY_SAMPLE, "outcome": "http_503", "failed_at": "2026-01-10T10:30:00Z"},
    ),
    DELIVERY_RECOVERED: _OperationalEvent(
        "A delivery that had failed for good was resent and delivered",
        {**_DELIVERY, "recovered_at": _MOMENT},
        {**_DELIVERY_SAMPLE, "outcome": "delivered", "recovered_at": "2026-01-10T11:05:00Z"},
    ),
    AUDIT_RECORDED: _OperationalEvent(
        "Somebody changed the configuration, sent something again, or was refused: an entry of the audit",
        {
            "entry_id": _TEXT,
            "actor": _TEXT,
            "actor_name": _TEXT,
            "address": _TEXT,
            "action": _TEXT,
            "resource": _TEXT,
            "changes": {"type": "object"},
            "at": _MOMENT,
        },
        {
            "entry_id": "01936b1e-0000-7000-8000-000000000000",
            "actor": "key:01936b1e-0000-7000-8000-000000000001",
            "actor_name": "deployment",
            "address": "192.0.2.7",
            "action": "webhook.edit",
            "resource": "123e4567-e89b-12d3-a456-426614174000",
            "changes": {"active": [True, False]},
            "at": "2026-01-10T10:30:00Z",
        },
    ),
}
