"""Tokens made with an API key, and the keys that sign them."""

from datetime import timedelta

from fastapi import APIRouter, Request, Response
from pydantic import JsonValue

from api.auth import address_of, needs, require_narrower
from api.deps import CurrentCaller, CurrentPlatform
from api.protocol.problems import RESPONSES, ProblemError
from api.protocol.strict_json import StrictRoute
from api.schemas.tokens import SigningKeySet, TokenIn, TokenOut
from webhooks.identity import audit
from webhooks.identity.signing_keys import CACHED_FOR


class TokenRoute(StrictRoute):
    """Takes no `Idempotency-Key`: a call that is repeated makes another token, and none is stored."""

    repeatable_status = None


router = APIRouter(prefix="/v1/tokens", tags=["tokens"], responses=RESPONSES, route_class=TokenRoute)
keys = APIRouter(prefix="/.well-known", tags=["tokens"])


@router.post("", dependencies=[needs("token:add")], status_code=201)
async def create_token(body: TokenIn, caller: CurrentCaller, platform: CurrentPlatform, request: Request) -> TokenOut:
    """Creates a token (JWT) of the caller's API key. It is sent like a key, cannot have a permission that the caller
    does not have, expires with its maker at the latest, and ends when the key is revoked."""
    if caller.key_id is None:
        raise ProblemError(403, "only a caller with an API key can make tokens")
    require_narrower(caller, frozenset(body.permissions or ()))
    issued = await platform.own_tokens.issue(
        caller,
        frozenset(body.permissions) if body.permissions else caller.permissions,
        timedelta(seconds=body.expires_in),
        body.client_identifier,
    )
    changes: dict[str, JsonValue] = {
        "permissions": [*sorted(issued.permissions)],
        "client_identifier": body.client_identifier,
        "expires_at": issued.expires_at.isoformat(),
    }
    async with platform.database.write() as session:
        session.add(audit.entry(caller, address_of(request), "token.add", caller.key_id, changes))
    return TokenOut(
        token=issued.token,
        permissions=sorted(issued.permissions),
        client_identifier=body.client_identifier,
        expires_at=issued.expires_at,
    )


@keys.get("/jwks.json")
async def get_signing_keys(platform: CurrentPlatform, response: Response) -> SigningKeySet:
    """Shows the public keys that verify our tokens (RFC 7517). Needs no API key."""
    response.headers["Cache-Control"] = f"public, max-age={CACHED_FOR.total_seconds():.0f}"
    return SigningKeySet(keys=await platform.signing_keys.published())
