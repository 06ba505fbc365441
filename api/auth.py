"""Who calls a route, and whether that caller may. Each route of /v1 declares with `needs` the permission that it asks
for."""

from datetime import UTC, datetime
from typing import Any

from fastapi import Request, Security
from fastapi.security import HTTPBearer

from api.platform import Platform
from api.protocol.problems import ProblemError
from webhooks.identity import audit
from webhooks.identity.caller import Caller
from webhooks.identity.permissions import PERMISSIONS

_bearer = HTTPBearer(auto_error=False, description="An API key")


def needs(permission: str) -> Any:
    """Return the dependency that declares a route's permission. StrictRoute checks it before it reads a body, and the
    OpenAPI document shows it as a security scope."""
    assert permission in PERMISSIONS, permission  # noqa: S101
    return Security(_bearer, scopes=[permission])


async def authenticate(request: Request, permission: str) -> None:
    """Set `request.state.caller` from the bearer token. Raises ProblemError 401, or 403 if the caller does not have the
    permission."""
    platform: Platform = request.app.state.platform
    credentials = await _bearer(request)
    caller = await platform.keys.caller_of(credentials.credentials) if credentials else None
    if caller is None:
        raise _unauthorized("a valid API key is required")
    request.state.caller = caller
    if caller.expires_at and caller.expires_at <= datetime.now(UTC):
        raise _unauthorized("the API key has expired")
    require(caller, permission)


def record_refusal(request: Request, call: str, permission: str, problem: ProblemError) -> None:
    """Record in the audit that a known caller was refused."""
    caller: Caller | None = getattr(request.state, "caller", None)
    if caller and problem.status in (401, 403):
        platform: Platform = request.app.state.platform
        platform.refusals.record(caller, address_of(request), call, permission, problem.detail)


async def record_asked_for(request: Request, permission: str) -> None:
    """Record in the audit what a call did that changes no row of the configuration."""
    if permission in audit.ASKED_FOR:
        platform: Platform = request.app.state.platform
        action, id = permission.replace(":", "."), request.path_params["id"]
        async with platform.database.write() as session:
            session.add(audit.entry(request.state.caller, address_of(request), action, id, {}))


def address_of(request: Request) -> str:
    """Return where a request came from; what uvicorn takes from a trusted proxy's headers."""
    return request.client.host if request.client else ""


def require(caller: Caller, permission: str) -> None:
    """Raise ProblemError 403 if the caller does not have the permission."""
    if not caller.may(permission):
        raise forbidden(permission, f"this needs the permission {permission}, which the caller does not have")


def require_not_suspended(caller: Caller) -> None:
    """Raise ProblemError 403 if the caller's tenant is suspended."""
    if caller.suspended:
        raise ProblemError(403, "the tenant is suspended: nothing can be sent until its suspension is lifted")


def forbidden(permission: str, detail: str) -> ProblemError:
    challenge = f'Bearer error="insufficient_scope", scope="{permission}"'
    return ProblemError(403, detail, headers={"WWW-Authenticate": challenge})


def _unauthorized(detail: str) -> ProblemError:
    return ProblemError(401, detail, headers={"WWW-Authenticate": "Bearer"})
