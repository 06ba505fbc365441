"""Tenants: created with a first key, suspended and resumed, and deleted with everything that they own."""

from typing import Any

import pytest
from sqlmodel import SQLModel

from tests.support.tenants import new_tenant
from webhooks.deliveries.visibility import quoted
from webhooks.store import models  # noqa: F401  fills the metadata
from webhooks.testing.platform_process import Json, PlatformProcess, until
from webhooks.testing.receiver import Receiver


async def delivery_of(tenant: PlatformProcess, url: str) -> str:
    event = await tenant.event()
    await tenant.webhook(event, url)
    return await tenant.delivery(await tenant.publish(event))


async def suspend(platform: PlatformProcess, id: str, suspended: bool = True) -> Json:
    return await platform.call("PATCH", f"/v1/tenants/{id}", {"suspended": suspended}, expect=200)


async def test_a_tenant_is_shown_listed_and_changed(platform: PlatformProcess) -> None:
    async with new_tenant(platform) as (id, inside):
        shown = await platform.http.get(f"/v1/tenants/{id}")
        pages = [await platform.get("/v1/tenants", limit=1)]
        while cursor := pages[-1]["next_cursor"]:
            pages.append(await platform.get("/v1/tenants", limit=1, cursor=cursor))
        wrong = await platform.http.patch(f"/v1/tenants/{id}", json={"name": "B"}, headers={"if-match": '"old"'})
        changed = await platform.http.patch(
            f"/v1/tenants/{id}", json={"name": "B"}, headers={"if-match": shown.headers["etag"]}
        )
        events = [event["key"] for event in (await inside.get("/v1/events"))["items"]]
        keys = (await inside.get("/v1/api-keys"))["items"]

    listed = [item["id"] for page in pages for item in page["items"]]
    assert shown.json().items() >= {"id": id, "name": "Acme", "suspended": False}.items()
    assert listed == sorted(listed)
    assert {id, "default"} <= set(listed)
    assert wrong.status_code == 412
    assert changed.json()["name"] == "B"
    assert "delivery.failed" in events
    assert [(key["name"], key["role"]) for key in keys] == [("first administrator", "administrator")]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"id": "Acme", "name": "n"}, "/id"),
        ({"id": "-a", "name": "n"}, "/id"),
        ({"id": "a/b", "name": "n"}, "/id"),
        ({"id": "a" * 64, "name": "n"}, "/id"),
        ({"id": "a", "name": ""}, "/name"),
        ({"id": "a", "name": "n", "tenant": "b"}, "/tenant"),
    ],
)
async def test_a_wrong_field_is_named(platform: PlatformProcess, body: Json, pointer: str) -> None:
    problem = await platform.post("/v1/tenants", body, expect=422)

    assert [error["pointer"] for error in problem["errors"]] == [pointer]


async def test_an_id_is_taken_once(platform: PlatformProcess) -> None:
    await platform.post("/v1/tenants", {"id": "default", "name": "n"}, expect=409)
    await platform.get("/v1/tenants/none", expect=404)


async def test_the_home_tenant_can_be_neither_suspended_nor_deleted(platform: PlatformProcess) -> None:
    await platform.call("PATCH", "/v1/tenants/default", {"suspended": True}, expect=409)
    await platform.call("DELETE", "/v1/tenants/default", expect=409, confirm="default")

    assert (await platform.get("/v1/tenants/default"))["suspended"] is False


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("POST", ""), ("GET", "/x"), ("PATCH", "/x"), ("DELETE", "/x")]
)
async def test_another_tenant_s_administrator_sees_no_tenant(platform: PlatformProcess, method: str, path: str) -> None:
    async with new_tenant(platform) as (id, inside):
        answer = await inside.http.request(method, f"/v1/tenants{path.replace('x', id)}", json={})

    assert answer.status_code == 403


async def test_a_suspended_tenant_publishes_nothing(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    async with new_tenant(platform) as (id, inside):
        event = await inside.event()
        webhook = await inside.webhook(event, receiver.url(path))
        await inside.publish(event)
        await suspend(platform, id)
        refused = [
            await inside.http.post("/v1/occurrences", json={"event": event, "data": {}}),
            await inside.http.post(f"/v1/webhooks/{webhook['id']}/test", json={}),
        ]
        readable = await inside.get(f"/v1/webhooks/{webhook['id']}")
        await suspend(platform, id, False)
        await inside.publish(event)

    assert [answer.status_code for answer in refused] == [403, 403]
    assert all("the tenant is suspended" in answer.json()["detail"] for answer in refused)
    assert readable["active"] is True


async def test_deliveries_of_a_suspended_tenant_wait_and_go_on(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """No attempt is spent, not even by a resend."""
    receiver.tell(path, [503])
    async with new_tenant(platform) as (id, inside):
        event = await inside.event()
        await inside.webhook(event, receiver.url(path), retry_policy={"initial_interval": 4, "backoff_coefficient": 1})
        delivery = await inside.delivery(await inside.publish(event))
        await inside.wait(delivery, lambda shown: shown["attempt_count"] == 1)
        await suspend(platform, id)
        waiting = await inside.wait(delivery, lambda shown: shown["waiting_for"] == "lifting")
        await inside.post(f"/v1/deliveries/{delivery}/resend", {}, expect=202)
        receiver.tell(path, [200])
        await suspend(platform, id, False)
        done = await inside.wait(delivery, "delivered")

    assert waiting["status"] == "retrying"
    assert [attempt["outcome"] for attempt in waiting["attempts"]] == ["http_503"]
    assert [attempt["outcome"] for attempt in done["attempts"]] == ["http_503", "delivered"]


async def test_deleting_is_asked_for_twice(platform: PlatformProcess) -> None:
    async with new_tenant(platform) as (id, inside):
        first = await platform.call("DELETE", f"/v1/tenants/{id}", expect=409)
        wrong = await platform.call("DELETE", f"/v1/tenants/{id}", expect=409, confirm="default")
        await inside.get("/v1/events")

    assert f"?confirm={id}" in first["detail"]
    assert first["errors"] == wrong["errors"] == [{"parameter": "confirm", "detail": f"must be {id}"}]


async def test_a_deleted_tenant_leaves_nothing(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    receiver.tell(path, [503])
    temporal = await platform.temporal()
    async with new_tenant(platform) as (id, inside):
        open_one = await delivery_of(inside, receiver.url(path))
        receiver.tell(f"{path}-well", [200])
        closed_one = await delivery_of(inside, receiver.url(f"{path}-well"))
        await inside.wait(open_one, lambda shown: shown["attempt_count"] > 0)
        await inside.wait(closed_one, "delivered")
        await platform.call("DELETE", f"/v1/tenants/{id}", expect=202, confirm=id)
        after = await inside.http.get("/v1/events")
        hidden = await platform.call("GET", f"/v1/tenants/{id}", expect=404)
        taken = await platform.post("/v1/tenants", {"id": id, "name": "again"}, expect=409)

        async def is_gone() -> bool:
            return (await temporal.count_workflows(f"TenantId = {quoted(id)}")).count == 0

        await until(is_gone, timeout=30, what="the deletion")

    assert after.status_code == 401
    assert hidden["detail"] == "no such tenant"
    assert "being deleted" in taken["detail"]


def test_every_table_is_of_a_tenant() -> None:
    """Deleting a tenant deletes rows by the column `tenant`: a table without it must go along with one that has it,
    or belong to the installation."""
    without: dict[str, Any] = {
        name: {key.ondelete for key in table.foreign_keys}
        for name, table in SQLModel.metadata.tables.items()
        if "tenant" not in table.c
    }

    assert without == {"tenants": set(), "signing_keys": set(), "event_versions": {"CASCADE"}}
