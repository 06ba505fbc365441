"""The payloads of other products, for receivers that expect them: templates, each with sample data. Pure.

Where a product's documentation leaves something open, docs/ says what we chose.
"""

from dataclasses import dataclass
from enum import StrEnum

from pydantic import JsonValue


class Preset(StrEnum):
    LOGISENSE = "LogiSense"
    SOFTLEDGER = "SoftLedger"
    LOGTO = "Logto"
    ENGAGEIP = "EngageIP"


@dataclass(frozen=True)
class Payload:
    """A template for an event, and sample data for it."""

    template: JsonValue
    sample: JsonValue


PRESETS = {
    Preset.LOGISENSE: Payload(
        template={
            "eventName": "{eventName}",
            "eventTime": "{currentDateTime}",
            "account": {"id": "{account.id}", "name": "{account.name}"},
            "invoice": {
                "id": "{invoice.id}",
                "name": "{invoice.name}",
                "total": "{invoice.invoiceTotal}",
                "dueDate": "{invoice.dueDate}",
            },
        },
        sample={
            "account": {"id": 10045, "name": "Acme Networks"},
            "invoice": {"id": 88213, "name": "INV-88213", "invoiceTotal": 1250.5, "dueDate": "2026-02-01"},
        },
    ),
    Preset.SOFTLEDGER: Payload(
        template={
            "uuid": "{delivery_id}",
            "date": "{occurred_at}",
            "objectType": "{entity}",
            "action": "{entity} {action}",
            "objectId": "{data._id}",
            "tenantId": "{tenant}",
        },
        sample={"_id": 4711},
    ),
    Preset.LOGTO: Payload(
        template={
            "hookId": "{webhook_id}",
            "event": "{event}",
            "createdAt": "{occurred_at}",
            "userAgent": "{userAgent}",
            "ip": "{ip}",
            "sessionId": "{sessionId}",
            "userId": "{data.userId}",
            "user": "{user}",
            "application": "{application}",
        },
        sample={
            "userAgent": "Mozilla/5.0",
            "ip": "198.51.100.7",
            "sessionId": "example-session",
            "userId": "example-user",
            "user": {"id": "example-user", "username": "jane", "primaryEmail": "jane@example.com"},
            "application": {"id": "example-app", "type": "SPA", "name": "Example", "description": ""},
        },
    ),
    Preset.ENGAGEIP: Payload(
        template={"entity": "{entity}", "action": "{action}", "object": "{data}"},
        sample={"Id": 4711, "OwnerId": 1, "Name": "Example"},
    ),
}
