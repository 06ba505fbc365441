"""Sources of webhooks that we receive."""

import re
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from api.protocol.problems import invalid
from api.schemas.common import Body, EventKey, Identifier, Name
from webhooks.inbound.verification import SenderStyle, is_usable

Secret = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{8,512}$")]
SenderType = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,128}$")]
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_NEEDS = {SenderStyle.KEY_VALUE: "name", SenderStyle.BASIC: "username"}


class VerificationIn(Body):
    """How a request proves that it comes from the sender."""

    model_config = ConfigDict(populate_by_name=True)

    type: Annotated[SenderStyle, Field(strict=False)]
    name: Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{0,128}$")] = Field(
        "", description="Of `key_value`: the header or the query parameter", examples=["X-Api-Key"]
    )
    place: Literal["header", "query"] = Field("header", alias="in", description="Of `key_value`: where it is")
    username: Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f:]{0,128}$")] = Field(
        "", description="Of `basic`; the source's secret is the password"
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (needed := _NEEDS.get(self.type)) and not getattr(self, needed):
            raise invalid(f"/verification/{needed}", f"{self.type} needs it")
        if self.type is SenderStyle.KEY_VALUE and self.place == "header" and not _HEADER.fullmatch(self.name):
            raise invalid("/verification/name", "not the name of a header")
        return self


class SourceBody(Body):
    """The fields of a source that can be changed."""

    name: Name = Field(examples=["GitHub"])
    event: EventKey
    events_by_type: Annotated[dict[SenderType, EventKey], Field(max_length=100)] = Field(
        default_factory=dict,
        description="Events for types of the sender, such as GitHub's `push`. Every other type becomes `event`",
        examples=[{"push": "CodePushed"}],
    )
    client_identifier: Identifier | None = Field(None, description="Of every occurrence that it receives")
    verification: VerificationIn
    duplicate_window: int = Field(
        300,
        ge=0,
        le=86_400,
        description="Seconds in which a second request with an equal body is a duplicate, if the sender gives no id. "
        "0: none is",
    )
    active: bool = Field(True, description="An inactive source answers 404")
    secret: Secret | None = Field(
        None,
        repr=False,
        description="Shared with the sender; never shown again. It replaces all secrets immediately: `rotate-secret` "
        "lets the old one overlap",
    )
    verify_token: Secret | None = Field(
        None, repr=False, description="What Meta sends when you register the URL there; never shown"
    )

    @model_validator(mode="after")
    def _usable_secret(self) -> Self:
        check_secret(self.verification.type, self.secret)
        return self


class SourceIn(SourceBody):
    """A new source. Without `secret`, one is made for the styles in which the receiver may choose it: `standard`,
    `github`, `key_value` and `basic`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "GitHub", "event": "ShipmentOrderCreated", "verification": {"type": "github"}}]
        }
    )


class VerificationOut(BaseModel):
    type: SenderStyle
    name: str
    place: str = Field(serialization_alias="in")
    username: str


class SecretOut(BaseModel):
    """A secret, without its value."""

    created_at: datetime
    expires_at: datetime | None = Field(description="null: it does not end")


class SourceOut(BaseModel):
    id: str
    name: str
    url: str = Field(description="Where the sender sends to", examples=["https://webhooks.example.com/in/018f…"])
    event: str
    events_by_type: dict[str, str]
    client_identifier: str | None
    verification: VerificationOut
    duplicate_window: int
    active: bool
    secrets: list[SecretOut] = Field(description="Those that are accepted now, newest first")
    has_verify_token: bool
    created_at: datetime
    updated_at: datetime


class SourceCreated(SourceOut):
    secret: str | None = Field(description="The one that was made; only this response shows it. null if none was")


class RotateSourceIn(Body):
    """The sender's new secret. The older ones are accepted for `overlap` seconds."""

    secret: Secret | None = Field(None, repr=False, description="By default, one is made")
    overlap: float = Field(86_400, ge=0, le=604_800, description="Seconds. 0 ends the use of all older secrets")

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap": 86400}]})


class RotatedSourceOut(BaseModel):
    secret: str = Field(description="Only this response shows it")
    overlaps_until: datetime | None = Field(description="null: the older ones have ended")


def check_secret(style: SenderStyle, secret: str | None) -> None:
    """Raise ProblemError 422 if the style cannot use the secret."""
    if secret is not None and not is_usable(style, secret):
        raise invalid("/secret", "standard needs whsec_ and base64, or a public key: whpk_ and the base64 of 32 bytes")
