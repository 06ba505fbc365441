"""The audit: who changed what, in the transaction of the change, without secrets."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlmodel import select

from tests.support.tenants import new_tenant
from webhooks.credentials.vault import Vault, new_key
from webhooks.identity.audit import Refusals
from webhooks.settings import Settings
from webhooks.store import audit
from webhooks.store.database import Database
from webhooks.store.models import AuditEntry
from webhooks.testing.platform_process import Json, PlatformProcess, until
from webhooks.testing.receiver import Receiver

SECRET = "canary-of-a-secret"
TEMPLATE = {"text": "{id}"}


async def entries(platform: PlatformProcess, **query: Any) -> list[Json]:
    """Return the entries, oldest first."""
    return list(reversed((await platform.get("/v1/audit", limit=100, **query))["items"]))


@pytest.fixture
async def acme(platform: PlatformProcess) -> AsyncIterator[PlatformProcess]:
    async with new_tenant(platform) as (_, inside):
        yield inside


async def test_each_change_is_recorded_field_by_field(acme: PlatformProcess, receiver: Receiver, path: str) -> None:
    [key] = (await acme.get("/v1/api-keys"))["items"]
    event = await acme.event(description="old", sample={"name": SECRET})
    webhook = await acme.webhook(event, receiver.url(path), headers={"x-token": SECRET})
    await acme.call("PATCH", f"/v1/events/{event}", {"description": "new", "template": TEMPLATE})
    await acme.call("PATCH", f"/v1/webhooks/{webhook['id']}", {"name": "w", "headers": {"x-token": f"{SECRET}-2"}})
    await acme.call("PATCH", f"/v1/webhooks/{webhook['id']}", {"name": "v"})
    await acme.call("PATCH", f"/v1/webhooks/{webhook['id']}", {"name": "v"})
    await acme.post(f"/v1/webhooks/{webhook['id']}/rotate-secret", {})
    await acme.post("/v1/roles", {"name": "r", "permissions": ["event:list"]})
    made = await acme.post("/v1/api-keys", {"name": "shop", "role": "r"})
    await acme.call("DELETE", f"/v1/api-keys/{made['id']}")
    await acme.call("DELETE", f"/v1/webhooks/{webhook['id']}")
    found = await entries(acme)
    changes = [(item["action"], item["changes"]) for item in found]

    assert [item["action"] for item in found] == [
        *("event.add", "webhook.add", "subscription.add", "event.edit", "webhook.edit", "webhook.edit"),
        *("webhook.rotate_secret", "role.add", "key.add", "key.delete", "webhook.delete"),
    ]
    assert {(item["actor"], item["actor_name"], item["address"]) for item in found} == {
        (f"key:{key['id']}", "first administrator", "127.0.0.1")
    }
    assert [item["resource"] for item in found[:2]] == [event, webhook["id"]]
    assert changes[0][1]["description"] == [None, "old"]
    assert changes[3][1] == {"description": ["old", "new"], "template": [None, TEMPLATE]}
    assert changes[4][1] == {"name": ["", "w"], "secrets": "changed"}
    assert changes[5][1] == {"name": ["w", "v"]}
    assert changes[6][1] == {"secrets": "changed"}
    assert changes[8][1] == {"name": [None, "shop"], "role": [None, "r"]}
    assert changes[10][1]["url"] == [receiver.url(path), None]
    assert SECRET not in json.dumps(found)
    assert made["key"] not in json.dumps(found)


async def test_what_is_not_changed_is_not_recorded(acme: PlatformProcess) -> None:
    event = await acme.event()
    before = await entries(acme)
    await acme.post("/v1/events", {"key": event}, expect=409)
    await acme.call("PATCH", f"/v1/events/{event}", {"template": {"a": "{"}}, expect=422)
    await acme.call("PATCH", f"/v1/events/{event}", {"description": ""})

    assert await entries(acme) == before


async def test_a_tenant_is_recorded_where_its_administrator_is(platform: PlatformProcess) -> None:
    async with new_tenant(platform) as (id, inside):
        await platform.call("PATCH", f"/v1/tenants/{id}", {"suspended": True})
        await platform.call("DELETE", f"/v1/tenants/{id}", confirm=id)
        found = await entries(platform, resource=id)
        inside_answer = await inside.http.get("/v1/audit")

    assert [item["action"] for item in found] == ["tenant.add", "tenant.edit", "tenant.edit"]
    assert found[1]["changes"] == {"suspended": [False, True]}
    assert [*found[2]["changes"]] == ["deleting_since"]
    assert inside_answer.status_code == 401


async def test_resends_and_tests_are_recorded_and_shown(acme: PlatformProcess, receiver: Receiver, path: str) -> None:
    receiver.tell(path, [400, 400, 200, 200])
    [key] = (await acme.get("/v1/api-keys"))["items"]
    event = await acme.event()
    webhook = await acme.webhook(event, receiver.url(path))
    delivery = await acme.delivery(await acme.publish(event))
    await acme.wait(delivery, "failed")
    await acme.post(f"/v1/deliveries/{delivery}/resend", {})
    await acme.wait(delivery, lambda shown: shown["attempt_count"] == 2 and shown["status"] == "failed")
    await acme.post(f"/v1/deliveries/{delivery}/resend", {})
    await acme.wait(delivery, "delivered")
    await acme.post(f"/v1/deliveries/{delivery}/resend", {"force": True})
    shown = await acme.wait(delivery, lambda shown: shown["attempt_count"] == 4)
    await acme.post(f"/v1/webhooks/{webhook['id']}/test", {})
    await acme.http.post(f"/v1/deliveries/none~{uuid4()}/resend", json={})
    found = [(item["action"], item["resource"]) for item in (await entries(acme))[3:]]
    who = f"first administrator (key:{key['id']})"

    assert found == [("delivery.resend", delivery)] * 3 + [("webhook.test", webhook["id"])]
    assert [(one["trigger"], one["requested_by"]) for one in shown["attempts"]] == [
        ("event", None),
        *[("resend", who)] * 3,
    ]


async def test_a_refusal_of_a_known_key_is_recorded_once_a_minute(acme: PlatformProcess) -> None:
    made = await acme.post("/v1/api-keys", {"name": "narrow", "permissions": ["event:list"]})
    async with acme.called_with(made["key"]) as narrow, acme.called_with("whk_unknown") as unknown:
        for _ in range(3):
            await narrow.post("/v1/roles", {}, expect=403)
        await narrow.get("/v1/webhooks", expect=403)
        await unknown.get("/v1/webhooks", expect=401)

    async def recorded() -> bool:
        return len(await entries(acme, action="access.refused")) == 2

    await until(recorded, timeout=10, what="the refusals in the audit")
    found = await entries(acme, action="access.refused")

    assert [item["resource"] for item in found] == ["POST /v1/roles", "GET /v1/webhooks"]
    assert {item["actor_name"] for item in found} == {"narrow"}
    assert found[0]["changes"]["permission"] == "role:add"
    assert "role:add" in found[0]["changes"]["reason"]


async def test_an_expired_key_is_recorded(acme: PlatformProcess) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=0.5)
    made = await acme.post("/v1/api-keys", {"name": "brief", "role": "viewer", "expires_at": soon.isoformat()})
    async with acme.called_with(made["key"]) as brief:

        async def ended() -> bool:
            return (await brief.http.get("/v1/events")).status_code == 401

        await until(ended, timeout=10, what="the end of the key")

    async def recorded() -> bool:
        return len(await entries(acme, actor=f"key:{made['id']}")) == 1

    await until(recorded, timeout=10, what="the refusal in the audit")
    [found] = await entries(acme, actor=f"key:{made['id']}")

    assert (found["action"], found["changes"]["reason"]) == ("access.refused", "the API key has expired")


async def test_the_audit_is_filtered_paged_and_exported(acme: PlatformProcess) -> None:
    events = [await acme.event() for _ in range(5)]
    found = await entries(acme)
    page = await acme.get("/v1/audit", limit=2)
    rest = await acme.get("/v1/audit", limit=10, cursor=page["next_cursor"])
    lines = await acme.http.get("/v1/audit", params={"format": "jsonl", "since": found[1]["at"]})
    late = await entries(acme, until=found[1]["at"])

    assert [item["resource"] for item in page["items"] + rest["items"]] == events[::-1]
    assert lines.headers["content-type"] == "application/jsonl"
    assert lines.headers["content-disposition"] == 'attachment; filename="audit.jsonl"'
    assert [json.loads(line) for line in lines.text.splitlines()] == found[:0:-1]
    assert late == found[:1]
    assert await entries(acme, resource=events[0]) == found[:1]
    assert await entries(acme, action="event.edit") == []


async def test_old_entries_are_deleted(settings: Settings) -> None:
    database = Database.of(settings)
    await database.migrate(Vault(new_key()))
    now = datetime.now(UTC)
    fields: dict[str, Any] = dict.fromkeys(("tenant", "actor", "actor_name", "address", "action", "resource"), "x")
    async with database.write() as session:
        session.add(AuditEntry(**fields, at=now))
    async with database.write() as session:
        kept = await audit.delete_older(session, now - timedelta(minutes=1))
        before = len((await session.exec(select(AuditEntry))).all())
        await audit.delete_older(session, now + timedelta(minutes=1))
        after = len((await session.exec(select(AuditEntry))).all())
    await database.close()

    assert (kept, before, after) == (False, 1, 0)


async def test_repeated_refusals_are_remembered_within_bounds(settings: Settings) -> None:
    refusals = Refusals(Database.of(settings))

    assert [refusals.is_new("a", "x"), refusals.is_new("a", "x"), refusals.is_new("b", "x")] == [True, False, True]
    assert sum(refusals.is_new("c", str(n)) for n in range(20_000)) == 20_000
    assert refusals.is_new("a", "x"), "it was forgotten"


async def test_making_a_token_is_recorded(acme: PlatformProcess) -> None:
    made = await acme.post("/v1/tokens", {"permissions": ["event:list"], "expires_in": 60})

    newest = (await entries(acme))[-1]

    assert newest["action"] == "token.add"
    assert newest["changes"]["permissions"] == ["event:list"]
    assert made["token"] not in str(newest)


async def test_each_entry_is_an_operational_event(acme: PlatformProcess, receiver: Receiver, path: str) -> None:
    await acme.webhook("audit.recorded", receiver.url(path), name="auditors")
    event = await acme.event(description="first")
    await acme.call("PATCH", f"/v1/events/{event}", {"description": "second"})

    def received() -> list[Json]:
        return [json.loads(request.body)["data"] for request in receiver.got(path)]

    async def arrived() -> bool:
        return {"event.add", "event.edit"} <= {item["action"] for item in received()}

    await until(arrived, timeout=30, what="the entries of both changes")
    data = received()
    stored = {item["id"]: item for item in (await acme.get("/v1/audit"))["items"]}
    assert len({item["entry_id"] for item in data}) == len(data)  # each once
    [changed] = [item for item in data if item["action"] == "event.edit"]
    assert changed["changes"] == {"description": ["first", "second"]}
    for item in data:
        assert item["resource"] == stored[item["entry_id"]]["resource"]
        assert item["actor"] == stored[item["entry_id"]]["actor"]
