"""Tenants."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.schemas.api_keys import ApiKeyCreated, Title
from api.schemas.common import Body

TenantId = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$"),
    Field(
        description="1 to 63 lower-case letters, digits, `_` and `-`; begins with a letter or digit. Cannot be changed",
        examples=["acme"],
    ),
]


class TenantBody(Body):
    """The fields of a tenant that can be changed."""

    name: Title
    suspended: bool = Field(
        False, description="If true, it cannot publish, and its deliveries wait until it is false again"
    )


class TenantIn(TenantBody):
    model_config = ConfigDict(json_schema_extra={"examples": [{"id": "acme", "name": "Acme Ltd."}]})

    id: TenantId


class TenantOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    suspended: bool
    created_at: datetime
    updated_at: datetime


class TenantCreated(TenantOut):
    administrator: ApiKeyCreated = Field(description="The tenant's first API key. Only this response shows it")
