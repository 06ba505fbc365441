"""Deliveries, their attempts, resending and giving up."""

from datetime import datetime
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.common import EXAMPLE_WEBHOOK, Body
from api.schemas.wire import RequestHeaders, ResponseHeaders, TimingOut, wire
from webhooks.contracts import Attempt, Trigger
from webhooks.deliveries.monitor import DeliverySummary
from webhooks.deliveries.status import DeliveryStatus


class AttemptOut(BaseModel):
    number: int
    trigger: Trigger
    requested_by: str | None = Field(description="Who asked for the resend: the name of the key, and its id")
    url: str
    started_at: datetime
    duration_ms: float
    outcome: str = Field(
        description="`delivered`, `http_<status>`, or the reason why there was no response", examples=["http_503"]
    )
    status_code: int | None
    error: str | None
    response_body: str | None = Field(description="The first 16 KiB; null without the permission `delivery:read_body`")
    retry_after: float | None = Field(description="Seconds that the receiver asked us to wait (`Retry-After`)")
    backoff: float | None = Field(description="Seconds until the next attempt; null if no attempt followed by itself")
    timing: TimingOut | None
    request_headers: RequestHeaders
    request_size: int | None = Field(description="Bytes of the request's body")
    response_headers: ResponseHeaders
    response_size: int | None = Field(description="Bytes of the response's body that were read")
    response_complete: bool | None = Field(description="Whether `response_body` is the whole body")
    remote_address: str | None = Field(
        description="IP address and port of the connection. null behind a proxy, for addresses of the operator's "
        "networks that are not in the URL, and for a client's own users"
    )
    http_version: str | None = Field(description="Of the response", examples=["HTTP/1.1"])

    @classmethod
    def of(cls, attempt: Attempt, number: int) -> Self:
        details = attempt.details
        return cls(
            number=number,
            **attempt.model_dump(exclude={"details"}),
            **wire(attempt),
            request_size=details and details.request_size,
            response_size=details and details.response_size,
            response_complete=details and details.response_complete,
            remote_address=details and details.remote_address,
            http_version=details and details.http_version,
        )


class RequestOut(BaseModel):
    method: str
    content_type: str
    body: str | None = Field(description="null without the permission `delivery:read_body`")
    event_version: int | None = Field(description="The version of the event whose template made the body")


class DeliveryOut(DeliverySummary):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": f"order-4711-created~{EXAMPLE_WEBHOOK}",
                    "occurrence_id": "order-4711-created",
                    "event": "ShipmentOrderCreated",
                    "webhook_id": EXAMPLE_WEBHOOK,
                    "client_identifier": None,
                    "url": "https://api.example.com/webhooks/shipments",
                    "status": "retrying",
                    "waiting_for": "backoff",
                    "attempt_count": 1,
                    "last_outcome": "http_503",
                    "attempt_outcomes": ["http_503"],
                    "last_duration_ms": 61.5,
                    "last_status_code": 503,
                    "occurred_at": "2026-01-10T10:30:00Z",
                    "created_at": "2026-01-10T10:30:00.120Z",
                    "last_attempt_at": "2026-01-10T10:30:00.140Z",
                    "next_attempt_at": "2026-01-10T10:30:10.300Z",
                    "closed_at": None,
                    "canceled_by": None,
                    "readable": True,
                    "temporal_url": "http://localhost:8233/namespaces/default/workflows/...",
                    "request": {
                        "method": "POST",
                        "content_type": "application/json",
                        "event_version": 1,
                        "body": '{"id":"order-4711-created","event":"ShipmentOrderCreated", ...}',
                    },
                    "attempts": [
                        {
                            "number": 1,
                            "trigger": "event",
                            "requested_by": None,
                            "url": "https://api.example.com/webhooks/shipments",
                            "started_at": "2026-01-10T10:30:00.140Z",
                            "duration_ms": 61.5,
                            "outcome": "http_503",
                            "status_code": 503,
                            "error": "503 Service Unavailable",
                            "response_body": "down for maintenance",
                            "retry_after": None,
                            "backoff": 10.1,
                            "timing": {"dns": 1.2, "connect": 8.5, "tls": 21.3, "wait": 29.8, "read": 0.3},
                            "request_headers": [
                                {"name": "webhook-timestamp", "value": "1768041000"},
                                {"name": "X-Api-Key", "value": "********"},
                            ],
                            "request_size": 284,
                            "response_headers": [{"name": "content-type", "value": "text/plain"}],
                            "response_size": 20,
                            "response_complete": True,
                            "remote_address": "93.184.215.14:443",
                            "http_version": "HTTP/1.1",
                        }
                    ],
                }
            ]
        }
    )

    request: RequestOut | None = Field(description="The request, the same for every attempt; null until it is prepared")
    attempts: list[AttemptOut]


class ResendIn(Body):
    force: bool = Field(False, description="Send it again even if it was delivered")


class ResendOut(BaseModel):
    id: str


class CancelOut(BaseModel):
    id: str
    status: DeliveryStatus = Field(
        description="`canceled`. Another one only if no worker runs that could end the delivery: it follows by itself"
    )
