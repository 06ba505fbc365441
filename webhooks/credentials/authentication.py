"""The four ways in which a delivery authenticates to its receiver. Their names are those of LogiSense. Pure."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from webhooks import characters
from webhooks.credentials import header_rules

_NOT_VISIBLE = re.compile(r"[^\x20-\x7e]")


def _visible(text: str) -> str:
    if bad := _NOT_VISIBLE.search(text):
        raise ValueError(characters.refusal(text, bad.start(), "printable ASCII characters"))
    return text


Visible = Annotated[
    str,
    StringConstraints(min_length=1, max_length=header_rules.MAX_VALUE_CHARACTERS),
    AfterValidator(_visible),
]
"""Printable ASCII: VSCHAR of RFC 6749, appendix A."""
_Text = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,4096}$")]


class _Mode(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NoAuthentication(_Mode):
    """No authentication, for receivers that a private network, a gateway or a list of addresses protects."""

    type: Literal["None"] = "None"


class KeyValuePair(_Mode):
    """A fixed secret with a name, in a header or in the query string."""

    type: Literal["Key Value Pair"]
    name: Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{1,128}$")] = Field(examples=["X-Api-Key"])
    value: Visible = Field(repr=False, examples=["a-secret-value"])
    place: Literal["header", "query"] = Field("header", alias="in")

    @model_validator(mode="after")
    def _is_a_header(self) -> Self:
        if self.place == "header":
            header_rules.check_header(self.name, self.value)
        return self


class OAuth(_Mode):
    """The fields of both OAuth grants. A token is requested at `token_url` (RFC 6749) and sent as `Bearer`."""

    token_url: Annotated[str, StringConstraints(min_length=1, max_length=2048)] = Field(
        examples=["https://login.example.com/oauth/token"]
    )
    client_id: Visible
    client_secret: Visible = Field(repr=False)
    client_authentication: Literal["header", "body"] = Field(
        "header", description="Where the client's id and secret go: HTTP Basic, or the token request's body"
    )
    scope: Annotated[str, StringConstraints(pattern=r"^[\x20\x21\x23-\x5b\x5d-\x7e]{0,1000}$")] = ""
    audience: Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{0,2048}$")] = ""
    parameters: dict[Visible, _Text] = Field(
        default_factory=dict, max_length=20, description="Further parameters of the token request", repr=False
    )

    @model_validator(mode="after")
    def _parameters_are_further_ones(self) -> Self:
        taken = sorted(self.parameters.keys() & _OWN_PARAMETERS)
        if taken:
            raise ValueError(f"the parameter {taken[0]} has a field of its own")
        return self


class ClientCredentials(OAuth):
    """Access for a machine, without a user."""

    type: Literal["OAuth 2.0 Client Credentials"]


class Password(OAuth):
    """Access with a user's password, for receivers that accept nothing else."""

    type: Literal["OAuth 2.0 Password"]
    username: _Text
    password: _Text = Field(repr=False)


Authentication = Annotated[NoAuthentication | KeyValuePair | ClientCredentials | Password, Field(discriminator="type")]

MODES = ("None", "Key Value Pair", "OAuth 2.0 Client Credentials", "OAuth 2.0 Password")
SECRET_FIELDS = frozenset(("value", "client_secret", "password"))
_OWN_PARAMETERS = {"grant_type", "scope", "audience", "client_id", "client_secret", "username", "password"}


def header_of(authentication: Authentication) -> str | None:
    """Return the request header that the authentication sets, in lower case; None if it sets none."""
    match authentication:
        case KeyValuePair(place="header", name=name):
            return name.lower()
        case OAuth():
            return "authorization"
    return None
