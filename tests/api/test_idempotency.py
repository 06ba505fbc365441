"""`Idempotency-Key`, and the headers of every answer."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from webhooks.testing.platform_process import PlatformProcess


async def post(platform: PlatformProcess, path: str, body: object, key: str) -> httpx.Response:
    return await platform.http.post(path, json=body, headers={"idempotency-key": key})


def bodies(event: str) -> dict[str, dict[str, Any]]:
    mark = uuid4().hex[:12]
    return {
        "/v1/events": {"key": f"Event-{mark}"},
        "/v1/webhooks": {"url": "http://127.0.0.1/", "event": event, "allowedClientIdentifiers": []},
        "/v1/api-keys": {"name": "n", "role": "viewer"},
        "/v1/roles": {"name": f"role-{mark}", "permissions": ["event:list"]},
        "/v1/tenants": {"id": f"t-{mark}", "name": "n"},
    }


@pytest.mark.parametrize("path", bodies(""))
async def test_a_repeated_call_gets_the_first_answer(platform: PlatformProcess, path: str) -> None:
    body, key = bodies(await platform.event())[path], f"key {uuid4()}"
    first = await post(platform, path, body, key)
    again = await post(platform, path, body, key)
    other = await post(platform, path, {**body, "name": "other"}, key)
    another = await post(platform, path, body, f"key {uuid4()}")

    assert first.status_code == again.status_code == 201, first.text
    assert first.content == again.content
    assert {name: first.headers.get(name) for name in ("etag", "location", "content-type")} == {
        name: again.headers.get(name) for name in ("etag", "location", "content-type")
    }
    assert (first.headers.get("idempotent-replayed"), again.headers["idempotent-replayed"]) == (None, "true")
    assert other.status_code == 422
    assert "was used with another body" in other.json()["detail"]
    assert another.content != first.content


async def test_a_subscription_too(platform: PlatformProcess) -> None:
    webhook = await platform.webhook(await platform.event(), "http://127.0.0.1/")
    body, key = {"event": await platform.event(), "webhook_id": webhook["id"]}, str(uuid4())
    answers = [await post(platform, "/v1/subscriptions", body, key) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()


async def test_a_repeated_token_is_another_one(platform: PlatformProcess) -> None:
    key = str(uuid4())
    answers = [await post(platform, "/v1/tokens", {"permissions": ["event:list"]}, key) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["token"] != answers[1].json()["token"]


async def test_calls_at_the_same_time_create_one(platform: PlatformProcess) -> None:
    name, key = f"at once {uuid4()}", str(uuid4())
    body = {"name": name, "role": "viewer"}
    answers = await asyncio.gather(*(post(platform, "/v1/api-keys", body, key) for _ in range(8)))
    keys = (await platform.get("/v1/api-keys", limit=100))["items"]

    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    assert len([key for key in keys if key["name"] == name]) == 1


async def test_a_call_that_failed_may_be_corrected(platform: PlatformProcess) -> None:
    key = str(uuid4())
    wrong = await post(platform, "/v1/roles", {"name": "", "permissions": ["event:list"]}, key)
    right = await post(platform, "/v1/roles", {"name": f"role-{uuid4()}", "permissions": ["event:list"]}, key)

    assert [wrong.status_code, right.status_code] == [422, 201]


async def test_a_key_is_each_caller_s_own(platform: PlatformProcess) -> None:
    """An answer may hold a secret."""
    key, made = str(uuid4()), await platform.post("/v1/api-keys", {"name": "n", "role": "administrator"})
    body = {"name": "n", "role": "viewer"}
    first = await post(platform, "/v1/api-keys", body, key)
    async with platform.called_with(made["key"]) as other:
        second = await post(other, "/v1/api-keys", body, key)

    assert [first.status_code, second.status_code] == [201, 201]
    assert first.json()["key"] != second.json()["key"]


async def test_a_stored_answer_is_sealed(platform: PlatformProcess) -> None:
    made = (await post(platform, "/v1/api-keys", {"name": "n", "role": "viewer"}, str(uuid4()))).json()
    files = b"".join(file.read_bytes() for file in platform.data_dir.glob("webhooks.db*"))

    assert made["key"].encode() not in files


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "ü"])
async def test_a_key_that_is_none_is_refused(platform: PlatformProcess, key: str) -> None:
    headers = {b"idempotency-key": key.encode("latin-1")}
    answer = await platform.http.post("/v1/roles", json={}, headers=headers)

    assert answer.status_code == 422
    assert "Idempotency-Key must be" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/v1/events", "/v1/none", "/docs", "/openapi.json", "/health/live", "/none"])
async def test_every_answer_has_security_headers(platform: PlatformProcess, path: str) -> None:
    answer = await platform.http.get(path)
    nobody = await platform.http.get(path, headers={"authorization": "Bearer wrong"})

    for one in (answer, nobody):
        assert one.headers["x-content-type-options"] == "nosniff"
        assert one.headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in one.headers["content-security-policy"]
        assert one.headers.get("cache-control") == ("no-store" if path.startswith("/v1/") else None)


async def test_a_narrower_token_of_the_same_key_gets_no_wider_secret(platform: PlatformProcess) -> None:
    key, ends = str(uuid4()), (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    body = {"name": "n", "role": "viewer", "expires_at": ends}
    wide = await platform.post("/v1/tokens", {}, expect=201)
    narrow = await platform.post("/v1/tokens", {"permissions": ["key:add"]}, expect=201)
    async with platform.called_with(wide["token"]) as first, platform.called_with(narrow["token"]) as second:
        made = await post(first, "/v1/api-keys", body, key)
        replayed = await post(first, "/v1/api-keys", body, key)
        refused = await post(second, "/v1/api-keys", body, key)

    assert made.status_code == 201
    assert replayed.json() == made.json()
    assert refused.status_code == 403
    assert made.json()["key"] not in refused.text
