"""People sign in with a browser and get a session cookie: by an OpenID Connect provider (authorization code with PKCE)
if one is configured, else by an API key that they type once.

The pages of the product lead to /sign-in?next=/where/they/were; `api.auth.signed_in` is who came back."""

import base64
import json
import logging
import math
import re
import time
import warnings
from typing import Any

from authlib.deprecate import AuthlibDeprecationWarning  # type: ignore[import-untyped]
from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

with warnings.catch_warnings():  # authlib warns because it prefers another client than httpx
    warnings.simplefilter("ignore", AuthlibDeprecationWarning)
    from authlib.integrations.starlette_client import (  # type: ignore[import-untyped]
        StarletteIntegration,
        StarletteOAuth2App,
    )

from api.auth import address_of, require_same_origin, session_cookie
from api.deps import CurrentPlatform
from api.pages.page import HEADERS, strict_transport, templates
from api.platform import Platform
from api.protocol import forms
from api.protocol.problems import ProblemError
from webhooks.credentials.vault import CannotOpenError
from webhooks.identity import audit
from webhooks.identity.caller import Caller
from webhooks.identity.identity_provider import IdentityProvider, ProviderAwayError
from webhooks.identity.permissions import HOME
from webhooks.identity.rates import network_of
from webhooks.identity.sessions import LIFETIME
from webhooks.identity.verifying import LEEWAY_SECONDS
from webhooks.telemetry import metrics

log = logging.getLogger(__name__)

router = APIRouter(include_in_schema=False)

_PLACE = re.compile(r"/([A-Za-z0-9._~%!$&'()*+,;=:@?-][A-Za-z0-9._~%!$&'()*+,;=:@?/-]{0,500})?")
"""A path of this site. `//host` and `/\\host` would lead elsewhere."""
_HEADERS = HEADERS | {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}
"""No script at all where keys are typed."""
_MAX_FORM_BYTES, _MAX_FORM_SECONDS = 8 * 1024, 30.0
_FLOW_SECONDS = 600
"""How long somebody may take at the identity provider."""
_FLOW = "sign_in"
_REQUEST_SECONDS = 10.0
_MAX_ANSWER_BYTES = 128 * 1024


@router.get("/sign-in")
async def show_sign_in(request: Request, platform: CurrentPlatform) -> Response:
    """Ask for an API key, or lead to the identity provider."""
    place = _place(request.query_params.get("next"))
    if not platform.signs_in_with_provider:
        return _page(platform, asks_for_key=True, next=place)
    try:
        client = await _client(platform)
    except ProviderAwayError:
        return _page(platform, 503, message="The identity provider is not reachable. Try again later.")
    request.scope["session"] = {}  # where authlib keeps state, nonce and verifier
    answer: Response = await client.authorize_redirect(request, _callback(platform))
    flow = {"until": time.time() + _FLOW_SECONDS, "next": place, "session": request.scope["session"]}
    sealed = base64.urlsafe_b64encode(platform.vault.seal(json.dumps(flow).encode(), _FLOW)).decode()
    _set_cookie(platform, answer, _FLOW, sealed, _FLOW_SECONDS)
    answer.headers.update(_HEADERS)
    return answer


@router.get("/sign-in/callback")
async def complete_sign_in(request: Request, platform: CurrentPlatform) -> Response:
    """Take the browser back from the identity provider."""
    flow = _flow(platform, request)
    provider = platform.provider
    if not platform.signs_in_with_provider or provider is None or flow is None:
        return _refused(platform, "This sign-in was not begun here, or took too long.")
    request.scope["session"] = flow["session"]
    try:
        person = provider.person_of(await _identified(platform, provider, request))
    except Exception as error:  # whatever the provider answers, or somebody in its place
        log.warning("a sign-in failed: %s: %.200r", type(error).__name__, str(error))
        _record_refused(platform, request, "the identity provider did not confirm who it is")
        return _refused(platform, "The identity provider did not confirm who you are.")
    if person is None:
        _record_refused(platform, request, "the identity provider did not say where the person belongs")
        return _refused(platform, "The identity provider did not say where you belong.")
    old = request.cookies.get(session_cookie(platform.settings))
    secret = await platform.sessions.begin_for(person, instead_of=old)
    await _record(platform, request, Caller(person.tenant, frozenset(), f"person:{person.subject}", person.name))
    return _signed_in(platform, secret, flow["next"])


@router.post("/sign-in")
async def sign_in(request: Request, platform: CurrentPlatform) -> Response:
    """Sign in with an API key."""
    require_same_origin(request)
    form = await _form(request)
    place = _place(form.get("next"))
    if platform.signs_in_with_provider:
        return _refused(platform, "Sign in with the identity provider.")
    caller = await platform.key_caller(form.get("key").strip())
    if caller is None:
        seconds = platform.failed_authentications.add(address_of(request))
        metrics.failed_authentication(metrics.SLOWED if seconds else metrics.INVALID)
        _record_refused(platform, request, "the API key is not valid")
        if seconds:
            answer = _page(platform, 429, message="There were too many wrong keys. Try again in a minute.")
            answer.headers["Retry-After"] = str(math.ceil(seconds))
            return answer
        return _page(platform, 401, message="This API key is not valid.", asks_for_key=True, next=place)
    old = request.cookies.get(session_cookie(platform.settings))
    secret = await platform.sessions.begin_with_key(caller, instead_of=old)
    await _record(platform, request, caller)
    return _signed_in(platform, secret, place)


@router.post("/sign-out")
async def sign_out(request: Request, platform: CurrentPlatform) -> Response:
    """End the session of this browser."""
    require_same_origin(request)
    if secret := request.cookies.get(session_cookie(platform.settings)):
        await platform.sessions.end(secret)
    answer = _page(platform, title="You are signed out")
    _set_cookie(platform, answer, session_cookie(platform.settings), "", 0)
    return answer


async def _identified(platform: Platform, provider: IdentityProvider, request: Request) -> dict[str, Any]:
    """Return the verified claims of the ID token. Raises many errors."""
    needed = {"iss": {"essential": True, "value": provider.name}, "exp": {"essential": True}}
    client = await _client(platform)
    tokens = await client.authorize_access_token(request, claims_options=needed, leeway=LEEWAY_SECONDS)
    return dict(tokens["userinfo"])


async def _client(platform: Platform) -> StarletteOAuth2App:
    """Return authlib's client. What the provider says of itself was fetched and checked by us. Raises
    ProviderAwayError."""
    provider, settings = platform.provider, platform.settings
    assert provider and settings.oidc_client_secret  # noqa: S101
    known = await provider.discovered()
    return StarletteOAuth2App(
        StarletteIntegration("provider"),
        "provider",
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret.get_secret_value(),
        authorize_url=known.metadata.get("authorization_endpoint"),
        access_token_url=known.metadata.get("token_endpoint"),
        client_kwargs={
            "scope": "openid profile email",
            "code_challenge_method": "S256",
            "transport": platform.egress.transport(HOME, _REQUEST_SECONDS, max_body_bytes=_MAX_ANSWER_BYTES),
            "trust_env": False,
        },
        issuer=provider.name,
        jwks=known.key_set,
        jwks_uri=known.metadata.get("jwks_uri"),
        id_token_signing_alg_values_supported=list(provider.algorithms),
    )


def _flow(platform: Platform, request: Request) -> dict[str, Any] | None:
    """Return what the browser has kept since /sign-in, or None if that is nothing, or too old."""
    sealed = request.cookies.get(_name(platform, _FLOW), "")
    try:
        flow: dict[str, Any] = json.loads(platform.vault.open(base64.urlsafe_b64decode(sealed), _FLOW))
    except (CannotOpenError, ValueError):
        return None
    return flow if time.time() < flow["until"] else None


def _signed_in(platform: Platform, secret: str, place: str) -> Response:
    answer = RedirectResponse(place, 303, headers=_HEADERS)
    _set_cookie(platform, answer, session_cookie(platform.settings), secret, int(LIFETIME.total_seconds()))
    _set_cookie(platform, answer, _FLOW, "", 0)
    return answer


async def _record(platform: Platform, request: Request, caller: Caller) -> None:
    """Record in the audit that somebody has signed in."""
    async with platform.database.write() as session:
        session.add(audit.entry(caller, address_of(request), "session.add", caller.actor, {}))


def _record_refused(platform: Platform, request: Request, reason: str) -> None:
    """Record in the audit of the tenant HOME that a sign-in was refused, at most once a minute for each address (IPv6:
    one /64)."""
    address = address_of(request)
    somebody = Caller(HOME, frozenset(), f"address:{network_of(address)}", "")
    platform.refusals.record(somebody, address, f"{request.method} /sign-in", "", reason)


def _refused(platform: Platform, message: str) -> Response:
    answer = _page(platform, 401, message=message)
    _set_cookie(platform, answer, _FLOW, "", 0)
    return answer


def _page(platform: Platform, status: int = 200, *, title: str = "Sign in", **fields: object) -> Response:
    shown = {"message": None, "asks_for_key": False, "next": "/"} | fields
    html = templates.get_template("sign_in.html").render(title=title, **shown)
    return HTMLResponse(html, status, headers={**_HEADERS, **strict_transport(platform)})


def _set_cookie(platform: Platform, answer: Response, name: str, value: str, seconds: int) -> None:
    answer.set_cookie(
        _name(platform, name) if name == _FLOW else name,
        value,
        max_age=seconds,
        path="/",
        secure=platform.settings.is_https,
        httponly=True,
        samesite="lax",
    )


def _name(platform: Platform, name: str) -> str:
    return f"{'__Host-' if platform.settings.is_https else ''}webhooks_{name}"


def _callback(platform: Platform) -> str:
    return f"{platform.settings.public_url}/sign-in/callback"


def _place(text: str | None) -> str:
    """Return where to go after the sign-in: a path of this site, whatever was asked for."""
    return text if text and _PLACE.fullmatch(text) else "/"


async def _form(request: Request) -> forms.Form:
    """Return the form. One that is too long or too slow has no fields."""
    try:
        return await forms.read(request, _MAX_FORM_BYTES, _MAX_FORM_SECONDS)
    except ProblemError:
        return forms.Form({})
