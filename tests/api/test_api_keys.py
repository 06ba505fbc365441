"""API keys and roles: shown once, never wider than their maker, revoked, expiring."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from webhooks.identity.permissions import ROLES
from webhooks.testing.platform_process import Json, PlatformProcess, until


async def make_key(platform: PlatformProcess, **fields: Any) -> Json:
    return await platform.post("/v1/api-keys", {"name": "shop", **fields}, expect=201)


@contextlib.asynccontextmanager
async def calling(platform: PlatformProcess, key: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=platform.http.base_url, headers={"authorization": f"Bearer {key}"}) as client:
        yield client


async def test_a_key_is_shown_once_and_works(platform: PlatformProcess) -> None:
    made = await make_key(platform, role="publisher")
    shown = await platform.get(f"/v1/api-keys/{made['id']}")
    listed = (await platform.get("/v1/api-keys", limit=1))["items"]
    async with calling(platform, made["key"]) as client:
        answer = await client.get("/v1/events")

    assert answer.status_code == 200
    assert made["key"].startswith(made["prefix"])
    assert len(made["prefix"]) == 10
    assert shown == {name: value for name, value in made.items() if name != "key"}
    assert listed == [shown]
    assert shown["role"] == "publisher"
    assert shown["permissions"] is None
    assert shown["created_by"].startswith("key:")


async def test_no_key_is_in_the_database(platform: PlatformProcess) -> None:
    made = await make_key(platform, role="viewer")
    files = b"".join(file.read_bytes() for file in platform.data_dir.glob("webhooks.db*"))

    assert made["key"].encode() not in files
    assert made["key"] not in platform.log


async def test_the_last_use_is_shown(platform: PlatformProcess) -> None:
    made = await make_key(platform, role="viewer")
    before = datetime.now(UTC)
    async with calling(platform, made["key"]) as client:
        await client.get("/v1/events")

    async def noted() -> bool:
        return (await platform.get(f"/v1/api-keys/{made['id']}"))["last_used_at"] is not None

    assert made["last_used_at"] is None
    await until(noted, timeout=10, what="the use is noted")
    used = datetime.fromisoformat((await platform.get(f"/v1/api-keys/{made['id']}"))["last_used_at"])
    assert before - timedelta(seconds=1) < used < datetime.now(UTC)


async def test_a_revoked_key_ends(platform: PlatformProcess) -> None:
    made = await make_key(platform, role="viewer")
    async with calling(platform, made["key"]) as client:
        before = await client.get("/v1/events")
        await platform.call("DELETE", f"/v1/api-keys/{made['id']}", expect=204)
        after = await client.get("/v1/events")

    assert [before.status_code, after.status_code] == [200, 401]
    await platform.get(f"/v1/api-keys/{made['id']}", expect=404)


async def test_an_expired_key_ends_and_says_so(platform: PlatformProcess) -> None:
    expires_at = datetime.now(UTC) + timedelta(seconds=3)
    made = await make_key(platform, role="viewer", expires_at=expires_at.isoformat())

    async with calling(platform, made["key"]) as client:
        assert (await client.get("/v1/events")).status_code == 200

        async def ended() -> bool:
            return (await client.get("/v1/events")).status_code == 401

        await until(ended, timeout=10, what="the key expires")
        answer = await client.get("/v1/events")
    assert datetime.now(UTC) >= expires_at
    assert answer.json()["detail"] == "the API key has expired"


@pytest.mark.parametrize(
    ("fields", "pointer", "detail"),
    [
        ({}, "/role", "give either role or permissions"),
        ({"role": "viewer", "permissions": ["event:list"]}, "/role", "give either role or permissions"),
        ({"role": "king"}, "/role", "no such role; use viewer, "),
        ({"permissions": []}, "/permissions", "must not be empty"),
        ({"permissions": ["event:list", "event:*"]}, "/permissions/1", "no such permission"),
        ({"role": "viewer", "expires_at": "2020-01-01T00:00:00Z"}, "/expires_at", "must be in the future"),
        ({"role": "viewer", "name": ""}, "/name", "must not be empty"),
        ({"role": "viewer", "tenant": "other"}, "/tenant", "there is no such field"),
    ],
)
async def test_a_wrong_field_is_named(
    platform: PlatformProcess, fields: dict[str, Any], pointer: str, detail: str
) -> None:
    problem = await platform.post("/v1/api-keys", {"name": "n", **fields}, expect=422)

    [error] = problem["errors"]
    assert error["pointer"] == pointer
    assert detail in error["detail"]


async def test_a_key_makes_no_wider_one(platform: PlatformProcess) -> None:
    """Neither by listing permissions, nor by a role, nor by a role of one's own."""
    narrow = ["event:list", "key:add", "key:list", "key:delete", "role:add", "role:edit"]
    made = await make_key(platform, permissions=narrow)
    own = f"role-{uuid4().hex}"
    await platform.post("/v1/roles", {"name": own, "permissions": ["event:list", "webhook:add"]}, expect=201)
    async with calling(platform, made["key"]) as client:

        async def ask(method: str, path: str, body: Json) -> httpx.Response:
            return await client.request(method, path, json=body)

        refused = [
            await ask("POST", "/v1/api-keys", {"name": "n", "permissions": ["webhook:add"]}),
            await ask("POST", "/v1/api-keys", {"name": "n", "role": "administrator"}),
            await ask("POST", "/v1/api-keys", {"name": "n", "role": "installation_administrator"}),
            await ask("POST", "/v1/api-keys", {"name": "n", "role": own}),
            await ask("POST", "/v1/roles", {"name": "n", "permissions": ["tenant:add"]}),
            await ask("PATCH", f"/v1/roles/{own}", {"permissions": ["event:list"]}),
        ]
        allowed = await ask("POST", "/v1/api-keys", {"name": "n", "permissions": ["event:list", "key:list"]})

    assert [answer.status_code for answer in refused] == [403] * 6
    assert "webhook:add" in refused[0].json()["detail"]
    assert allowed.status_code == 201


async def test_a_role_of_ones_own(platform: PlatformProcess) -> None:
    """As EngageIP names one. A change reaches its keys."""
    name = f"EntityEvent (Add, List) {uuid4().hex}"
    body = {"name": name, "permissions": ["event:list", "event:add", "event:add"]}
    role = await platform.post("/v1/roles", body, expect=201)
    made = await make_key(platform, role=name)
    problem = await platform.post("/v1/roles", body, expect=409)
    in_use = await platform.call("DELETE", f"/v1/roles/{name}", expect=409)
    async with calling(platform, made["key"]) as client:
        before = await client.post("/v1/events", json={"key": f"Event-{uuid4().hex}"})
        await platform.call("PATCH", f"/v1/roles/{name}", {"permissions": ["event:list"]}, expect=200)
        after = await client.post("/v1/events", json={"key": f"Event-{uuid4().hex}"})
    await platform.call("DELETE", f"/v1/api-keys/{made['id']}", expect=204)
    await platform.call("DELETE", f"/v1/roles/{name}", expect=204)

    assert role["permissions"] == ["event:add", "event:list"]
    assert problem["errors"] == [{"pointer": "/name", "detail": "already exists"}]
    assert in_use["detail"] == "an API key has this role; revoke the key first"
    assert [before.status_code, after.status_code] == [201, 403]
    await platform.get(f"/v1/roles/{name}", expect=404)


async def test_built_in_roles_are_listed_and_stay(platform: PlatformProcess) -> None:
    listed = (await platform.get("/v1/roles"))["items"]

    assert [role["name"] for role in listed[: len(ROLES)]] == list(ROLES)
    assert all(role["permissions"] == sorted(ROLES[role["name"]]) for role in listed if role["built_in"])
    for method, body in (("PATCH", {"permissions": ["event:list"]}), ("DELETE", None)):
        problem = await platform.call(method, "/v1/roles/viewer", body, expect=409)
        assert problem["detail"] == "a built-in role cannot be changed; create one of your own"


async def test_bodies_are_a_permission_of_their_own(platform: PlatformProcess, receiver: Any, path: str) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.url(path))
    published = await platform.publish(event, {"secret": "canary-of-the-body"})
    id = await platform.delivery(published)
    whole = await platform.wait(id, "delivered")
    made = await make_key(platform, role="viewer")
    async with calling(platform, made["key"]) as client:
        answer = await client.get(f"/v1/deliveries/{id}")
        data = await client.get(f"/v1/occurrences/{published['id']}")

    assert "canary-of-the-body" in whole["request"]["body"]
    assert answer.status_code == 200
    assert "canary" not in answer.text
    assert answer.json()["request"]["body"] is None
    [attempt] = answer.json()["attempts"]
    assert (attempt["response_body"], attempt["request_headers"], attempt["response_headers"]) == (None, None, None)
    assert (attempt["outcome"], attempt["timing"]) == ("delivered", whole["attempts"][0]["timing"])
    assert attempt["timing"]["wait"] is not None
    assert data.status_code == 403


@pytest.mark.thorough
async def test_the_last_lasting_administrator_s_key_stays(own: PlatformProcess) -> None:
    await own.start(ready=False)
    [first] = (await own.get("/v1/api-keys"))["items"]
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    await make_key(own, role="installation_administrator", expires_at=soon)
    problem = await own.call("DELETE", f"/v1/api-keys/{first['id']}", expect=409)
    second = await make_key(own, role="installation_administrator")
    await own.call("DELETE", f"/v1/api-keys/{first['id']}", expect=204)
    async with calling(own, second["key"]) as client:
        left = (await client.get("/v1/api-keys")).json()["items"]
    await own.stop()

    assert first["prefix"] == ""
    assert "the last key with the role installation_administrator" in problem["detail"]
    assert next(key["id"] for key in left) == second["id"]
    assert first["id"] not in [key["id"] for key in left]


async def test_a_token_makes_no_key_that_outlives_it(platform: PlatformProcess) -> None:
    token = await platform.post("/v1/tokens", {"permissions": ["key:add", "event:list"]}, expect=201)
    body = {"name": "n", "permissions": ["event:list"]}
    end = datetime.fromisoformat(token["expires_at"])
    async with calling(platform, token["token"]) as client:
        lasting = await client.post("/v1/api-keys", json=body)
        longer = await client.post(
            "/v1/api-keys", json={**body, "expires_at": (end + timedelta(seconds=1)).isoformat()}
        )
        within = await client.post("/v1/api-keys", json={**body, "expires_at": end.isoformat()})

    assert [lasting.status_code, longer.status_code, within.status_code] == [403, 403, 201]
    assert "must expire before the key or token" in lasting.json()["detail"]


async def test_neither_does_a_key_that_expires(platform: PlatformProcess) -> None:
    """Not even by a key between: a token makes one that expires with it, and that one makes none that lasts."""
    end = datetime.now(UTC) + timedelta(minutes=5)
    between = await make_key(platform, permissions=["key:add", "event:list"], expires_at=end.isoformat())
    async with calling(platform, between["key"]) as client:
        lasting = await client.post("/v1/api-keys", json={"name": "n", "permissions": ["event:list"]})

    assert lasting.status_code == 403


async def test_a_limited_key_makes_none_that_publishes(platform: PlatformProcess) -> None:
    """Each would add its own rate."""
    made = await make_key(platform, permissions=["key:add", "occurrence:publish", "event:list"], publish_rate=7)
    async with calling(platform, made["key"]) as client:
        listed = await client.post(
            "/v1/api-keys", json={"name": "n", "permissions": ["occurrence:publish"], "publish_rate": 1}
        )
        reading = await client.post("/v1/api-keys", json={"name": "n", "permissions": ["event:list"]})

    assert [listed.status_code, reading.status_code] == [403, 201]


@pytest.mark.parametrize("name", ["a/b", "/", "..", ".", "a\\b", "a\x00", ""])
async def test_a_role_has_a_name_that_a_path_can_have(platform: PlatformProcess, name: str) -> None:
    problem = await platform.post("/v1/roles", {"name": name, "permissions": ["event:list"]}, expect=422)

    assert [error["pointer"] for error in problem["errors"]] == ["/name"]
