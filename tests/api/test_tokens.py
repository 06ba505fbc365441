"""POST /v1/tokens and the published keys."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt as pyjwt
import pytest

from webhooks.identity.permissions import OF_CONSUMERS, ROLES
from webhooks.testing.platform_process import Json, PlatformProcess


@contextlib.asynccontextmanager
async def calling(platform: PlatformProcess, bearer: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {bearer}"}
    async with httpx.AsyncClient(base_url=platform.http.base_url, headers=headers) as client:
        yield client


async def key_with(platform: PlatformProcess, **fields: Any) -> Json:
    return await platform.post("/v1/api-keys", {"name": "shop", **fields}, expect=201)


async def test_a_token_is_used_like_a_key(platform: PlatformProcess) -> None:
    key = await key_with(platform, role="publisher")
    async with calling(platform, key["key"]) as client:
        made = await client.post("/v1/tokens", json={"permissions": ["event:list"]})
    token = made.json()
    async with calling(platform, token["token"]) as client:
        allowed, refused = await client.get("/v1/events"), await client.post("/v1/occurrences", json={})
    keys = await platform.http.get("/.well-known/jwks.json", headers={"authorization": ""})
    claims = pyjwt.decode(
        token["token"],
        pyjwt.PyJWKSet.from_dict(keys.json())[pyjwt.get_unverified_header(token["token"])["kid"]],
        ["EdDSA"],
        audience="durable-webhooks",
    )

    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    assert token["token_type"] == "Bearer"
    assert token["permissions"] == ["event:list"]
    assert token["client_identifier"] is None
    assert datetime.fromisoformat(token["expires_at"]).timestamp() == claims["exp"] == claims["iat"] + 900
    assert claims["sub"] == key["id"]
    assert [allowed.status_code, refused.status_code] == [200, 403]
    assert keys.headers["cache-control"] == "public, max-age=300"
    assert {"kty", "crv", "x", "kid", "use", "alg"} == set(keys.json()["keys"][0])
    assert token["token"] not in platform.log


async def test_revoking_the_key_ends_its_tokens(platform: PlatformProcess) -> None:
    key = await key_with(platform, role="publisher")
    async with calling(platform, key["key"]) as client:
        token = (await client.post("/v1/tokens", json={})).json()
    async with calling(platform, token["token"]) as client:
        before = await client.get("/v1/events")
        await platform.call("DELETE", f"/v1/api-keys/{key['id']}", expect=204)
        after = await client.get("/v1/events")

    assert token["permissions"] == sorted(ROLES["publisher"])
    assert [before.status_code, after.status_code] == [200, 401]
    assert after.json()["detail"] == "the token is not valid, or has expired"
    assert after.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def test_a_token_makes_no_token_that_is_wider_or_lives_longer(platform: PlatformProcess) -> None:
    token = await platform.post("/v1/tokens", {"permissions": ["token:add", "event:list"], "expires_in": 60})
    async with calling(platform, token["token"]) as client:
        wider = await client.post("/v1/tokens", json={"permissions": ["event:add"]})
        child = await client.post("/v1/tokens", json={"expires_in": 3600})

    assert wider.status_code == 403
    assert wider.json()["detail"] == "the caller does not have the permission event:add, and cannot give it"
    assert child.json()["expires_at"] == token["expires_at"]
    assert child.json()["permissions"] == ["event:list", "token:add"]


async def test_a_token_ends_with_an_expiring_key(platform: PlatformProcess) -> None:
    expires_at = (datetime.now(UTC) + timedelta(seconds=90)).replace(microsecond=0)
    key = await key_with(platform, role="publisher", expires_at=expires_at.isoformat())
    async with calling(platform, key["key"]) as client:
        token = (await client.post("/v1/tokens", json={})).json()

    assert datetime.fromisoformat(token["expires_at"]) == expires_at


async def test_a_token_for_a_client(platform: PlatformProcess) -> None:
    token = await platform.post("/v1/tokens", {"client_identifier": "client-7"}, expect=201)
    async with calling(platform, token["token"]) as client:
        refused = [await client.post("/v1/tokens", json={}), await client.get("/v1/api-keys")]

    assert token["permissions"] == sorted(OF_CONSUMERS)
    assert token["client_identifier"] == "client-7"
    assert [answer.status_code for answer in refused] == [403, 403]


@pytest.mark.parametrize(
    ("fields", "pointer", "detail"),
    [
        ({"expires_in": 0}, "/expires_in", "must be at least 1"),
        ({"expires_in": 3601}, "/expires_in", "must be at most 3600"),
        ({"permissions": []}, "/permissions", "must not be empty"),
        ({"permissions": ["event:*"]}, "/permissions/0", "no such permission"),
        ({"client_identifier": ""}, "/client_identifier", "must not be empty"),
        (
            {"client_identifier": "c", "permissions": ["event:list", "key:add"]},
            "/permissions/1",
            "a token for a client cannot have key:add",
        ),
        ({"tenant": "other"}, "/tenant", "there is no such field"),
    ],
)
async def test_a_wrong_field_is_named(
    platform: PlatformProcess, fields: dict[str, Any], pointer: str, detail: str
) -> None:
    problem = await platform.post("/v1/tokens", fields, expect=422)

    [error] = problem["errors"]
    assert error["pointer"] == pointer
    assert detail in error["detail"]


async def test_clients_of_one_key_get_no_answers_of_each_other(platform: PlatformProcess) -> None:
    """They may choose the same Idempotency-Key for the same call; the answer to a creation holds a secret."""
    answers = []
    for name in ("client-7", "client-8", "client-7"):
        token = await platform.post("/v1/tokens", {"client_identifier": name}, expect=201)
        async with calling(platform, token["token"]) as client:
            body = {"url": "https://receiver.example/"}
            answers.append(await client.post("/v1/webhooks", json=body, headers={"idempotency-key": "same"}))
    first, second, third = [answer.json()["id"] for answer in answers]

    assert first == third != second


async def test_a_repeated_call_makes_another_token(platform: PlatformProcess) -> None:
    headers = {"idempotency-key": "same"}
    made = [await platform.http.post("/v1/tokens", json={}, headers=headers) for _ in range(2)]

    assert [answer.status_code for answer in made] == [201, 201]
    assert made[0].json()["token"] != made[1].json()["token"]
