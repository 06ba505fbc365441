"""A customer's identity provider (OpenID Connect): its keys, its tokens, and what the people and programs that it knows
may do here.

Its discovery document and its keys are fetched by the guarded way out and kept. While the provider is away, the keys
that are known go on."""

import asyncio
import contextlib
import json
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from joserfc import jwk, jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet
from joserfc.jwt import JWTClaimsRegistry

from webhooks.egress.client import Egress
from webhooks.errors import WebhooksError
from webhooks.identity.caller import Caller
from webhooks.identity.keyring import KeyRing
from webhooks.identity.permissions import HOME, OF_CONSUMERS
from webhooks.identity.verifying import (
    ACCESS_TOKEN_TYPE,
    LEEWAY_SECONDS,
    PinnedAlgorithms,
    RefusedTokenError,
    Verified,
    header_of,
    type_of,
)
from webhooks.json_pointer import value_at
from webhooks.settings import Settings

log = logging.getLogger(__name__)

_FETCH_SECONDS = 5.0
"""How long the provider may take for each of two requests: somebody waits for them."""
_REFRESHED_AFTER = 15 * 60.0
"""Keys that are older are fetched again, while the old ones are used."""
_TRUSTED_FOR = 24 * 3600.0
"""Keys that are older are not used: the provider may have withdrawn them."""
_ASKED_AGAIN_AFTER = 60.0
"""Between two fetches for a key that is not known: anybody can write a token that names one."""
_TRIED_AGAIN_AFTER = 5.0
"""Between two fetches while no keys are known."""
_MAX_DOCUMENT_BYTES = 512 * 1024
_MAX_GRANTS = 200
"""Names of permissions and roles that are read from a claim."""
_MAX_WORD_CHARACTERS = 200
_NOT_ACCESS = ("nonce", "at_hash", "c_hash", "events")
"""Claims of ID tokens and of messages about the end of a session."""


class ProviderAwayError(WebhooksError):
    """The identity provider gave no keys, and none are known."""


@dataclass(frozen=True)
class Discovered:
    """What the provider says of itself, and its keys by their id. `at` is the monotonic clock in seconds."""

    metadata: dict[str, Any]
    keys: dict[str, Key]
    key_set: dict[str, Any]
    at: float


@dataclass(frozen=True)
class Person:
    """What claims say of somebody: whose it is and which permissions and roles they name."""

    tenant: str
    subject: str
    name: str
    grants: frozenset[str]
    client_identifier: str | None


class IdentityProvider:
    """One provider. A process has one, or none."""

    def __init__(self, settings: Settings, egress: Egress, keys: KeyRing) -> None:
        assert settings.oidc_issuer  # noqa: S101
        self.name = settings.oidc_issuer
        self.algorithms = settings.oidc_algorithms
        self._settings = settings
        self._egress = egress
        self._keys = keys
        self._registry = PinnedAlgorithms(settings.oidc_algorithms)
        self._rules = JWTClaimsRegistry(
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": self.name},
            aud={"essential": True, "value": settings.oidc_audience or ""},
            exp={"essential": True},
            sub={"essential": True},
        )
        self._known: Discovered | None = None
        self._asked_at = -_ASKED_AGAIN_AFTER
        self._fetching: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, settings: Settings, egress: Egress, keys: KeyRing) -> Self | None:
        """Return the provider of the settings, or None if they name none."""
        return cls(settings, egress, keys) if settings.oidc_issuer else None

    async def verify(self, token: str) -> Verified:
        """Raise RefusedTokenError unless the provider has made this access token for us. Raises ProviderAwayError."""
        if not self._settings.oidc_audience:
            raise RefusedTokenError("no audience is configured")
        header = header_of(token, self._registry)
        kid = header.get("kid")
        if not isinstance(kid, str) or header.get("alg") not in self.algorithms:
            raise RefusedTokenError("no key id, or another algorithm")
        key = await self._find(kid)
        if key is None:
            raise RefusedTokenError("no such key of the provider")
        try:
            decoded = jwt.decode(token, key, registry=self._registry)
            self._rules.validate(decoded.claims)
        except (JoseError, ValueError) as error:
            raise RefusedTokenError(str(error)) from None
        self._require_access_token(decoded.header, decoded.claims)
        return Verified(kid, decoded.claims)

    async def caller_of(self, verified: Verified) -> Caller | None:
        """Return whom a token belongs to, or None if its claims do not say that, or its key was withdrawn."""
        if self._known and verified.key not in self._known.keys:
            return None
        person = self.person_of(verified.claims)
        if person is None:
            return None
        return await caller_for(
            self._keys, person, f"token:{person.subject}", datetime.fromtimestamp(verified.claims["exp"], UTC)
        )

    def person_of(self, claims: dict[str, Any]) -> Person | None:
        """Return what verified claims say of their subject, or None if the tenant or the client is not readable."""
        settings = self._settings
        tenant = _word(claims, settings.oidc_tenant_claim) if settings.oidc_tenant_claim else settings.oidc_tenant
        client = settings.oidc_client_claim and _value(claims, settings.oidc_client_claim)
        if client is not None and not _is_word(client):
            log.warning("a token of the identity provider names a client that is not a text")
            return None
        if tenant is None:
            log.warning("a token of the identity provider has no tenant in %s", settings.oidc_tenant_claim)
            return None
        name = next((claims[key] for key in ("name", "preferred_username", "email") if _is_word(claims.get(key))), "")
        return Person(
            tenant, claims["sub"], name or claims["sub"], _grants(claims, settings.oidc_permissions_claim), client
        )

    async def discovered(self) -> Discovered:
        """Return what is known of the provider, not older than _TRUSTED_FOR. Raises ProviderAwayError."""
        known, now = self._known, time.monotonic()
        if known and now - known.at < _TRUSTED_FOR:
            if now - known.at > _REFRESHED_AFTER and now - self._asked_at > _ASKED_AGAIN_AFTER:
                self._fetch()  # nobody waits for it
            return known
        if self._fetching or now - self._asked_at > _TRIED_AGAIN_AFTER:
            await asyncio.shield(self._fetch())
        if self._known is None or time.monotonic() - self._known.at >= _TRUSTED_FOR:
            raise ProviderAwayError("the identity provider is not reachable")
        return self._known

    async def close(self) -> None:
        """End what is being fetched."""
        if self._fetching:
            self._fetching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._fetching

    async def _find(self, kid: str) -> Key | None:
        """Return a key of the provider. One that is not known is asked for, at most once in _ASKED_AGAIN_AFTER."""
        known = await self.discovered()
        if kid not in known.keys and (self._fetching or time.monotonic() - self._asked_at > _ASKED_AGAIN_AFTER):
            await asyncio.shield(self._fetch())
            known = await self.discovered()
        return known.keys.get(kid)

    def _require_access_token(self, header: dict[str, Any], claims: dict[str, Any]) -> None:
        """Raise RefusedTokenError if it is an ID token, or made for another purpose."""
        kind = type_of(header)
        if kind == ACCESS_TOKEN_TYPE:
            return
        audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if (
            kind not in ("", "jwt")
            or any(name in claims for name in _NOT_ACCESS)
            or str(claims.get("typ", "Bearer")).lower() not in ("bearer", "jwt", ACCESS_TOKEN_TYPE)
            or (self._settings.oidc_client_id and self._settings.oidc_client_id in audiences)
        ):
            raise RefusedTokenError("not an access token")

    def _fetch(self) -> asyncio.Task[None]:
        """Return the fetch that is running, or begin one. It raises nothing."""
        if self._fetching is None:
            self._asked_at = time.monotonic()
            self._fetching = asyncio.create_task(self._refresh())
            self._fetching.add_done_callback(lambda _: setattr(self, "_fetching", None))
        return self._fetching

    async def _refresh(self) -> None:
        try:
            metadata = await self._read(self.name.rstrip("/") + "/.well-known/openid-configuration")
            if metadata.get("issuer") != self.name:
                raise ProviderAwayError("its discovery document names another issuer than WEBHOOKS_OIDC_ISSUER")
            key_set = await self._read(str(metadata.get("jwks_uri")))
            keys = _keys(key_set)
            if not keys:
                raise ProviderAwayError("it has no keys that can be used")
        except Exception as error:  # whatever it answers: who waits reads that it is away
            log.warning("cannot read the keys of the identity provider: %s", error)
            return
        usable = {"keys": [dict(key.as_dict(private=False)) for key in keys.values()]}
        self._known = Discovered(metadata, keys, usable, time.monotonic())

    async def _read(self, url: str) -> dict[str, Any]:
        """Return a JSON object. Raises ProviderAwayError."""
        answer = await self._egress.send(
            HOME,
            "GET",
            url,
            {"accept": "application/json"},
            b"",
            _FETCH_SECONDS,
            max_body_bytes=_MAX_DOCUMENT_BYTES,
        )
        if answer.status_code != 200 or not answer.complete:
            raise ProviderAwayError(f"{url}: {answer.error or answer.status_code}")
        try:
            document = json.loads(answer.body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise ProviderAwayError(f"{url}: not a JSON object")
        return document


async def caller_for(keys: KeyRing, person: Person, actor: str, expires_at: datetime) -> Caller | None:
    """Return the caller that a person is, with what its permissions and roles give now, or None if there is no such
    tenant."""
    granted = await keys.granted(person.tenant, person.grants)
    if granted is None:
        return None
    permissions = granted.permissions
    return Caller(
        tenant=person.tenant,
        permissions=permissions if person.client_identifier is None else permissions & OF_CONSUMERS,
        actor=actor,
        name=person.name,
        client_identifier=person.client_identifier,
        expires_at=expires_at,
        lasts_until=expires_at if actor.startswith("token:") else None,
        suspended=granted.suspended,
    )


def _keys(key_set: dict[str, Any]) -> dict[str, Key]:
    """Return the public keys that can be used, by their id. Others are left out: one of a new kind must not make all
    unusable."""
    found: dict[str, Key] = {}
    listed = key_set.get("keys")
    for one in listed if isinstance(listed, list) else ():
        if not isinstance(one, dict) or one.get("kty") not in ("RSA", "EC", "OKP") or one.get("use", "sig") != "sig":
            continue
        with contextlib.suppress(JoseError, ValueError, TypeError, KeyError):
            [key] = KeySet.import_key_set({"keys": [jwk.import_key(one).as_dict(private=False)]}).keys
            if isinstance(one.get("kid"), str):
                found[one["kid"]] = key
    return found


def _value(claims: dict[str, Any], name: str) -> Any:
    return value_at(name, claims) if name.startswith("/") else claims.get(name)


def _word(claims: dict[str, Any], name: str) -> str | None:
    value = _value(claims, name)
    return value if _is_word(value) else None


def _is_word(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_WORD_CHARACTERS and value.isprintable()


def _grants(claims: dict[str, Any], name: str) -> frozenset[str]:
    value = _value(claims, name)
    listed = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
    return frozenset([item for item in listed if _is_word(item)][:_MAX_GRANTS])
