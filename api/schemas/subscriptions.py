"""Subscriptions and their filters."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from api.protocol.problems import invalid
from api.schemas.common import EXAMPLE_WEBHOOK, Body, EventKey, Identifier, Moment
from webhooks.publishing import filters


def _checked(filter: dict[str, JsonValue]) -> dict[str, JsonValue] | None:
    try:
        filters.check_filter(filter)
    except filters.NotAFilterError as error:
        raise invalid(f"/filter{error.pointer}", str(error)) from None
    return filter or None  # {} matches everything


ClientIdentifiers = Annotated[
    list[Identifier],
    Field(max_length=1000, description="Clients whose occurrences are delivered; `[]` means all clients"),
]
FilterDocument = Annotated[
    dict[str, JsonValue],
    AfterValidator(_checked),
    Field(
        description="A pattern that the occurrence must match: fields, each with a value or with the operators "
        "`$eq $in $exists $gt $gte $lt $lte $prefix $not $and $or`",
        examples=[{"data": {"order": {"total": {"$gte": 100}, "country": {"$in": ["TR", "DE"]}}}}],
    ),
]


class SubscriptionBody(Body):
    """The fields of a subscription that can be changed."""

    active: bool = True
    allowed_client_identifiers: ClientIdentifiers = Field(alias="allowedClientIdentifiers")
    filter: FilterDocument | None = None


class SubscriptionIn(SubscriptionBody):
    event: EventKey
    webhook_id: str
    allowed_client_identifiers: ClientIdentifiers = Field([], alias="allowedClientIdentifiers")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "event": "ShipmentOrderCreated",
                    "webhook_id": EXAMPLE_WEBHOOK,
                    "filter": {"data": {"order": {"total": {"$gte": 100}}}},
                }
            ]
        }
    )


class SubscriptionOut(BaseModel):
    id: str
    event: str
    webhook_id: str
    active: bool
    allowed_client_identifiers: list[str] = Field(serialization_alias="allowedClientIdentifiers")
    filter: JsonValue
    created_at: datetime
    updated_at: datetime


class OccurrenceSample(Body):
    """The fields of an occurrence that a filter sees."""

    id: str = "sample"
    event: str = "Sample"
    client_identifier: Identifier | None = None
    owner_id: Identifier | None = None
    user_id: Identifier | None = None
    bulk: bool = False
    occurred_at: Moment | None = None
    data: JsonValue = None


class MatchIn(Body):
    filter: FilterDocument
    occurrence: OccurrenceSample


class MatchOut(BaseModel):
    matches: bool
    mismatch: str | None = Field(
        description="JSON pointer to the first condition of the filter that does not hold; null if it matches"
    )
