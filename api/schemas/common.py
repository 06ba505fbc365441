"""Types that several resources share."""

import re
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Body as FastAPIBody
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
)

from webhooks import characters
from webhooks.ids import OCCURRENCE_ID
from webhooks.temporal.names import MAX_KEYWORD
from webhooks.times import parse_time

Item = TypeVar("Item")

EXAMPLE_WEBHOOK = "123e4567-e89b-12d3-a456-426614174000"

_LOST_PLUS = re.compile(r"T.+ \d{2}:?\d{2}$")
"""A time whose zone has a space instead of its plus sign."""


def printable(text: str | None) -> str | None:
    """Return the text. Raises ValueError if it contains a control character."""
    if text is not None and (problem := characters.control_refusal(text)):
        raise ValueError(problem)
    return text


def _moment(value: object) -> object:
    if isinstance(value, str) and _LOST_PLUS.search(value):
        raise ValueError("in a URL a + means a space: write it as %2B, or a time in UTC like 2026-01-31T09:30:00Z")
    return value if isinstance(value, datetime) else parse_time(value if isinstance(value, str) else "")


def _empty_for_null(value: object) -> object:
    return "" if value is None else value


Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]
EventKey = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$"),
    Field(
        description="1 to 128 letters, digits, and `_ . : -`; begins with a letter or digit",
        examples=["ShipmentOrderCreated"],
    ),
]
OccurrenceId = Annotated[
    str,
    StringConstraints(pattern=rf"^{OCCURRENCE_ID}$"),
    Field(description="The publisher's idempotency key", examples=["order-4711-created"]),
]
Identifier = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_KEYWORD),
    AfterValidator(printable),
    Field(examples=["a1b2c3d4-e5f6-7890-abcd-ef1234567890"]),
]
Name = Annotated[str, StringConstraints(max_length=200), BeforeValidator(_empty_for_null), AfterValidator(printable)]
Description = Annotated[str, StringConstraints(pattern=r"^[^\x00]{0,2000}$"), BeforeValidator(_empty_for_null)]

MergePatch = Annotated[
    dict[str, JsonValue],
    FastAPIBody(
        media_type="application/merge-patch+json",
        description="JSON Merge Patch (RFC 7396) of what GET returns: a field that is left out stays, null restores "
        "the default, objects are merged member by member, lists are replaced. `schema`, `template`, `sample` and "
        "`filter` are replaced as a whole",
    ),
]


class Body(BaseModel):
    """A request body. An unknown field is an error."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Page(BaseModel, Generic[Item]):
    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Return a name like `EventPage`: generated clients have a class of this name."""
        return f"{params[0].__name__.removesuffix('Out').removesuffix('Summary')}{cls.__name__}"

    items: list[Item]
    next_cursor: str | None = Field(description="Pass as `cursor` to get the next page; null on the last page")
