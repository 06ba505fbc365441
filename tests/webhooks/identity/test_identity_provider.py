"""Access tokens of a customer's identity provider: a real one on loopback, with real and forged tokens."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
from joserfc.jwk import OctKey, RSAKey

from tests.support.fresh_database import migrated
from tests.support.identity_provider import AUDIENCE, CLIENT_ID, IdentityProvider, ec_key, rsa_key
from webhooks.egress.client import Egress
from webhooks.identity import identity_provider as ours
from webhooks.identity.caller import Caller
from webhooks.identity.keyring import KeyRing
from webhooks.identity.permissions import OF_CONSUMERS, PERMISSIONS, ROLES
from webhooks.identity.tokens import Tokens
from webhooks.settings import Settings
from webhooks.store.database import Database
from webhooks.store.models import Role, Tenant
from webhooks.testing.receiver import Reply


@dataclass
class Place:
    provider: IdentityProvider
    database: Database
    egress: Egress
    keys: KeyRing
    folder: Path
    opened: list[ours.IdentityProvider]

    def tokens(self, **settings: Any) -> Tokens:
        """What a fresh process with these settings has."""
        all_settings = {"oidc_issuer": self.provider.issuer, "oidc_audience": AUDIENCE} | settings
        known = ours.IdentityProvider.of(Settings(data_dir=self.folder, **all_settings), self.egress, self.keys)
        assert known
        self.opened.append(known)
        return Tokens(known)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    database = await migrated(Settings(data_dir=tmp_path))
    async with database.write() as session:
        session.add(Tenant(id="acme", name="acme"))
    egress = Egress([ip_network("127.0.0.0/8")])
    async with IdentityProvider().serving() as provider:
        place = Place(provider, database, egress, KeyRing(database), tmp_path, [])
        yield place
        for known in place.opened:
            await known.close()
    await egress.close()
    await database.close()


async def test_its_access_token_is_accepted(place: Place) -> None:
    token = place.provider.access_token()
    caller = await place.tokens().caller_of(token)

    assert caller
    assert caller == Caller(
        tenant="default",
        permissions=ROLES["viewer"],
        actor="token:person-1",
        name="Ada",
        expires_at=caller.expires_at,
        lasts_until=caller.expires_at,
    )
    assert caller.expires_at
    assert 590 < caller.expires_at.timestamp() - time.time() <= 600


async def test_es256_and_other_types_of_access_tokens(place: Place) -> None:
    place.provider.keys.append(ec_key("ec"))
    tokens = place.tokens()
    accepted = [
        place.provider.access_token(key=place.provider.keys[1]),
        place.provider.access_token(header={"typ": "JWT"}),
        place.provider.access_token(header={"typ": "application/at+jwt"}),
        place.provider.access_token(header={"typ": "JWT", "x5t": "abc", "unknown": 1}, typ="Bearer"),
        place.provider.access_token(aud=["https://other.example", AUDIENCE]),
    ]

    assert None not in [await tokens.caller_of(token) for token in accepted]


REFUSED: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://evil.example"},
    "another audience": {"aud": "https://other.example"},
    "no audience": {"aud": None},
    "expired": {"exp": int(time.time()) - 100},
    "no expiry": {"exp": None},
    "no subject": {"sub": None},
    "not yet": {"nbf": int(time.time()) + 1000},
    "an ID token": {"header": {"typ": "JWT"}, "nonce": "n"},
    "an ID token with a hash": {"header": {"typ": "JWT"}, "at_hash": "h"},
    "an ID token of Keycloak": {"header": {"typ": "JWT"}, "typ": "ID"},
    "an ID token for us": {"header": {"typ": "JWT"}, "aud": [CLIENT_ID, AUDIENCE]},
    "a logout token": {"header": {"typ": "logout+jwt"}},
    "a proof of possession": {"header": {"typ": "dpop+jwt"}},
    "an algorithm that is not ours": {"header": {"alg": "PS256"}},
    "another key": {"key": rsa_key("first")},
    "an unknown key": {"key": rsa_key("stranger")},
    "too long": {"padding": "x" * 17_000},
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_another_token_is_refused(place: Place, kind: str) -> None:
    tokens = place.tokens(oidc_client_id=CLIENT_ID, oidc_client_secret="s", public_url="https://h.example")
    assert await tokens.caller_of(place.provider.access_token()) is not None

    assert await tokens.caller_of(place.provider.access_token(**REFUSED[kind])) is None


@pytest.mark.filterwarnings("ignore::UserWarning")
async def test_key_confusion_and_no_algorithm_are_refused(place: Place) -> None:
    key, tokens = place.provider.keys[0], place.tokens()
    assert isinstance(key, RSAKey)
    claims = pyjwt.decode(place.provider.access_token(), options={"verify_signature": False})
    public = key.as_dict(private=False)
    secret = OctKey.import_key(str(public["n"]), {"kid": "first", "alg": "HS256"})
    forged = [
        place.provider.access_token(key=secret),
        pyjwt.encode(claims, None, "none", {"kid": "first"}),  # type: ignore[arg-type]
        pyjwt.encode(claims, str(public["n"]), "HS256", {"kid": "first"}),
        pyjwt.encode(claims, key.as_pem(private=True), "RS256"),  # no kid
    ]

    assert await tokens.caller_of(place.provider.access_token()) is not None
    assert [await tokens.caller_of(token) for token in forged] == [None] * 4


async def test_claims_name_tenant_permissions_and_client(place: Place) -> None:
    async with place.database.write() as session:
        session.add(Role(tenant="acme", name="Entity (Add)", permissions=["event:add", "tenant:add"]))
    tokens = place.tokens(
        oidc_tenant_claim="https://acme.example/tenant",
        oidc_permissions_claim="/realm_access/roles",
        oidc_client_claim="client",
    )

    async def caller(tenant: object, roles: object, **claims: Any) -> Caller | None:
        fields: dict[str, Any] = {"https://acme.example/tenant": tenant, "realm_access": {"roles": roles}, **claims}
        return await tokens.caller_of(place.provider.access_token(**fields))

    own = await caller("acme", ["Entity (Add)", "delivery:list", "nonsense", 7, "webhook:*"])
    text = await caller("acme", "event:list delivery:list")
    wide = await caller("acme", ["installation_administrator", "tenant:add"])
    home = await caller("default", ["installation_administrator"])
    confined = await caller("acme", ["administrator"], client="client-7")
    nothing = await caller("acme", None)

    assert own
    assert (own.tenant, own.permissions) == ("acme", frozenset({"event:add", "delivery:list"}))
    assert text
    assert text.permissions == {"event:list", "delivery:list"}
    assert wide
    assert wide.permissions == ROLES["administrator"]
    assert home
    assert home.permissions == PERMISSIONS
    assert confined
    assert (confined.client_identifier, confined.permissions) == ("client-7", OF_CONSUMERS)
    assert nothing
    assert nothing.permissions == frozenset()
    assert await caller(None, ["viewer"]) is None
    assert await caller("unknown", ["viewer"]) is None
    assert await caller(["acme"], ["viewer"]) is None
    assert await caller("acme", ["viewer"], client=["client-7"]) is None


async def test_a_new_key_is_asked_for_once_in_a_while(place: Place) -> None:
    tokens, provider = place.tokens(), place.provider
    assert await tokens.caller_of(provider.access_token()) is not None
    place.opened[0]._asked_at -= 100
    provider.keys.insert(0, rsa_key("second"))
    assert await tokens.caller_of(provider.access_token()) is not None
    fetched = provider.asked("/keys")
    stranger = rsa_key("stranger")
    for _ in range(20):
        assert await tokens.caller_of(provider.access_token(key=stranger)) is None

    assert fetched == provider.asked("/keys") == 2


async def test_a_withdrawn_key_ends_its_tokens(place: Place) -> None:
    tokens, provider = place.tokens(), place.provider
    token = provider.access_token()
    assert await tokens.caller_of(token) is not None
    provider.keys = [rsa_key("second")]
    place.opened[0]._asked_at -= 100
    assert await tokens.caller_of(provider.access_token()) is not None

    assert await tokens.caller_of(token) is None


async def test_while_it_is_away_known_keys_go_on_and_nothing_else(place: Place, monkeypatch: Any) -> None:
    tokens, provider = place.tokens(), place.provider
    before = await tokens.caller_of(provider.access_token())
    provider.tell("/keys", 503)
    place.opened[0]._asked_at -= 100
    monkeypatch.setattr(ours, "_REFRESHED_AFTER", 0)
    again = await tokens.caller_of(provider.access_token())
    unknown = await tokens.caller_of(provider.access_token(key=rsa_key("stranger")))
    monkeypatch.setattr(ours, "_TRUSTED_FOR", 0)

    assert before
    assert again
    assert unknown is None
    with pytest.raises(ours.ProviderAwayError, match="not reachable"):
        await tokens.caller_of(provider.access_token())


@pytest.mark.parametrize(
    "answer",
    [
        500,
        Reply(200, b"[]"),
        Reply(200, b"{" * 5_000),
        Reply(200, b'{"issuer": "https://evil.example"}'),
        Reply(302, headers={"location": "https://evil.example/"}),
    ],
    ids=["500", "a list", "not JSON", "another issuer", "a redirect"],
)
async def test_a_wrong_discovery_document_gives_no_keys(place: Place, answer: Any) -> None:
    place.provider.tell("/.well-known/openid-configuration", answer)
    tokens = place.tokens()

    with pytest.raises(ours.ProviderAwayError):
        await tokens.caller_of(place.provider.access_token())
    assert place.provider.asked("/keys") == 0


async def test_an_odd_key_does_not_make_the_others_unusable(place: Place) -> None:
    good = place.provider.keys[0].as_dict(private=False)
    odd: list[Any] = [{"kty": "AKP", "kid": "new"}, {"kty": "oct", "k": "c2VjcmV0", "kid": "s"}, {"kty": "RSA"}, 7]
    place.provider.metadata["jwks_uri"] = place.provider.issuer + "/odd"
    place.provider.tell("/odd", Reply(200, json.dumps({"keys": [*odd, good]}).encode()))

    assert await place.tokens().caller_of(place.provider.access_token()) is not None


async def test_it_is_reached_by_the_guarded_way_out_only(place: Place) -> None:
    guarded = Egress([])
    settings = Settings(data_dir=place.folder, oidc_issuer=place.provider.issuer, oidc_audience=AUDIENCE)
    known = ours.IdentityProvider.of(settings, guarded, place.keys)
    assert known
    with pytest.raises(ours.ProviderAwayError):
        await Tokens(known).caller_of(place.provider.access_token())
    await known.close()
    await guarded.close()

    assert place.provider.asked("/.well-known/openid-configuration") == 0
