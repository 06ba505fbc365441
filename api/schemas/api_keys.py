"""API keys and roles."""

from datetime import UTC, datetime
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from api.protocol.problems import invalid
from api.schemas.common import Body, Description, Moment, printable
from webhooks.identity.permissions import PERMISSIONS, ROLES


def _permission(value: str) -> str:
    if value not in PERMISSIONS:
        raise ValueError("no such permission; docs/security.md lists them")
    return value


def _addressable(name: str) -> str:
    if name in (".", ".."):
        raise ValueError("a path cannot end in . or .., and the name is part of one")
    return name


def _in_order(permissions: list[str]) -> list[str]:
    return sorted(set(permissions))


def _future(moment: datetime | None) -> datetime | None:
    if moment is not None and moment <= datetime.now(UTC):
        raise ValueError("must be in the future")
    return moment


Permissions = Annotated[
    list[Annotated[str, AfterValidator(_permission)]],
    Field(min_length=1, max_length=200, examples=[["event:add", "event:list"]]),
    AfterValidator(_in_order),
]
Title = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(printable)]


RoleName = Annotated[
    str,
    StringConstraints(pattern=r"^[^/\\]{1,100}$"),
    AfterValidator(printable),
    AfterValidator(_addressable),
    Field(examples=["EntityEvent (Add, List)"]),
]


class ApiKeyIn(Body):
    """Either `role` or `permissions` is required."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "shop", "role": "publisher"}]})

    name: Title
    role: Title | None = Field(None, description=f"One of {', '.join(ROLES)}, or a role of your own")
    permissions: Permissions | None = None
    publish_rate: int | None = Field(
        None, ge=1, le=1_000_000, description="Occurrences per second that the key may publish through a process"
    )
    expires_at: Annotated[Moment | None, AfterValidator(_future)] = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.role is None) == (self.permissions is None):
            raise invalid("/role", "give either role or permissions")
        return self


class ApiKeyOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    prefix: str = Field(description="How the key begins", examples=["whk_x7Tf2q"])
    role: str | None
    permissions: list[str] | None = Field(description="null if the key has a role")
    publish_rate: int | None
    created_by: str | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="Up to a minute old")


class ApiKeyCreated(ApiKeyOut):
    key: str = Field(description="The bearer token. Only this response shows it")


class RoleBody(Body):
    """The fields of a role that can be changed."""

    description: Description = ""
    permissions: Permissions


class RoleIn(RoleBody):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "EntityEvent (Add, List)", "permissions": ["event:add", "event:list"]}]
        }
    )

    name: RoleName


class RoleOut(BaseModel):
    name: str
    description: str
    built_in: bool
    permissions: list[str]
    created_at: datetime | None = Field(description="null for a built-in role")
    updated_at: datetime | None
