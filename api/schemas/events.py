"""Events: the catalogue."""

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
    Field(description="Letters, digits, `_ : -`, at most 63"),
]


class EventBody(Body):
    """What may change of an event."""

    description: Description = ""
    active: bool = True
    owner_required: bool = Field(
        False, description="Occurrences need an `owner_id` or a `user_id`; without one no webhook is told"
    )
    json_schema: JsonValue = Field(None, alias="schema", description="JSON Schema 2020-12 that `data` must fit")
    template: JsonValue = Field(
        None, description="The body to send, with `{a.b}` placeholders", examples=[{"order": "{order.id}"}]
    )
    sample: JsonValue = Field(None, description="An example of `data`")


class EventReplace(EventBody):
    entity: Part | None = Field(None, examples=["UserPackage"])
    action: Part | None = Field(None, examples=["Update"])
    preset: Preset | None = Field(
        None, strict=False, description="Sets template and sample to those of a product's payload"
    )

    @model_validator(mode="after")
    def _fill_in(self) -> Self:
        if self.preset is None:
            return self
        if self.template is not None:
            raise invalid("/preset", "give preset or template, but not both")
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
            raise ValueError("give key, or entity and action")
        if self.key is not None and (self.entity or self.action):
            raise ValueError("give key, or entity and action, but not both")
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
    version: int = Field(description="Counts the changes of schema and template")
    json_schema: JsonValue = Field(serialization_alias="schema")
    template: JsonValue
    sample: JsonValue
    created_at: datetime
    updated_at: datetime

    @computed_field(description="The platform's own: it alone publishes it")  # type: ignore[prop-decorator]
    @property
    def operational(self) -> bool:
        return self.key in KEYS

    model_config = ConfigDict(from_attributes=True)


class EventVersionOut(BaseModel):
    version: int
    json_schema: JsonValue = Field(serialization_alias="schema")
    template: JsonValue
    replaced_at: datetime | None = Field(description="When the next version took its place; null for the current one")

    model_config = ConfigDict(from_attributes=True)


class ImportedOut(BaseModel):
    key: str
    result: Literal["created", "changed", "unchanged"]


class PreviewIn(Body):
    """Left out: the event's own template, its sample, and a webhook's defaults."""

    data: JsonValue = None
    template: JsonValue = None
    format: Annotated[Format, Field(strict=False)] = Format.JSON
    sends_json: bool = True
    client_identifier: Identifier | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"data": {"order": {"id": 4711}}}]})


class PreviewOut(BaseModel):
    content_type: str
    body: str
    schema_errors: list[FieldError] = Field(description="What of the data would be refused when it is published")
