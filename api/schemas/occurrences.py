"""Occurrences and the result of publishing them."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api.schemas.common import EXAMPLE_WEBHOOK, Body, EventKey, Identifier, Moment, OccurrenceId


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
    client_identifier: Identifier | None = None
    owner_id: Identifier | None = Field(None, description="Whose object it happened to")
    user_id: Identifier | None = Field(None, description="Whose doing it was")
    bulk: bool = Field(False, description="One of many, from an import say: only webhooks with `bulk` are told")
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
                    "deliveries": [{"id": f"order-4711-created~{EXAMPLE_WEBHOOK}", "webhook_id": EXAMPLE_WEBHOOK}],
                    "matched": 1,
                    "deliveries_url": "/v1/deliveries?occurrence_id=order-4711-created",
                    "unmatched": None,
                }
            ]
        }
    )

    id: str
    event: str
    deliveries: list[PublishedOut] = Field(
        description="One for each webhook that wants it. Empty if none does, and if more than 100 do: see `matched`"
    )
    matched: int = Field(
        description="How many webhooks want it. If these are more than 100, the deliveries are stored as a list, and "
        "started after the answer: `deliveries_url` shows those that are"
    )
    deliveries_url: str = Field(description="A call that lists the deliveries with their states")
    unmatched: str | None = Field(description="Why no webhook wants it, if none does")


_EXAMPLE: dict[str, JsonValue] = {
    "id": "order-4711-created",
    "event": "ShipmentOrderCreated",
    "client_identifier": "a1b2c3d4-e5f6-7890-abcd-ef1234567890",
    "owner_id": None,
    "user_id": None,
    "bulk": False,
    "occurred_at": "2026-01-10T10:30:00Z",
    "created_at": "2026-01-10T10:30:00.120Z",
    "readable": True,
    "deliveries": [],
    "matched": 0,
    "deliveries_url": "/v1/deliveries?occurrence_id=order-4711-created",
    "started": 0,
    "unmatched": "the client is not among allowedClientIdentifiers (2)",
}


class OccurrenceSummary(OccurrenceOut):
    """An occurrence that was published."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    client_identifier: str | None
    owner_id: str | None
    user_id: str | None
    bulk: bool
    occurred_at: datetime
    created_at: datetime = Field(description="When it was first accepted")
    started: int = Field(description="How many deliveries are started: all that `matched` says, unless there are many")
    readable: bool = Field(
        description="false: its data cannot be decrypted any more; what is known of it is shown, `data` is null"
    )


class OccurrenceDetail(OccurrenceSummary):
    model_config = ConfigDict(json_schema_extra={"examples": [{**_EXAMPLE, "data": {"order": {"id": 4711}}}]})

    data: JsonValue
