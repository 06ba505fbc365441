"""Bearer tokens that are JSON Web Tokens: our own, made with an API key, and those of a customer's identity provider.

A token that was verified once is kept in memory until it expires: its signature is not computed again. Whether its key
was revoked is asked each time."""

import hashlib
import logging
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwt import ClaimsOption, JWTClaimsRegistry

from webhooks.identity.caller import Caller
from webhooks.identity.keyring import KeyRing
from webhooks.identity.permissions import OF_CONSUMERS, PERMISSIONS
from webhooks.identity.signing_keys import ALGORITHM, LONGEST_TOKEN, SigningKeys
from webhooks.identity.verifying import (
    ACCESS_TOKEN_TYPE,
    LEEWAY_SECONDS,
    MAX_TOKEN_CHARACTERS,
    PinnedAlgorithms,
    RefusedTokenError,
    Verified,
    header_of,
    type_of,
)
from webhooks.json_documents import parse

log = logging.getLogger(__name__)

_ALGORITHMS = PinnedAlgorithms([ALGORITHM])
_MAX_REMEMBERED = 10_000
"""Verified tokens in memory. With one more, the least recently used is forgotten."""


class Issuer(Protocol):
    """Verifies tokens, and says what their bearers may do."""

    name: str
    """The `iss` of its tokens."""

    async def verify(self, token: str) -> Verified:
        """Raise RefusedTokenError unless it has made this token for us."""

    async def caller_of(self, verified: Verified) -> Caller | None:
        """Return whom a token belongs to that was verified before, or None if it has ended since."""


@dataclass(frozen=True)
class Issued:
    """A token that was made just now."""

    token: str
    permissions: frozenset[str]
    expires_at: datetime


class OwnTokens:
    """Makes and verifies our own tokens. Each belongs to an API key, ends with it, and can never do more than it."""

    def __init__(self, issuer: str, signing_keys: SigningKeys, keys: KeyRing) -> None:
        self.name = issuer
        self._signing_keys = signing_keys
        self._keys = keys
        needed: ClaimsOption = {"essential": True}
        self._rules = JWTClaimsRegistry(
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": issuer},
            sub=needed,
            tenant=needed,
            exp=needed,
            iat=needed,
            nbf=needed,
            jti=needed,
        )

    async def issue(
        self, caller: Caller, permissions: frozenset[str], lifetime: timedelta, client_identifier: str | None = None
    ) -> Issued:
        """Return a new token for the caller's API key. It has those permissions that the caller has as well; with a
        client identifier, those of OF_CONSUMERS at most. It expires when the caller does, if that is earlier."""
        now = datetime.now(UTC).replace(microsecond=0)
        expires_at = min(now + min(lifetime, LONGEST_TOKEN), caller.expires_at or datetime.max.replace(tzinfo=UTC))
        allowed = _confined(permissions & caller.permissions, client_identifier)
        key = await self._signing_keys.signing()
        claims: dict[str, Any] = {
            "iss": self.name,
            "aud": self.name,
            "sub": caller.key_id,
            "tenant": caller.tenant,
            "scope": " ".join(sorted(allowed)),
            "iat": int(now.timestamp()),
            "nbf": int(now.timestamp()),
            "exp": int(expires_at.timestamp()),
            "jti": secrets.token_urlsafe(16),
        }
        if client_identifier is not None:
            claims["client_identifier"] = client_identifier
        header = {"alg": ALGORITHM, "typ": ACCESS_TOKEN_TYPE, "kid": key.kid}
        return Issued(
            jwt.encode(header, claims, key, registry=_ALGORITHMS), allowed, datetime.fromtimestamp(claims["exp"], UTC)
        )

    async def verify(self, token: str) -> Verified:
        """Raise RefusedTokenError unless we have made this token and it has not expired."""
        kid = header_of(token, _ALGORITHMS).get("kid")
        key = await self._signing_keys.find(kid) if isinstance(kid, str) else None
        if key is None:
            raise RefusedTokenError("no such signing key")
        try:
            decoded = jwt.decode(token, key, registry=_ALGORITHMS)
            self._rules.validate(decoded.claims)
        except (JoseError, ValueError) as error:
            raise RefusedTokenError(str(error)) from None
        if type_of(decoded.header) != ACCESS_TOKEN_TYPE:
            raise RefusedTokenError("not an access token")
        return Verified(str(kid), decoded.claims)

    async def caller_of(self, verified: Verified) -> Caller | None:
        """Return whom a token belongs to, or None if its API key or the key that signed it was revoked."""
        claims = verified.claims
        if await self._signing_keys.find(verified.key) is None:
            return None
        key = await self._keys.caller_with_id(claims["tenant"], claims["sub"])
        if key is None or (key.expires_at and key.expires_at <= datetime.now(UTC)):
            return None
        client, end = claims.get("client_identifier"), datetime.fromtimestamp(claims["exp"], UTC)
        return replace(
            key,
            permissions=_confined(key.permissions.intersection(claims["scope"].split()), client),
            actor=f"token:{key.key_id}" if client is None else f"token:{key.key_id}/{client}",
            client_identifier=client,
            expires_at=end,
            lasts_until=end,
        )


class Tokens:
    """Finds the caller of a JSON Web Token, whichever issuer has made it."""

    def __init__(self, *issuers: Issuer) -> None:
        self._issuers = {issuer.name: issuer for issuer in issuers}
        self._verified: OrderedDict[bytes, tuple[Issuer, Verified]] = OrderedDict()

    async def caller_of(self, token: str) -> Caller | None:
        """Return whom a token belongs to, or None if it is not accepted. The log says why, at level DEBUG."""
        if len(token) > MAX_TOKEN_CHARACTERS:
            return None
        digest = hashlib.sha256(token.encode()).digest()
        try:
            issuer, verified = await self._verify(token, digest)
        except RefusedTokenError as error:
            log.debug("a token is refused: %s", error)
            return None
        if verified.claims["exp"] + LEEWAY_SECONDS <= time.time():
            self._verified.pop(digest, None)
            return None
        return await issuer.caller_of(verified)

    async def _verify(self, token: str, digest: bytes) -> tuple[Issuer, Verified]:
        """Raises RefusedTokenError."""
        if known := self._verified.get(digest):
            self._verified.move_to_end(digest)
            return known
        issuer = self._issuers.get(_issuer_of(token))
        if issuer is None:
            raise RefusedTokenError("no such issuer")
        known = self._verified[digest] = issuer, await issuer.verify(token)
        while len(self._verified) > _MAX_REMEMBERED:
            self._verified.popitem(last=False)
        return known


def looks_like_a_token(bearer: str) -> bool:
    """Return whether a bearer token is to be read as a JSON Web Token. API keys that we make have no dots."""
    return bearer.count(".") == 2


def _confined(permissions: frozenset[str], client_identifier: str | None) -> frozenset[str]:
    return permissions & (PERMISSIONS if client_identifier is None else OF_CONSUMERS)


def _issuer_of(token: str) -> str:
    """Return the `iss` of a token, which nobody has verified. Raises RefusedTokenError."""
    try:
        claims = parse(jws.extract_compact(token.encode(), registry=_ALGORITHMS).payload.decode())
    except (JoseError, ValueError, RecursionError) as error:
        raise RefusedTokenError(f"not a token: {error}") from None
    issuer = claims.get("iss") if isinstance(claims, dict) else None
    return issuer if isinstance(issuer, str) else ""
