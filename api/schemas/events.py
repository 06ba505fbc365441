"""Events of the catalogue."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, computed_field, model_validator

from api.protocol.problems import FieldError, invalid
from api.schemas.common import Body, Description, EventKey, Identifier
from webhooks.contracts import Format
from webhooks.events.operational import KEYS
from webhooks.events.presets import PRESETS, Preset

Part = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_:-]{0,62}$"),
    Field(description="1 to 63 letters, digits, and `_ : -`; begins with a letter or digit"),
]


class EventBody(Body):
    """The fields of an event that can be changed."""

    description: Description = ""
    active: bool = True
    owner_required: bool = Field(False, description="Deliver only occurrences that have an `owner_id` or a `user_id`")
    json_schema: JsonValue = Field(None, alias="schema", description="JSON Schema 2020-12 that `data` must match")
    template: JsonValue = Field(
        None,
        description="The body to send. `{a.b}` stands for a value of the occurrence",
        examples=[{"order": "{order.id}"}],
    )
    sample: JsonValue = Field(None, description="An example of `data`")


class EventReplace(EventBody):
    entity: Part | None = Field(None, examples=["UserPackage"])
    action: Part | None = Field(None, examples=["Update"])
    preset: Preset | None = Field(
        None, strict=False, description="Use the template and sample of this product's payload"
    )

    @model_validator(mode="after")
    def _fill_in(self) -> Self:
        if self.preset is None:
            return self
        if self.template is not None:
            raise invalid("/preset", "give either preset or template, not both")
        preset = PRESETS[self.preset]
        self.template = preset.template
        if self.sample is None and self.json_schema is None:
            self.sample = preset.sample
        return self


class EventIn(EventReplace):
    key: EventKey | None = None

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        if self.key is None and not (self.entity and self.action):
            raise ValueError("give either key, or entity and action")
        if self.key is not None and (self.entity or self.action):
            raise ValueError("give either key, or entity and action, not both")
        return self

    @property
    def name(self) -> str:
        return self.key or f"{self.entity}.{self.action}"

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "key": "ShipmentOrderCreated",
                    "description": "A shipment order was created",
                    "schema": {"type": "object", "required": ["order"]},
                    "sample": {"order": {"id": 4711}},
                },
                {"entity": "UserPackage", "action": "Update", "preset": "EngageIP", "owner_required": True},
            ]
        }
    )


class EventOut(BaseModel):
    key: str
    entity: str | None
    action: str | None
    description: str
    active: bool
    owner_required: bool
    version: int = Field(description="Grows by one with each change of schema or template")
    json_schema: JsonValue = Field(serialization_alias="schema")
    template: JsonValue
    sample: JsonValue
    created_at: datetime
    updated_at: datetime

    @computed_field(description="Whether it is an operational event, which only the platform publishes")  # type: ignore[prop-decorator]
    @property
    def operational(self) -> bool:
        return self.key in KEYS

    model_config = ConfigDict(from_attributes=True)


class EventVersionOut(BaseModel):
    version: int
    json_schema: JsonValue = Field(serialization_alias="schema")
    template: JsonValue
    replaced_at: datetime | None = Field(description="When the next version replaced it; null for the current version")

    model_config = ConfigDict(from_attributes=True)


class ImportedOut(BaseModel):
    key: str
    result: Literal["created", "changed", "unchanged"]


class PreviewOptions(Body):
    """What a webhook decides of the body. By default as a webhook does by default."""

    format: Annotated[Format, Field(strict=False)] = Format.JSON
    sends_json: bool = True
    client_identifier: Identifier | None = None


class DraftIn(EventIn, PreviewOptions):
    """An event that need not exist. Its sample is rendered."""


class PreviewIn(PreviewOptions):
    """What to render. By default the event's template and sample."""

    data: JsonValue = None
    template: JsonValue = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"data": {"order": {"id": 4711}}}]})


class PreviewOut(BaseModel):
    content_type: str
    body: str
    schema_errors: list[FieldError] = Field(
        description="Why publishing this data would be refused; empty if it would be accepted"
    )
