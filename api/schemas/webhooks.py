"""Webhooks, and the actions on them: rotate the secret, send a test, show the traffic."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from api.protocol.problems import invalid
from api.schemas.common import Body, Description, EventKey, Identifier, Name
from api.schemas.subscriptions import ClientIdentifiers, FilterDocument
from api.schemas.wire import RequestHeaders, ResponseHeaders, TimingOut
from webhooks.contracts import Format, RetryRules
from webhooks.credentials.authentication import Authentication, NoAuthentication, header_of
from webhooks.credentials.header_rules import check_header
from webhooks.credentials.masking import MASK
from webhooks.credentials.signing import Style
from webhooks.isolation.lane import State
from webhooks.json_pointer import json_pointer
from webhooks.retry import PRESETS


def _preset(policy: object) -> object:
    if isinstance(policy, str):
        if policy not in PRESETS:
            raise ValueError(f"no such preset; choose one of: {', '.join(PRESETS)}")
        return PRESETS[policy].model_dump()
    return policy


def _checked(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        try:
            check_header(name, value)
        except ValueError as error:
            raise invalid(json_pointer(["headers", name]), str(error)) from None
    if len({name.lower() for name in headers}) != len(headers):
        raise ValueError("two header names differ only in upper and lower case; remove one")
    return headers


def _each_once(items: list[Any]) -> list[Any]:
    return list(dict.fromkeys(items))


Url = Annotated[str, Field(min_length=1, max_length=2048, examples=["https://api.example.com/webhooks/orders"])]
Headers = Annotated[
    dict[str, str],
    Field(
        max_length=50, description="Sent with every request. Values that look like credentials are masked in responses"
    ),
    AfterValidator(_checked),
]
Method = Literal["POST", "PUT"]
Events = Annotated[list[EventKey], Field(max_length=100)]
SigningSecret = Annotated[
    str,
    Field(
        pattern=r"^[\x21-\x7e]{16,128}$",
        description="A secret that the receiver already has; by default the platform makes a new one",
    ),
]
Wait = Annotated[float, Field(ge=0.1, le=604_800)]
FinalStatusCode = Annotated[int, Field(ge=300, le=599)]


class RetryPolicyIn(RetryRules):
    """When to retry, in seconds, and how often. A field that is left out has its default."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    initial_interval: float = Field(10, ge=0.1, le=86_400)
    backoff_coefficient: float = Field(4, ge=1, le=10)
    maximum_interval: float = Field(43_200, ge=0.1, le=604_800)
    maximum_attempts: int = Field(10, ge=1, le=100, description="Including the first attempt")
    schedule: Annotated[tuple[Wait, ...], Field(strict=False, max_length=99)] = Field(
        (), description="The wait before each retry, instead of growing intervals. Sets `maximum_attempts`"
    )
    non_retryable_statuses: Annotated[tuple[FinalStatusCode, ...], Field(strict=False, max_length=100)] = Field(
        (400,), description="Status codes that are not retried. 400 and 410 never are"
    )
    only_5xx: bool = Field(False, description="Retry only if the status code is 5xx, or if the token request failed")

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.maximum_interval < self.initial_interval:
            raise ValueError("maximum_interval must be at least initial_interval")
        if self.schedule:
            return self.model_copy(update={"maximum_attempts": len(self.schedule) + 1})
        return self


RetryPolicy = Annotated[
    RetryPolicyIn,
    BeforeValidator(_preset, json_schema_input_type=RetryPolicyIn | Literal["standard", "logto"]),
]


class ClientCertificateIn(Body):
    """A certificate for mutual TLS."""

    certificate: str = Field(
        max_length=32_768,
        repr=False,
        description="PEM: the certificate, then its intermediate authorities",
        examples=["-----BEGIN CERTIFICATE-----\nMIIB...\n-----END CERTIFICATE-----\n"],
    )
    private_key: str = Field(
        max_length=16_384,
        repr=False,
        description="PEM, not encrypted",
        examples=["-----BEGIN PRIVATE KEY-----\nMIGH...\n-----END PRIVATE KEY-----\n"],
    )


class ClientCertificateOut(BaseModel):
    """The certificate and the key are masked."""

    certificate: str = Field(examples=[MASK])
    private_key: str = Field(examples=[MASK])
    subject: str = Field(examples=["CN=webhooks.example.com,O=Example"])
    issuer: str = Field(examples=["CN=Example Clients CA,O=Example"])
    expires_at: datetime
    sha256: str = Field(description="Fingerprint of the certificate, in hex")


class WebhookBody(Body):
    """The fields of a webhook that can be changed. `events`, `allowedClientIdentifiers` and `filter` belong to its
    subscriptions."""

    url: Url
    events: Events = Field([], description="The events that it is subscribed to")
    allowed_client_identifiers: ClientIdentifiers = Field(alias="allowedClientIdentifiers")
    filter: FilterDocument | None = None
    name: Name = ""
    active: bool = True
    description: Description = ""
    method: Method = "POST"
    format: Annotated[Format, Field(strict=False)] = Format.JSON
    sends_json: bool = Field(
        True, description="If false, the body leaves out everything that comes from the occurrence's data"
    )
    # Factories, so that the OpenAPI document has no objects as defaults: client generators drop the whole model.
    headers: Headers = Field(default_factory=dict)
    authentication: Authentication = Field(default_factory=NoAuthentication, description="By default there is none")
    client_certificate: ClientCertificateIn | None = Field(
        None, repr=False, description="Shown to a receiver that asks for a TLS client certificate (mTLS)"
    )
    signatures: Annotated[
        list[Annotated[Style, Field(strict=False)]], Field(min_length=1), AfterValidator(_each_once)
    ] = Field(
        [Style.V1],
        description="Standard Webhooks v1 and v1a (Ed25519), and the signature headers of Logto and GitHub",
    )
    bulk: bool = Field(False, description="Whether it receives bulk occurrences too")
    retry_policy: RetryPolicy = Field(default_factory=RetryPolicyIn, description="By default 10 attempts in 39 hours")
    timeout: float = Field(15, ge=1, le=30, description="Seconds for one whole attempt")

    @model_validator(mode="after")
    def _no_header_twice(self) -> Self:
        for name in self.headers:
            if name.lower() == header_of(self.authentication):
                raise invalid(json_pointer(["headers", name]), "the authentication sets this header; remove it here")
        return self

    @model_validator(mode="after")
    def _tls_for_a_certificate(self) -> Self:
        if self.client_certificate and not self.url.lower().startswith("https:"):
            raise invalid("/client_certificate", "needs an https URL: without TLS, no certificate is shown")
        return self


class OneEvent(Body):
    event: EventKey


class WebhookIn(WebhookBody):
    """A new webhook. `event` requires `allowedClientIdentifiers`, as in Logiwa's API. Without `event` and `events`, the
    webhook is not subscribed to anything yet."""

    event: EventKey | None = Field(None, description="The same as `events` with one item")
    allowed_client_identifiers: ClientIdentifiers = Field([], alias="allowedClientIdentifiers")
    client_identifier: Identifier | None = Field(
        None, description="The client that the webhook belongs to. It can have only occurrences of this client"
    )
    signing_secret: SigningSecret | None = Field(None, repr=False)

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        if self.event is not None:
            if self.events:
                raise invalid("/event", "give either event or events, not both")
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
    client_identifier: str | None = Field(description="The client that it belongs to; null: the tenant itself")
    name: str
    url: str
    event: str | None = Field(description="The event, if there is exactly one")
    events: list[str]
    description: str
    headers: dict[str, str]
    active: bool
    deactivated_reason: str | None = Field(description="Why the platform deactivated it; null if it did not")
    deactivated_at: datetime | None = Field(description="When the platform deactivated it; null if it did not")
    failing_since: datetime | None = Field(
        description="No attempt has succeeded since this time; null if the last attempts succeeded"
    )
    allowed_client_identifiers: list[str] | None = Field(
        serialization_alias="allowedClientIdentifiers", description="null if its subscriptions have different values"
    )
    filter: JsonValue = Field(description="null if there is none, or if its subscriptions have different ones")
    method: Method
    format: Format
    sends_json: bool
    authentication: dict[str, Any] = Field(description="Secrets are masked", examples=[{"type": "None"}])
    client_certificate: ClientCertificateOut | None = Field(description="null if there is none")
    signatures: list[Style]
    public_key: str | None = Field(description="Verifies `v1a` signatures; null if the webhook does not use them")
    bulk: bool
    retry_policy: RetryRules
    timeout: float
    created_at: datetime
    updated_at: datetime


class WebhookName(BaseModel):
    id: str
    name: str
    url: str


class WebhookCreated(WebhookOut):
    signing_secret: str = Field(
        description="Verifies the platform's signatures (Standard Webhooks). Only this response shows it",
        examples=["whsec_bm90IGEgcmVhbCBzZWNyZXQsIGp1c3QgYSBzYW1wbGU="],
    )


class RotateIn(Body):
    """How to change the secret. Requests are signed with the old and the new secret for `overlap` seconds."""

    overlap: float = Field(86_400, ge=0, le=604_800, description="Seconds. 0 also ends the use of all older secrets")
    signing_secret: SigningSecret | None = Field(None, repr=False)

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap": 86400}]})


class RotatedOut(BaseModel):
    signing_secret: str = Field(description="Only this response shows it")
    public_key: str | None
    overlaps_until: datetime | None = Field(
        description="null if the webhook uses only signatures with one key at a time (Logto, GitHub)"
    )


class TestIn(Body):
    event: EventKey | None = Field(None, description="One event; by default all that the webhook is subscribed to")


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
    timing: TimingOut | None
    request_headers: RequestHeaders
    response_headers: ResponseHeaders


class TrafficOut(BaseModel):
    state: State | None = Field(
        None,
        description="`closed`: requests flow. `open`: the receiver does not answer, no requests are sent. `half_open`: "
        "one request at a time tests whether it answers again. null: not known here, this process has no worker",
    )
    in_flight: int | None = Field(None, description="Requests in progress; null: not known here")
    waiting: int | None = Field(
        None,
        description="Deliveries that wait until they may be sent; waiting uses no attempt. null: not known here",
    )
    limit: int | None = Field(None, description="The current maximum of concurrent requests; null: not known here")
    unfinished: int | None = Field(
        None,
        description="Deliveries of the whole platform whose attempts follow by themselves, some seconds late. null: "
        "Temporal does not answer",
    )
    awaiting_resend: int | None = Field(
        None, description="Deliveries of the whole platform that failed and wait for a resend; otherwise as before"
    )
