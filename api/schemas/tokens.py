"""Tokens made with an API key."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from api.protocol.problems import invalid
from api.schemas.api_keys import Permissions
from api.schemas.common import Body, printable
from webhooks.identity.permissions import OF_CONSUMERS
from webhooks.identity.signing_keys import LONGEST_TOKEN
from webhooks.temporal.names import MAX_KEYWORD

_DEFAULT_SECONDS = 900


class TokenIn(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"permissions": ["webhook:add", "webhook:list"], "expires_in": 900}]}
    )

    permissions: Permissions | None = Field(None, description="All that the caller can give, if left out")
    expires_in: int = Field(_DEFAULT_SECONDS, ge=1, le=int(LONGEST_TOKEN.total_seconds()), description="Seconds")
    client_identifier: (
        Annotated[str, StringConstraints(min_length=1, max_length=MAX_KEYWORD), AfterValidator(printable)] | None
    ) = Field(None, description="Makes a token for a client of yours: it is confined to that client's webhooks")

    @model_validator(mode="after")
    def _consumers(self) -> "TokenIn":
        for index, permission in enumerate(self.permissions or () if self.client_identifier else ()):
            if permission not in OF_CONSUMERS:
                raise invalid(f"/permissions/{index}", f"a token for a client cannot have {permission}")
        return self


class TokenOut(BaseModel):
    token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105
    permissions: list[str]
    client_identifier: str | None
    expires_at: datetime


class SigningKeySet(BaseModel):
    """JSON Web Keys (RFC 7517)."""

    keys: list[dict[str, Any]]
