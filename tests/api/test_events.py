"""The event catalogue."""

from typing import Any
from uuid import uuid4

import pytest

from demo.platform_process import PlatformProcess
from demo.receiver import Receiver


def key() -> str:
    return f"Event-{uuid4().hex}"


async def test_an_event_is_created_read_changed_and_deleted(platform: PlatformProcess) -> None:
    name = key()
    body = {
        "key": name,
        "description": "A shipment order was created",
        "schema": {"type": "object", "required": ["order"]},
        "template": {"order": "{order.id}"},
        "sample": {"order": {"id": 1}},
    }
    created = await platform.post("/v1/events", body, expect=201)
    assert created == {
        **body,
        "entity": None,
        "action": None,
        "active": True,
        "created_at": created["created_at"],
        "updated_at": created["updated_at"],
    }
    assert await platform.get(f"/v1/events/{name}") == created
    changes = {"active": False, "schema": None, "description": None}
    changed = await platform.call("PATCH", f"/v1/events/{name}", changes)
    assert changed == {**created, **changes, "description": "", "updated_at": changed["updated_at"]}
    assert changed["updated_at"] > created["updated_at"]
    assert await platform.get(f"/v1/events/{name}") == changed
    await platform.call("DELETE", f"/v1/events/{name}", expect=204)
    await platform.get(f"/v1/events/{name}", expect=404)


async def test_entity_and_action_make_the_key(platform: PlatformProcess) -> None:
    entity = f"UserPackage-{uuid4().hex}"
    created = await platform.post("/v1/events", {"entity": entity, "action": "Update"}, expect=201)

    assert created["key"] == f"{entity}.Update"
    assert (created["entity"], created["action"]) == (entity, "Update")


async def test_a_key_is_taken_once(platform: PlatformProcess) -> None:
    name = await platform.event()
    problem = await platform.post("/v1/events", {"key": name}, expect=409)

    assert problem["errors"][0]["pointer"] == "/key"


async def test_a_subscribed_event_cannot_be_deleted(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event()
    webhook = await platform.webhook(event, receiver.url(path))
    await platform.call("DELETE", f"/v1/events/{event}", expect=409)
    await platform.call("DELETE", f"/v1/webhooks/{webhook['id']}", expect=204)
    await platform.call("DELETE", f"/v1/events/{event}", expect=204)


async def test_the_list_is_paged_and_filtered(platform: PlatformProcess) -> None:
    prefix = f"0-{uuid4().hex}"  # sorts first
    names = [f"{prefix}-{n}" for n in range(5)]
    for name in names:
        await platform.post("/v1/events", {"key": name, "active": name != names[1]}, expect=201)
    seen: list[str] = []
    cursor = None
    while len(seen) < len(names):
        page = await platform.get("/v1/events", limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [item["key"] for item in page["items"] if item["key"].startswith(prefix)]
        cursor = page["next_cursor"]
        assert cursor
    page = await platform.get("/v1/events", limit=100, active=False)

    assert seen == names
    assert [item["key"] for item in page["items"] if item["key"].startswith(prefix)] == [names[1]]
    assert all(item["active"] is False for item in page["items"])


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"key": "A", "entity": "B", "action": "C"}, ""),
        ({"entity": "OnlyEntity"}, ""),
        ({"key": "has space"}, "/key"),
        ({"key": "a/b"}, "/key"),
        ({"key": ""}, "/key"),
        ({"key": "x" * 129}, "/key"),
        ({"key": "A", "colour": "red"}, "/colour"),
        ({"key": "A", "active": "perhaps"}, "/active"),
        ({"key": "A", "schema": {"type": "objekt"}}, "/schema"),
        ({"key": "A", "schema": [1]}, "/schema"),
        ({"key": "A", "schema": {"$ref": "http://127.0.0.1:1/x"}}, "/schema"),
        ({"key": "A", "schema": {"type": "object"}, "sample": 3}, "/sample"),
        ({"key": "A", "schema": {"required": ["a"]}, "sample": {"b": 1}}, "/sample"),
        ({"key": "A", "template": "x" * 70_000}, "/template"),
    ],
)
async def test_a_bad_event_is_refused(platform: PlatformProcess, body: dict[str, Any], pointer: str) -> None:
    problem = await platform.post("/v1/events", body, expect=422)

    assert pointer in [error["pointer"] for error in problem["errors"]]
