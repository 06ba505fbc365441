"""Our own tokens: what they say, who can verify them, and what is refused. joserfc and PyJWT make the forged ones."""

import base64
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, OKPKey, RSAKey

from tests.support.fresh_database import migrated
from webhooks.credentials.vault import Vault, new_key
from webhooks.identity import lookups
from webhooks.identity.caller import Caller
from webhooks.identity.keyring import KeyRing
from webhooks.identity.permissions import OF_CONSUMERS, PERMISSIONS
from webhooks.identity.signing_keys import SigningKeys
from webhooks.identity.tokens import OwnTokens, Tokens, looks_like_a_token
from webhooks.identity.verifying import LEEWAY_SECONDS, MAX_TOKEN_CHARACTERS, PinnedAlgorithms
from webhooks.settings import Settings
from webhooks.store import api_keys
from webhooks.store.database import Database
from webhooks.store.models import Tenant

ISSUER = "https://hooks.example"
ONE_DAY = timedelta(days=1)
ANY = PinnedAlgorithms(["EdDSA", "HS256", "RS256", "none"])
Json = dict[str, Any]


@dataclass
class Place:
    """A database with one API key, and what a process knows of it."""

    database: Database
    vault: Vault
    key: str
    caller: Caller
    keys: KeyRing
    signing_keys: SigningKeys
    own: OwnTokens
    tokens: Tokens

    @classmethod
    async def of(cls, database: Database, vault: Vault, key: str) -> "Place":
        keys, signing_keys = KeyRing(database), SigningKeys(database, vault)
        caller = await keys.caller_of(key)
        assert caller
        own = OwnTokens(ISSUER, signing_keys, keys)
        return cls(database, vault, key, caller, keys, signing_keys, own, Tokens(own))

    async def other_process(self) -> "Place":
        return await self.of(self.database, self.vault, self.key)

    async def token(self, *permissions: str, seconds: float = 900, client: str | None = None) -> str:
        wanted = frozenset(permissions) or self.caller.permissions
        return (await self.own.issue(self.caller, wanted, timedelta(seconds=seconds), client)).token

    async def private_key(self) -> OKPKey:
        return await self.signing_keys.signing()


@pytest.fixture
async def place(settings: Settings) -> AsyncIterator[Place]:
    database, vault = await migrated(settings), Vault(new_key())
    async with database.write() as session:
        session.add(Tenant(id="acme", name="acme"))
        api_keys.add(session, tenant="acme", name="shop", key="a-key", role="administrator")
    place = await Place.of(database, vault, "a-key")
    yield place
    await place.keys.close()
    await database.close()


def parts(token: str) -> tuple[Json, Json]:
    """The header and the claims, unverified."""
    first, second, _ = token.split(".")
    return json.loads(unpadded(first)), json.loads(unpadded(second))


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def packed(value: object) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


async def test_a_token_says_whose_it_is_and_works_in_every_process(place: Place) -> None:
    token = await place.token("event:list", "event:add")
    header, claims = parts(token)
    callers = [await process.tokens.caller_of(token) for process in (place, await place.other_process())]

    assert looks_like_a_token(token)
    assert header == {"alg": "EdDSA", "typ": "at+jwt", "kid": header["kid"]}
    assert claims["iss"] == claims["aud"] == ISSUER
    assert claims["sub"] == place.caller.key_id
    assert claims["tenant"] == "acme"
    assert claims["scope"] == "event:add event:list"
    assert claims["exp"] - claims["iat"] == 900
    assert claims["nbf"] == claims["iat"]
    assert abs(claims["iat"] - time.time()) < 60
    assert len(claims["jti"]) >= 22
    assert (
        callers
        == [
            Caller(
                tenant="acme",
                permissions=frozenset({"event:add", "event:list"}),
                actor=f"token:{place.caller.key_id}",
                name="shop",
                key_id=place.caller.key_id,
                expires_at=datetime.fromtimestamp(claims["exp"], UTC),
                lasts_until=datetime.fromtimestamp(claims["exp"], UTC),
            )
        ]
        * 2
    )


async def test_other_libraries_verify_it_with_the_published_keys(place: Place) -> None:
    token = await place.token("event:list")
    published = {"keys": await place.signing_keys.published()}
    by_pyjwt = pyjwt.decode(
        token, pyjwt.PyJWKSet.from_dict(published)[parts(token)[0]["kid"]], ["EdDSA"], audience=ISSUER, issuer=ISSUER
    )
    by_joserfc = jwt.decode(token, KeySet.import_key_set(published), registry=ANY)  # type: ignore[arg-type]

    assert by_pyjwt == by_joserfc.claims == parts(token)[1]
    assert all("d" not in key for key in published["keys"])


async def test_no_two_tokens_are_equal(place: Place) -> None:
    assert await place.token() != await place.token()


async def test_a_token_is_never_wider_than_its_maker(place: Place) -> None:
    narrow = replace(place.caller, permissions=frozenset({"event:list", "token:add"}))
    issued = await place.own.issue(narrow, PERMISSIONS, ONE_DAY)
    caller = await place.tokens.caller_of(issued.token)

    assert issued.permissions == narrow.permissions
    assert caller
    assert caller.permissions == narrow.permissions


async def test_a_token_follows_its_key_when_that_may_do_less(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "SECONDS", 0)
    token = await place.token("event:list", "event:add")
    async with place.database.write() as session:
        row = await api_keys.get(session, "acme", str(place.caller.key_id), lock=True)
        assert row
        row.role = "viewer"
    caller = await place.tokens.caller_of(token)

    assert caller
    assert caller.permissions == {"event:list"}


async def test_a_token_expires_with_its_maker_and_after_an_hour_at_the_latest(place: Place) -> None:
    now = datetime.now(UTC)
    soon = now.replace(microsecond=0) + timedelta(seconds=40)
    by_key = await place.own.issue(replace(place.caller, expires_at=soon), PERMISSIONS, ONE_DAY)
    longest = await place.own.issue(place.caller, PERMISSIONS, ONE_DAY)
    maker = await place.tokens.caller_of(by_key.token)
    assert maker
    by_token = await place.own.issue(maker, PERMISSIONS, ONE_DAY)

    assert by_key.expires_at == by_token.expires_at == soon
    assert now + timedelta(minutes=59) < longest.expires_at <= datetime.now(UTC) + timedelta(hours=1)


async def test_a_token_for_a_client_can_do_little(place: Place) -> None:
    token = await place.token(client="client-7")
    caller = await place.tokens.caller_of(token)

    assert caller
    assert caller.client_identifier == "client-7"
    assert caller.permissions == OF_CONSUMERS
    assert not any(name.startswith(("key:", "token:", "role:", "tenant:", "occurrence:")) for name in OF_CONSUMERS)


async def test_a_client_s_token_that_says_more_is_confined(place: Place) -> None:
    """Whoever changes the set later must not widen old tokens, or trust what they say."""
    key = await place.private_key()
    claims = parts(await place.token(client="client-7"))[1] | {"scope": "key:add webhook:list"}
    caller = await place.tokens.caller_of(signed(key, claims))

    assert caller
    assert caller.permissions == {"webhook:list"}


def signed(key: Any, claims: Json, **header: Any) -> str:
    return jwt.encode({"alg": "EdDSA", "typ": "at+jwt", "kid": key.kid} | header, claims, key, registry=ANY)


async def forged(place: Place, kind: str) -> str:
    """A token that must be refused. Each differs from a good one in one way."""
    key, good = await place.private_key(), await place.token()
    header, claims = parts(good)
    named = {"kid": header["kid"], "typ": header["typ"]}
    first, second, signature = good.split(".")
    now = int(time.time())
    public = (await place.signing_keys.published())[0]
    pem = key.as_pem(private=False)
    stranger = OKPKey.generate_key("Ed25519", {"kid": header["kid"]})
    match kind:
        case "no signature":
            return f"{first}.{second}."
        case "alg none":
            return f"{packed(header | {'alg': 'none'})}.{second}."
        case "alg none by pyjwt":
            return pyjwt.encode(claims, None, "none", named)  # type: ignore[arg-type]
        case "alg None in capitals":
            return f"{packed(header | {'alg': 'NONE'})}.{second}."
        case "another key":
            return signed(stranger, claims)
        case "another key by pyjwt":
            return pyjwt.encode(claims, Ed25519PrivateKey.generate(), "EdDSA", named)
        case "another key in the header":
            return signed(stranger, claims, jwk=stranger.as_dict(private=False))
        case "another key by its address":
            return signed(stranger, claims, jku="https://evil.example/jwks.json")
        case "RSA":
            rsa = RSAKey.generate_key(2048, {"kid": header["kid"]})
            return signed(rsa, claims, alg="RS256")
        case "HS256 with the public key":
            return signed(OctKey.import_key(unpadded(public["x"])), claims, alg="HS256", kid=key.kid)
        case "HS256 with the public key as PEM":
            head = packed(header | {"alg": "HS256"})
            return f"{head}.{second}.{packed(pyjwt.algorithms.HMACAlgorithm(pyjwt.algorithms.HMACAlgorithm.SHA256).sign(f'{head}.{second}'.encode(), pem))}"  # noqa: E501
        case "HS256 by pyjwt":
            return pyjwt.encode(claims, unpadded(public["x"]), "HS256", named)
        case "unknown kid":
            return signed(key, claims, kid="01a")
        case "no kid":
            return pyjwt.encode(claims, key.as_pem(private=True), "EdDSA", {"typ": "at+jwt"})
        case "kid is a list":
            return f"{packed(header | {'kid': [key.kid]})}.{second}.{signature}"
        case "kid is a path":
            return signed(key, claims, kid="../../etc/passwd")
        case "changed claims":
            return f"{first}.{packed(claims | {'tenant': 'default'})}.{signature}"
        case "changed header":
            return f"{packed(header | {'typ': 'at+JWT '})}.{second}.{signature}"
        case "an id token":
            return signed(key, claims, typ="JWT")
        case "no typ":
            return jwt.encode({"alg": "EdDSA", "kid": key.kid}, claims, key, registry=ANY, default_type=None)
        case "another issuer":
            return signed(key, claims | {"iss": "https://evil.example"})
        case "issuer with a slash":
            return signed(key, claims | {"iss": ISSUER + "/"})
        case "another audience":
            return signed(key, claims | {"aud": "https://other.example"})
        case "expired":
            return signed(key, claims | {"exp": now - LEEWAY_SECONDS - 1})
        case "expires never":
            return signed(key, claims | {"exp": None})
        case "expires as text":
            return signed(key, claims | {"exp": "9999999999"})
        case "not yet":
            return signed(key, claims | {"nbf": now + LEEWAY_SECONDS + 60})
        case "issued in the future":
            return signed(key, claims | {"iat": now + LEEWAY_SECONDS + 60})
        case "critical extension":
            return f"{packed(header | {'crit': ['x'], 'x': 1})}.{second}.{signature}"
        case "too long":
            return signed(key, claims | {"padding": "x" * MAX_TOKEN_CHARACTERS})
        case "10 MB":
            return f"{first}.{'A' * 10_000_000}.{signature}"
        case "nested":
            return f"{packed(b'[' * 3_000)}.{second}.{signature}"
        case "nested claims":
            return f"{first}.{packed(b'[' * 9_000)}.{signature}"
        case "an object in place of the issuer":
            return f"{first}.{packed({'iss': {'a': 1}})}.{signature}"
        case "claims are a list":
            return f"{first}.{packed([ISSUER])}.{signature}"
        case "encrypted":
            return f"{good}..{second}.{signature}"
        case "not base64":
            return f"{first}.%%%.{signature}"
        case "not ASCII":
            return f"{first}.{second}.ÿþ"
        case "empty parts":
            return ".."
        case _:  # without one of the claims
            assert kind in claims
            return signed(key, {name: value for name, value in claims.items() if name != kind})


FORGED = """
    no signature,alg none,alg none by pyjwt,alg None in capitals,another key,another key by pyjwt,
    another key in the header,another key by its address,RSA,HS256 with the public key,
    HS256 with the public key as PEM,HS256 by pyjwt,unknown kid,no kid,kid is a list,kid is a path,changed claims,
    changed header,an id token,no typ,another issuer,issuer with a slash,another audience,expired,expires never,
    expires as text,not yet,issued in the future,critical extension,too long,10 MB,nested,nested claims,
    an object in place of the issuer,claims are a list,encrypted,not base64,not ASCII,empty parts,
    iss,aud,sub,tenant,exp,iat,nbf,jti
"""


@pytest.mark.parametrize("kind", [kind.strip() for kind in FORGED.split(",")])
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_a_forged_token_is_refused(place: Place, kind: str) -> None:
    token = await forged(place, kind)

    assert await place.tokens.caller_of(token) is None
    assert await place.tokens.caller_of(token) is None  # nor is it remembered
    assert await place.tokens.caller_of(await place.token()) is not None


async def test_clocks_may_differ_a_little(place: Place) -> None:
    key, claims = await place.private_key(), parts(await place.token())[1]
    now = int(time.time())
    late = signed(key, claims | {"exp": now - LEEWAY_SECONDS + 10})
    early = signed(key, claims | {"nbf": now + LEEWAY_SECONDS - 10, "iat": now + LEEWAY_SECONDS - 10})

    assert await place.tokens.caller_of(late) is not None
    assert await place.tokens.caller_of(early) is not None


async def test_a_remembered_token_expires(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    token = await place.token(seconds=60)
    before, now = await place.tokens.caller_of(token), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 60 + LEEWAY_SECONDS)

    assert before is not None
    assert await place.tokens.caller_of(token) is None


async def test_a_token_ends_with_its_key(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "SECONDS", 0)
    other, token = await place.other_process(), await place.token()
    before = [await process.tokens.caller_of(token) for process in (place, other)]
    async with place.database.write() as session:
        await api_keys.revoke_all(session, "acme")

    assert None not in before
    assert [await process.tokens.caller_of(token) for process in (place, other)] == [None, None]


async def test_tokens_of_a_tenant_end_when_it_is_deleted(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "SECONDS", 0)
    token, found = await place.token(), []
    for change in ({}, {"suspended": True}, {"deleting_since": datetime.now(UTC)}):
        async with place.database.write() as session:
            tenant = await session.get_one(Tenant, "acme")
            for name, value in change.items():
                setattr(tenant, name, value)
        found.append(await place.tokens.caller_of(token))

    assert [caller and caller.suspended for caller in found] == [False, True, None]


async def test_the_process_that_revokes_a_key_ends_its_tokens_at_once(place: Place) -> None:
    token = await place.token()
    before = await place.tokens.caller_of(token)
    async with place.database.write() as session:
        await api_keys.revoke_all(session, "acme")
        place.keys.forget_after(session)

    assert before is not None
    assert await place.tokens.caller_of(token) is None


async def test_a_token_is_verified_once_and_then_asks_the_database_for_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await place.token()
    first = await place.tokens.caller_of(token)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was asked")

    monkeypatch.setattr(jwt, "decode", never)
    monkeypatch.setattr(place.database, "read", never)

    assert await place.tokens.caller_of(token) == first


async def test_only_so_many_tokens_are_remembered(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhooks.identity.tokens._MAX_REMEMBERED", 3)
    tokens = [await place.token() for _ in range(5)]
    for token in tokens:
        assert await place.tokens.caller_of(token) is not None

    assert len(place.tokens._verified) == 3
    assert await place.tokens.caller_of(tokens[0]) is not None
