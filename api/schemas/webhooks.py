"""Webhooks: destinations."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from api.protocol.problems import invalid
from api.schemas.common import Body, Description, EventKey, Name
from api.schemas.subscriptions import ClientIdentifiers, FilterDocument
from webhooks.contracts import Format, RetryRules
from webhooks.credentials.authentication import Authentication, NoAuthentication, header_of
from webhooks.credentials.header_rules import check_header
from webhooks.credentials.signing import Style
from webhooks.isolation.lane import State
from webhooks.json_pointer import json_pointer
from webhooks.retry import PRESETS


def _preset(policy: object) -> object:
    if isinstance(policy, str):
        if policy not in PRESETS:
            raise ValueError(f"no such preset; there are {', '.join(PRESETS)}")
        return PRESETS[policy].model_dump()
    return policy


def _checked(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        try:
            check_header(name, value)
        except ValueError as error:
            raise invalid(json_pointer(["headers", name]), str(error)) from None
    if len({name.lower() for name in headers}) != len(headers):
        raise ValueError("two header names differ only in their case")
    return headers


def _each_once(items: list[Any]) -> list[Any]:
    return list(dict.fromkeys(items))


Url = Annotated[str, Field(min_length=1, max_length=2048, examples=["https://api.example.com/webhooks/orders"])]
Headers = Annotated[
    dict[str, str],
    Field(
        max_length=50, description="Sent with every request; values that look like credentials are never shown again"
    ),
    AfterValidator(_checked),
]
Method = Literal["POST", "PUT"]
Events = Annotated[list[EventKey], Field(max_length=100)]
SigningSecret = Annotated[
    str,
    Field(
        pattern=r"^[\x21-\x7e]{16,128}$",
        description="A secret that the receiver knows already; by default a fresh one is made",
    ),
]
Wait = Annotated[float, Field(ge=0.1, le=604_800)]
FinalStatusCode = Annotated[int, Field(ge=300, le=599)]


class RetryPolicyIn(RetryRules):
    """Seconds between attempts, and how many. What is left out has the default."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    initial_interval: float = Field(10, ge=0.1, le=86_400)
    backoff_coefficient: float = Field(4, ge=1, le=10)
    maximum_interval: float = Field(43_200, ge=0.1, le=604_800)
    maximum_attempts: int = Field(10, ge=1, le=100, description="The first one included")
    schedule: Annotated[tuple[Wait, ...], Field(strict=False, max_length=99)] = Field(
        (), description="The waits one by one, instead of growing intervals; it sets `maximum_attempts`"
    )
    non_retryable_statuses: Annotated[tuple[FinalStatusCode, ...], Field(strict=False, max_length=100)] = Field(
        (400,), description="Answers that are final; 400 and 410 always are"
    )
    only_5xx: bool = Field(False, description="Retry after 5xx answers only")

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.maximum_interval < self.initial_interval:
            raise ValueError("maximum_interval is shorter than initial_interval")
        if self.schedule:
            return self.model_copy(update={"maximum_attempts": len(self.schedule) + 1})
        return self


RetryPolicy = Annotated[
    RetryPolicyIn,
    BeforeValidator(_preset, json_schema_input_type=RetryPolicyIn | Literal["standard", "logto"]),
]


class WebhookBody(Body):
    """What may change of a webhook. `events`, `allowedClientIdentifiers` and `filter` belong to its subscriptions."""

    url: Url
    events: Events = Field([], description="What it is subscribed to")
    allowed_client_identifiers: ClientIdentifiers = Field(alias="allowedClientIdentifiers")
    filter: FilterDocument | None = None
    name: Name = ""
    active: bool = True
    description: Description = ""
    method: Method = "POST"
    format: Annotated[Format, Field(strict=False)] = Format.JSON
    sends_json: bool = Field(True, description="Without it, what comes from the occurrence's data is left out")
    headers: Headers = Field(default={})
    authentication: Authentication = NoAuthentication()
    signatures: Annotated[
        list[Annotated[Style, Field(strict=False)]], Field(min_length=1), AfterValidator(_each_once)
    ] = Field([Style.V1], description="Standard Webhooks v1 and v1a (Ed25519), and the headers of Logto and GitHub")
    bulk: bool = Field(False, description="Whether it takes bulk occurrences too")
    retry_policy: RetryPolicy = RetryPolicyIn()
    timeout: float = Field(15, ge=1, le=30, description="Seconds for the whole of an attempt")

    @model_validator(mode="after")
    def _one_hand_on_each_header(self) -> Self:
        for name in self.headers:
            if name.lower() == header_of(self.authentication):
                raise invalid(json_pointer(["headers", name]), "the authentication sets this header")
        return self


class OneEvent(Body):
    event: EventKey


class WebhookIn(WebhookBody):
    """`event` and `allowedClientIdentifiers` go together, as in Logiwa's call; with neither, nor `events`, it is a
    destination that nothing is subscribed to yet."""

    event: EventKey | None = Field(None, description="Short for `events` with one")
    allowed_client_identifiers: ClientIdentifiers = Field([], alias="allowedClientIdentifiers")
    signing_secret: SigningSecret | None = Field(None, repr=False)

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        if self.event is not None:
            if self.events:
                raise invalid("/event", "give event or events, but not both")
            self.events = [self.event]
        return self

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


class WebhookOut(BaseModel):
    id: str
    name: str
    url: str
    event: str | None = Field(description="The event, if it is just one")
    events: list[str]
    description: str
    headers: dict[str, str]
    active: bool
    deactivated_reason: str | None = Field(description="Why the platform itself deactivated it")
    deactivated_at: datetime | None = Field(description="When it did")
    failing_since: datetime | None = Field(description="No attempt has succeeded since; null while they do")
    allowed_client_identifiers: list[str] | None = Field(
        serialization_alias="allowedClientIdentifiers", description="null if its subscriptions differ"
    )
    filter: JsonValue = Field(description="null if there is none, or its subscriptions differ")
    method: Method
    format: Format
    sends_json: bool
    authentication: dict[str, Any] = Field(description="Secrets are masked", examples=[{"type": "None"}])
    signatures: list[Style]
    public_key: str | None = Field(description="Verifies `v1a` signatures; null without them")
    bulk: bool
    retry_policy: RetryRules
    timeout: float
    created_at: datetime
    updated_at: datetime


class WebhookCreated(WebhookOut):
    signing_secret: str = Field(
        description="For verifying our signatures (Standard Webhooks). Shown only here.",
        examples=["whsec_bm90IGEgcmVhbCBzZWNyZXQsIGp1c3QgYSBzYW1wbGU="],
    )


class RotateIn(Body):
    """What was used until now signs beside the new secret for `overlap` seconds."""

    overlap: float = Field(86_400, ge=0, le=604_800, description="0 ends what earlier rotations left, too")
    signing_secret: SigningSecret | None = Field(None, repr=False)

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap": 86400}]})


class RotatedOut(BaseModel):
    signing_secret: str = Field(description="Shown only here")
    public_key: str | None
    overlaps_until: datetime | None = Field(description="null where only one key can sign at a time")


class TestIn(Body):
    event: EventKey | None = Field(None, description="One event; by default each that the webhook is subscribed to")


class TestOut(BaseModel):
    event: str
    method: str
    url: str
    content_type: str
    body: str
    outcome: str = Field(examples=["delivered"])
    status_code: int | None
    error: str | None
    response_body: str | None
    duration_ms: float | None


class TrafficOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    state: State
    in_flight: int
    waiting: int = Field(description="Deliveries that wait for room, and have not used an attempt for it")
    limit: int = Field(description="Requests at once, at this moment")
