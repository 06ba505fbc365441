"""Requests and responses."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    Strict,
    StringConstraints,
    model_validator,
)

from webhooks.contracts import RetryRules, Trigger
from webhooks.deliveries import DeliverySummary
from webhooks.ids import OCCURRENCE_ID
from webhooks.temporal import MAX_KEYWORD

Item = TypeVar("Item")

_WEBHOOK = "123e4567-e89b-12d3-a456-426614174000"
_RESERVED_HEADERS = frozenset(
    (
        "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "host",
        "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "user-agent",
    )
)  # fmt: skip
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]{0,4094}[\x21-\x7e])?")


def _headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError("a header name is a token of at most 128 characters")
        if name.lower() in _RESERVED_HEADERS or name.lower().startswith("webhook-"):
            raise ValueError(f"the header {name} is set by the platform")
        if not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"the value of header {name} must be 1 to 4096 printable ASCII characters")
    if len({name.lower() for name in headers}) != len(headers):
        raise ValueError("two header names differ only in their case")
    return headers


def printable(text: str | None) -> str | None:
    if text is not None and not text.isprintable():
        raise ValueError("control characters are not allowed")
    return text


def _text(value: object) -> object:
    if isinstance(value, int | float):
        raise ValueError("a time is a string, after RFC 3339")
    return value


def _within_reason(moment: datetime) -> datetime:
    if not 1900 <= moment.year <= 2200:
        raise ValueError("a time lies between the years 1900 and 2200")
    return moment


def _empty_for_null(value: object) -> object:
    return "" if value is None else value


Moment = Annotated[AwareDatetime, Strict(False), BeforeValidator(_text), AfterValidator(_within_reason)]
EventKey = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$"),
    Field(description="Letters, digits, `_ . : -`, at most 128", examples=["ShipmentOrderCreated"]),
]
Part = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_:-]{0,62}$"),
    Field(description="Letters, digits, `_ : -`, at most 63"),
]
OccurrenceId = Annotated[
    str,
    StringConstraints(pattern=rf"^{OCCURRENCE_ID}$"),
    Field(description="The producer's idempotency key", examples=["order-4711-created"]),
]
ClientIdentifier = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_KEYWORD),
    AfterValidator(printable),
    Field(examples=["a1b2c3d4-e5f6-7890-abcd-ef1234567890"]),
]
Name = Annotated[str, StringConstraints(max_length=200), BeforeValidator(_empty_for_null), AfterValidator(printable)]
Description = Annotated[str, StringConstraints(max_length=2000), BeforeValidator(_empty_for_null)]
Url = Annotated[
    str, StringConstraints(min_length=1, max_length=2048), Field(examples=["https://api.example.com/webhooks/orders"])
]
Headers = Annotated[
    dict[str, str],
    Field(
        max_length=50, description="Sent with every request; values that look like credentials are never shown again"
    ),
    AfterValidator(_headers),
]
Timeout = Annotated[float, Field(ge=1, le=30, description="Seconds for the whole of an attempt")]
Method = Literal["POST", "PUT"]


def _no_defaults(example: dict[str, object]) -> Callable[[dict[str, Any]], None]:
    """For a patch: a client that fills in defaults would overwrite what it does not name."""

    def clean(schema: dict[str, Any]) -> None:
        for field in schema["properties"].values():
            field.pop("default", None)
        schema["examples"] = [example]

    return clean


class Body(BaseModel):
    """A request body: an unknown field is a mistake, not noise."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Page(BaseModel, Generic[Item]):
    items: list[Item]
    next_cursor: str | None = Field(description="Pass as `cursor` for the next page; null on the last")


class RetryPolicyIn(RetryRules):
    """Seconds between attempts, and how many. What is left out has the default."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    initial_interval: float = Field(10, ge=0.1, le=86_400)
    backoff_coefficient: float = Field(4, ge=1, le=10)
    maximum_interval: float = Field(43_200, ge=0.1, le=604_800)
    maximum_attempts: int = Field(10, ge=1, le=100, description="The first one included")

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.maximum_interval < self.initial_interval:
            raise ValueError("maximum_interval is shorter than initial_interval")
        return self


class EventIn(Body):
    key: EventKey | None = None
    entity: Part | None = Field(None, examples=["UserPackage"])
    action: Part | None = Field(None, examples=["Update"])
    description: Description = ""
    active: bool = True
    json_schema: JsonValue = Field(None, alias="schema", description="JSON Schema 2020-12 that `data` must fit")
    template: JsonValue = Field(
        None, description="The body to send, with `{a.b}` placeholders", examples=[{"order": "{order.id}"}]
    )
    sample: JsonValue = Field(None, description="An example of `data`")

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        if self.key is None and not (self.entity and self.action):
            raise ValueError("give key, or entity and action")
        if self.key is not None and (self.entity or self.action):
            raise ValueError("give key, or entity and action, but not both")
        return self

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "key": "ShipmentOrderCreated",
                    "description": "A shipment order was created",
                    "schema": {"type": "object", "required": ["order"]},
                    "sample": {"order": {"id": 4711}},
                },
                {"entity": "UserPackage", "action": "Update"},
            ]
        }
    )


class EventPatch(Body):
    """Fields left out stay as they are."""

    model_config = ConfigDict(json_schema_extra=_no_defaults({"active": False}))

    description: Description = ""
    active: bool = True
    json_schema: JsonValue = Field(None, alias="schema")
    template: JsonValue = None
    sample: JsonValue = None


class EventOut(BaseModel):
    key: str
    entity: str | None
    action: str | None
    description: str
    active: bool
    json_schema: JsonValue = Field(serialization_alias="schema")
    template: JsonValue
    sample: JsonValue
    created_at: datetime
    updated_at: datetime

    model_config = ConfigDict(from_attributes=True)


class WebhookIn(Body):
    url: Url
    event: EventKey
    allowed_client_identifiers: list[ClientIdentifier] = Field(
        alias="allowedClientIdentifiers", max_length=1000, description="Clients that trigger the webhook; `[]` for all"
    )
    name: Name = ""
    active: bool = True
    description: Description = ""
    headers: Headers = {}
    method: Method = "POST"
    retry_policy: RetryPolicyIn = RetryPolicyIn()
    timeout: Timeout = 15

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "url": "https://api.example.com/webhooks/shipments",
                    "event": "ShipmentOrderCreated",
                    "allowedClientIdentifiers": [
                        "a1b2c3d4-e5f6-7890-abcd-ef1234567890",
                        "b2c3d4e5-f6a7-8901-bcde-f12345678901",
                    ],
                    "active": True,
                    "name": "Shipment Order Webhook",
                    "description": "Webhook for processing new shipment order notifications",
                    "headers": {"Authorization": "Bearer webhook-token", "X-Custom-Header": "logiwa-webhook"},
                }
            ]
        }
    )


class WebhookPatch(Body):
    """Fields left out stay as they are."""

    model_config = ConfigDict(json_schema_extra=_no_defaults({"active": False}))

    url: Url = ""
    event: EventKey = ""
    allowed_client_identifiers: list[ClientIdentifier] = Field([], alias="allowedClientIdentifiers", max_length=1000)
    name: Name = ""
    active: bool = True
    description: Description = ""
    headers: Headers = {}
    method: Method = "POST"
    retry_policy: dict[str, JsonValue] = Field({}, description="Merged into the policy that is set")
    timeout: Timeout = 15


class WebhookOut(BaseModel):
    id: str
    name: str
    url: str
    event: str
    description: str
    headers: dict[str, str]
    active: bool
    deactivated_reason: str | None = Field(description="Why the platform itself deactivated it")
    allowed_client_identifiers: list[str] = Field(serialization_alias="allowedClientIdentifiers")
    method: Method
    retry_policy: RetryRules
    timeout: float
    created_at: datetime
    updated_at: datetime


class WebhookCreated(WebhookOut):
    signing_secret: str = Field(
        description="For verifying our signatures (Standard Webhooks). Shown only here.",
        examples=["whsec_bm90IGEgcmVhbCBzZWNyZXQsIGp1c3QgYSBzYW1wbGU="],
    )


class OccurrenceIn(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "order-4711-created",
                    "event": "ShipmentOrderCreated",
                    "client_identifier": "a1b2c3d4-e5f6-7890-abcd-ef1234567890",
                    "data": {"order": {"id": 4711}},
                }
            ]
        }
    )

    id: OccurrenceId | None = None
    event: EventKey
    client_identifier: ClientIdentifier | None = None
    occurred_at: Moment | None = Field(None, description="RFC 3339 with a zone; now, if left out")
    data: JsonValue = Field(examples=[{"order": {"id": 4711}}])


class PublishedOut(BaseModel):
    id: str
    webhook_id: str


class OccurrenceOut(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "order-4711-created",
                    "event": "ShipmentOrderCreated",
                    "deliveries": [{"id": f"order-4711-created~{_WEBHOOK}", "webhook_id": _WEBHOOK}],
                }
            ]
        }
    )

    id: str
    event: str
    deliveries: list[PublishedOut] = Field(description="One for each webhook that wants it; empty if none does")


class AttemptOut(BaseModel):
    number: int
    trigger: Trigger
    url: str
    started_at: datetime
    duration_ms: float
    outcome: str = Field(description="`delivered`, `http_<status>`, or why no answer came", examples=["http_503"])
    status_code: int | None
    error: str | None
    response_body: str | None = Field(description="The first 16 KiB")
    retry_after: float | None = Field(description="Seconds that the receiver asked for")
    backoff: float | None = Field(description="Seconds until the next attempt; null if none was due")


class RequestOut(BaseModel):
    method: str
    content_type: str
    body: str


class DeliveryOut(DeliverySummary):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": f"order-4711-created~{_WEBHOOK}",
                    "occurrence_id": "order-4711-created",
                    "event": "ShipmentOrderCreated",
                    "webhook_id": _WEBHOOK,
                    "client_identifier": None,
                    "url": "https://api.example.com/webhooks/shipments",
                    "status": "retrying",
                    "occurred_at": "2026-01-10T10:30:00Z",
                    "created_at": "2026-01-10T10:30:00.120Z",
                    "last_attempt_at": "2026-01-10T10:30:00.140Z",
                    "next_attempt_at": "2026-01-10T10:30:10.300Z",
                    "closed_at": None,
                    "temporal_url": "http://localhost:8233/namespaces/default/workflows/...",
                    "request": {
                        "method": "POST",
                        "content_type": "application/json",
                        "body": '{"id":"order-4711-created","event":"ShipmentOrderCreated", ...}',
                    },
                    "attempts": [
                        {
                            "number": 1,
                            "trigger": "event",
                            "url": "https://api.example.com/webhooks/shipments",
                            "started_at": "2026-01-10T10:30:00.140Z",
                            "duration_ms": 61.5,
                            "outcome": "http_503",
                            "status_code": 503,
                            "error": "503 Service Unavailable",
                            "response_body": "down for maintenance",
                            "retry_after": None,
                            "backoff": 10.1,
                        }
                    ],
                }
            ]
        }
    )

    request: RequestOut | None = Field(description="What is sent, the same for every attempt; null until prepared")
    attempts: list[AttemptOut]


class ResendIn(Body):
    force: bool = Field(False, description="Send again although it was delivered")


class ResendOut(BaseModel):
    id: str


class Health(BaseModel):
    status: Literal["ok"] = "ok"
