"""A consumer token: a client's own users manage the webhooks of their client, and see nothing else."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from webhooks.testing.platform_process import Json, PlatformProcess, until
from webhooks.testing.receiver import Receiver


@contextlib.asynccontextmanager
async def consumer(platform: PlatformProcess, client_identifier: str) -> AsyncIterator[httpx.AsyncClient]:
    made = await platform.post("/v1/tokens", {"client_identifier": client_identifier}, expect=201)
    headers = {"authorization": f"Bearer {made['token']}"}
    async with httpx.AsyncClient(base_url=platform.http.base_url, headers=headers) as client:
        yield client


def client_id() -> str:
    return f"client-{uuid4().hex}"


async def created(client: httpx.AsyncClient, event: str, url: str, **fields: Any) -> Json:
    policy = {"initial_interval": 0.2, "maximum_attempts": 1}
    answer = await client.post("/v1/webhooks", json={"url": url, "events": [event], "retry_policy": policy, **fields})
    assert answer.status_code == 201, answer.text
    result: Json = answer.json()
    return result


async def test_a_client_s_users_manage_their_own_webhooks(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event, mine = await platform.event(), client_id()
    async with consumer(platform, mine) as client:
        webhook = await created(client, event, receiver.url(path))
        place = f"/v1/webhooks/{webhook['id']}"
        renamed = await client.patch(place, json={"name": "ours"})
        tested = await client.post(f"{place}/test")
        rotated = await client.post(f"{place}/rotate-secret")
        listed = (await client.get("/v1/webhooks")).json()["items"]
        published = await platform.publish(event, client_identifier=mine)
        await receiver.wait_for(path, 2)
        id = await platform.delivery(published)
        await platform.wait(id, "delivered")
        delivery = await client.get(f"/v1/deliveries/{id}")
        resent = await client.post(f"/v1/deliveries/{id}/resend", json={"force": True})
        await receiver.wait_for(path, 3)
        await platform.wait(id, lambda shown: shown["attempt_count"] == 2 and shown["status"] == "delivered")
        again, whole = (await client.get(f"/v1/deliveries/{id}")).json(), await platform.get(f"/v1/deliveries/{id}")
        deleted = await client.delete(place)

    assert webhook["client_identifier"] == mine
    assert webhook["allowedClientIdentifiers"] == [mine]
    assert [renamed.status_code, tested.status_code, rotated.status_code] == [200, 200, 200]
    assert [item["id"] for item in listed] == [webhook["id"]]
    assert delivery.json()["status"] == "delivered"
    assert delivery.json()["temporal_url"] is None
    assert [resent.status_code, deleted.status_code] == [202, 204]
    assert [attempt["requested_by"] for attempt in again["attempts"]] == [None, None]
    assert [attempt["remote_address"] for attempt in again["attempts"]] == [None, None]
    assert again["attempts"][0]["response_headers"] == whole["attempts"][0]["response_headers"] != []
    assert whole["attempts"][0]["remote_address"] == f"127.0.0.1:{receiver.port}"
    assert whole["attempts"][1]["requested_by"].endswith(f"/{mine})")


async def test_nothing_of_others_is_seen_or_touched(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """Neither what belongs to the tenant, though it gets this client's occurrences, nor what belongs to another
    client."""
    event, mine, other = await platform.event(), client_id(), client_id()
    internal = await platform.webhook(event, receiver.url(path), allowedClientIdentifiers=[mine, other])
    async with consumer(platform, other) as stranger:
        theirs = await created(stranger, event, receiver.url(path))
    async with consumer(platform, mine) as client:
        own = await created(client, event, receiver.url(path))
        for client_identifier in (mine, other):
            await platform.publish(event, client_identifier=client_identifier)
        deliveries = await of_event(platform, event, 4)
        for webhook in (internal, theirs):
            place = f"/v1/webhooks/{webhook['id']}"
            subscription = (await platform.get("/v1/subscriptions", webhook_id=webhook["id"]))["items"][0]["id"]
            for method, where, body in (
                ("GET", place, None),
                ("PATCH", place, {"name": "taken"}),
                ("DELETE", place, None),
                ("GET", f"{place}/traffic", None),
                ("POST", f"{place}/rotate-secret", None),
                ("POST", f"{place}/test", None),
                ("GET", f"/v1/subscriptions/{subscription}", None),
                ("PATCH", f"/v1/subscriptions/{subscription}", {"active": False}),
                ("DELETE", f"/v1/subscriptions/{subscription}", None),
            ):
                assert (await client.request(method, where, json=body)).status_code == 404, (method, where)
            answer = await client.post("/v1/subscriptions", json={"event": event, "webhook_id": webhook["id"]})
            assert answer.json()["errors"] == [{"pointer": "/webhook_id", "detail": "no such webhook"}]
            assert (await client.get("/v1/subscriptions", params={"webhook_id": webhook["id"]})).json()["items"] == []
            assert (await client.get("/v1/deliveries", params={"webhook_id": webhook["id"]})).json()["items"] == []
        for item in deliveries:
            place, is_own = f"/v1/deliveries/{item['id']}", item["webhook_id"] == own["id"]
            assert (await client.get(place)).status_code == (200 if is_own else 404)
            if not is_own:
                for body in ({}, {"force": True}):
                    assert (await client.post(f"{place}/resend", json=body)).status_code == 404
        listed = (await client.get("/v1/deliveries", params={"event": event})).json()["items"]
        webhooks = (await client.get("/v1/webhooks")).json()["items"]

    assert [item["webhook_id"] for item in listed] == [own["id"]]
    assert [item["id"] for item in webhooks] == [own["id"]]


async def of_event(platform: PlatformProcess, event: str, number: int) -> list[Json]:
    """Return the event's deliveries, once there are `number`."""
    found: list[Json] = []

    async def enough() -> bool:
        found[:] = (await platform.get("/v1/deliveries", event=event))["items"]
        return len(found) == number

    await until(enough, timeout=20, what=f"{number} deliveries", shown=lambda: str(found))
    return found


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"client_identifier": "other"}, "/client_identifier"),
        ({"allowedClientIdentifiers": []}, "/allowedClientIdentifiers"),
        ({"allowedClientIdentifiers": ["other"]}, "/allowedClientIdentifiers"),
        ({"events": ["delivery.failed"]}, "/events/0"),
    ],
)
async def test_a_client_s_webhook_is_for_that_client_only(
    platform: PlatformProcess, fields: Json, pointer: str
) -> None:
    event, mine = await platform.event(), client_id()
    body = {"url": "https://receiver.invalid/", "events": [event], "active": False}
    async with consumer(platform, mine) as client:
        refused = await client.post("/v1/webhooks", json={**body, **fields})
        webhook = (await client.post("/v1/webhooks", json=body)).json()
        changed = await client.patch(f"/v1/webhooks/{webhook['id']}", json=fields)
        kept = (await client.get(f"/v1/webhooks/{webhook['id']}")).json()
        subscription = (await client.get("/v1/subscriptions")).json()["items"][0]["id"]
        if "allowedClientIdentifiers" in fields:
            narrowed = await client.patch(f"/v1/subscriptions/{subscription}", json=fields)
            assert [error["pointer"] for error in narrowed.json()["errors"]] == [pointer]

    assert [error["pointer"] for error in refused.json()["errors"]] == [pointer]
    assert [error["pointer"] for error in changed.json()["errors"]] == [pointer]
    assert kept == {name: value for name, value in webhook.items() if name != "signing_secret"}


async def test_a_consumer_token_opens_nothing_else(platform: PlatformProcess) -> None:
    async with consumer(platform, client_id()) as client:
        for method, path in (
            ("POST", "/v1/occurrences"),
            ("GET", "/v1/occurrences"),
            ("POST", "/v1/events"),
            ("GET", "/v1/api-keys"),
            ("POST", "/v1/api-keys"),
            ("POST", "/v1/tokens"),
            ("GET", "/v1/roles"),
        ):
            assert (await client.request(method, path, json={})).status_code == 403, path


async def test_a_replay_tells_a_client_s_users_nothing_of_other_clients(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """Neither how many occurrences others got, nor whether an id exists."""
    event, mine, other = await platform.event(), client_id(), client_id()
    theirs = await platform.publish(event, client_identifier=other)
    async with consumer(platform, mine) as client:
        webhook = await created(client, event, receiver.url(path))
        call = f"/v1/webhooks/{webhook['id']}/replay"

        async def listed() -> bool:
            return bool((await platform.get(f"/v1/occurrences?event={event}"))["items"])

        await until(listed, timeout=20, what="the occurrence is listed")
        since = await client.post(call, json={"since": "2026-01-01T00:00:00Z", "dry_run": True})
        started = [
            (await client.post(call, json=body)).json()["job"]["id"]
            for body in ({"since": "2026-01-01T00:00:00Z"}, {"occurrence_id": [theirs["id"]]})
        ]

        async def jobs() -> list[Json]:
            return [(await client.get(f"/v1/jobs/{id}")).json() for id in started]

        async def ended() -> bool:
            return [job for job in await jobs() if not job["ended_at"]] == []

        await until(ended, timeout=30, what="the jobs have ended")
        shown = [(job["found"], job["seen"], job["skipped"]) for job in await jobs()]

    assert since.json()["dry_run"]["count"] == 0
    assert shown == [(0, 0, {}), (0, 0, {})]


@pytest.mark.thorough
async def test_a_client_s_users_can_have_100_webhooks(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """Each gets every occurrence of the client. The tenant's own key can make more."""
    event, mine = await platform.event(), client_id()
    body = {"url": receiver.url(path), "events": [event]}
    async with consumer(platform, mine) as client:
        made = [(await client.post("/v1/webhooks", json=body)).status_code for _ in range(100)]
        refused = await client.post("/v1/webhooks", json=body)
        by_tenant = await platform.post("/v1/webhooks", body | {"client_identifier": mine}, expect=201)

    assert set(made) == {201}
    assert (refused.status_code, refused.json()["detail"]) == (
        409,
        "there are 100 webhooks of the client already; delete one first",
    )
    assert by_tenant["client_identifier"] == mine
