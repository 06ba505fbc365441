"""Who calls a route, and whether that caller may. Each route of /v1 declares with `needs` the permission that it asks
for."""

from datetime import UTC, datetime
from typing import Any

from fastapi import Request, Security
from fastapi.security import HTTPBearer

from api.platform import Platform
from api.protocol.problems import ProblemError
from webhooks.identity.caller import Caller
from webhooks.identity.identity_provider import ProviderAwayError
from webhooks.identity.permissions import PERMISSIONS
from webhooks.identity.tokens import looks_like_a_token

_bearer = HTTPBearer(auto_error=False, description="An API key, or a token that POST /v1/tokens made with one")


def needs(permission: str) -> Any:
    """Return the dependency that declares a route's permission. StrictRoute checks it before it reads a body, and the
    OpenAPI document shows it as a security scope."""
    assert permission in PERMISSIONS, permission  # noqa: S101
    return Security(_bearer, scopes=[permission])


async def authenticate(request: Request, permission: str) -> None:
    """Set `request.state.caller`. Raises ProblemError 401, or 403 if the caller does not have the permission."""
    platform: Platform = request.app.state.platform
    credentials = await _bearer(request)
    if credentials is None:
        raise _unauthorized("a valid API key is required")
    caller = await _bearing(platform, credentials.credentials)
    require(caller, permission)
    request.state.caller = caller


async def _bearing(platform: Platform, bearer: str) -> Caller:
    """Return whom a bearer token belongs to. Raises ProblemError 401."""
    is_token = looks_like_a_token(bearer)
    try:
        if is_token and (caller := await platform.tokens.caller_of(bearer)):
            return caller
    except ProviderAwayError as error:
        raise ProblemError(503, f"{error}; try again", headers={"Retry-After": "5"}) from None
    caller = await platform.keys.caller_of(bearer)  # a key that an operator chose may look like a token
    if caller is None:
        if is_token:
            raise _unauthorized("the token is not valid, or has expired", error="invalid_token")
        raise _unauthorized("a valid API key is required")
    if caller.expires_at and caller.expires_at <= datetime.now(UTC):
        raise _unauthorized("the API key has expired")
    return caller


def require(caller: Caller, permission: str) -> None:
    """Raise ProblemError 403 if the caller does not have the permission."""
    if not caller.may(permission):
        raise forbidden(permission, f"this needs the permission {permission}, which the caller does not have")


def forbidden(permission: str, detail: str) -> ProblemError:
    challenge = f'Bearer error="insufficient_scope", scope="{permission}"'
    return ProblemError(403, detail, headers={"WWW-Authenticate": challenge})


def _unauthorized(detail: str, *, error: str | None = None) -> ProblemError:
    return ProblemError(401, detail, headers={"WWW-Authenticate": f'Bearer error="{error}"' if error else "Bearer"})
