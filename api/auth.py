"""Who calls a route, and whether that caller may. Each route of /v1 declares with `needs` the permission that it asks
for."""

from typing import Any

from fastapi import Request, Security
from fastapi.security import HTTPBearer
from pydantic import JsonValue

from api.platform import Platform
from api.protocol.problems import ProblemError
from webhooks.identity import audit
from webhooks.identity.caller import Caller
from webhooks.identity.identity_provider import ProviderAwayError
from webhooks.identity.permissions import PERMISSIONS
from webhooks.identity.tokens import looks_like_a_token
from webhooks.settings import Settings

_SAFE = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing."""
_ONLY_READING = "/codec/decode"
"""A POST that changes nothing: the Temporal Web UI sends it with the cookie. No other site can read its answer."""
_bearer = HTTPBearer(auto_error=False, description="An API key, or a token that POST /v1/tokens made with one")


def needs(permission: str) -> Any:
    """Return the dependency that declares a route's permission. StrictRoute checks it before it reads a body, and the
    OpenAPI document shows it as a security scope."""
    assert permission in PERMISSIONS, permission  # noqa: S101
    return Security(_bearer, scopes=[permission])


async def authenticate(request: Request, permission: str) -> None:
    """Set `request.state.caller`, from the bearer token or else from the cookie of somebody who has signed in. Raises
    ProblemError 401, or 403 if the caller does not have the permission, or if a page of another site has sent the
    cookie."""
    platform: Platform = request.app.state.platform
    credentials = await _bearer(request)
    caller = await _bearing(platform, credentials.credentials) if credentials else await signed_in(request)
    if caller is None:
        raise _unauthorized("a valid API key is required")
    request.state.caller = caller
    if caller.has_expired():
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
        action, id, changes = permission.replace(":", "."), request.path_params.get("id", ""), None
        if hasattr(request.state, "recorded_as"):
            action, id, changes = request.state.recorded_as
        if not action:
            return
        async with platform.database.write() as session:
            session.add(audit.entry(request.state.caller, address_of(request), action, id, changes or {}))


def record_as(request: Request, action: str | None, id: str = "", changes: dict[str, JsonValue] | None = None) -> None:
    """Name what the audit records of this call, in place of its permission and the id in its path. None: nothing."""
    request.state.recorded_as = (action, id, changes)


def address_of(request: Request) -> str:
    """Return where a request came from; what uvicorn takes from a trusted proxy's headers."""
    return request.client.host if request.client else ""


async def signed_in(request: Request) -> Caller | None:
    """Return whom the session cookie belongs to, or None. Raises ProblemError 403 if the request may change something
    and a page of another site has sent it."""
    platform: Platform = request.app.state.platform
    secret = request.cookies.get(session_cookie(platform.settings))
    if not secret or "authorization" in request.headers:
        return None
    caller = await platform.sessions.caller_of(secret)
    if caller is not None and request.method not in _SAFE and request.scope["path"] != _ONLY_READING:
        require_same_origin(request)
    return None if caller is None or caller.has_expired() else caller


def session_cookie(settings: Settings) -> str:
    """Return the name of the session cookie. Browsers accept `__Host-` only from this very host, and by TLS."""
    return f"{'__Host-' if settings.is_https else ''}webhooks_session"


def require_same_origin(request: Request) -> None:
    """Raise ProblemError 403 unless a page of this site, or a person, has sent the request."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin", "")
    own = request.app.state.platform.settings.public_url
    if site:
        same = site in ("same-origin", "none")
    elif own:
        same = origin.lower() == own
    else:
        same = origin.partition("://")[2].lower() == request.headers.get("host", "").lower() != ""
    if not same:
        raise ProblemError(403, "a page of another site has sent this request; send it from this site's own pages")


async def _bearing(platform: Platform, bearer: str) -> Caller:
    """Return whom a bearer token belongs to, also an expired key. Raises ProblemError 401."""
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
    return caller


def require(caller: Caller, permission: str) -> None:
    """Raise ProblemError 403 if the caller does not have the permission."""
    if not caller.may(permission):
        raise forbidden(permission, f"this needs the permission {permission}, which the caller does not have")


def require_narrower(caller: Caller, permissions: frozenset[str]) -> None:
    """Raise ProblemError 403 if one of these is a permission that the caller does not have."""
    if wider := sorted(permissions - caller.permissions):
        raise forbidden(wider[0], f"the caller does not have the permission {wider[0]}, and cannot give it")


def require_not_suspended(caller: Caller) -> None:
    """Raise ProblemError 403 if the caller's tenant is suspended."""
    if caller.suspended:
        raise ProblemError(403, "the tenant is suspended: nothing can be sent until its suspension is lifted")


def forbidden(permission: str, detail: str) -> ProblemError:
    challenge = f'Bearer error="insufficient_scope", scope="{permission}"'
    return ProblemError(403, detail, headers={"WWW-Authenticate": challenge})


def _unauthorized(detail: str, *, error: str | None = None) -> ProblemError:
    return ProblemError(401, detail, headers={"WWW-Authenticate": f'Bearer error="{error}"' if error else "Bearer"})
