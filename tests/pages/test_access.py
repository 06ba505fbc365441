"""Access and Audit: what a person sees and does there, in a real browser."""

import json

import httpx
import pytest
from playwright.async_api import expect

from tests.pages.conftest import EVERY_LOOK, Monitor, Open
from webhooks.testing.platform_process import PlatformProcess


async def status_with(platform: PlatformProcess, key: str) -> int:
    async with httpx.AsyncClient(base_url=platform.http.base_url) as client:
        return (await client.get("/v1/events", headers={"authorization": f"Bearer {key}"})).status_code


async def test_a_key_is_made_shown_once_and_revoked(monitor: Monitor, platform: PlatformProcess, path: str) -> None:
    name = f"shop {path[1:9]}"
    tab = await monitor.open("/access/keys")
    await tab.get_by_text("New API key").click()
    await tab.get_by_label("Name").fill(name)
    await tab.get_by_label("Role", exact=True).select_option("permissions of its own")
    await tab.get_by_role("button", name="Create").click()
    await expect(tab.locator(".permissions .fault")).to_be_visible()
    await tab.get_by_role("group", name="event", exact=True).get_by_label("list").check()
    await tab.get_by_role("button", name="Create").click()
    key = await tab.locator("#key").inner_text()
    assert await status_with(platform, key) == 200

    await monitor.open("/access/keys")
    assert key not in await tab.content()
    row = tab.get_by_role("row").filter(has_text=name)
    await expect(row).to_contain_text("event:list")
    await row.get_by_role("button", name="Revoke").click()
    await expect(tab.get_by_text("Revoked.")).to_be_visible()
    assert await status_with(platform, key) == 401


async def test_your_token_is_shown_once_with_a_call(monitor: Monitor, platform: PlatformProcess) -> None:
    tab = await monitor.open("/access")
    await tab.get_by_label("Ends after").select_option("15 minutes")
    await tab.get_by_role("button", name="Make a token").click()
    token = await tab.locator("#token").inner_text()

    assert await status_with(platform, token) == 200
    await expect(tab.locator("#token-call")).to_contain_text(f"Bearer {token}")
    await monitor.open("/access")
    assert token not in await tab.content()


async def test_a_role_is_added_changed_and_deleted(monitor: Monitor, platform: PlatformProcess, path: str) -> None:
    name = f"EntityEvent ({path[1:9]})"
    tab = await monitor.open("/access/roles")
    await tab.get_by_role("link", name="Add a role").click()
    await tab.get_by_label("Name").fill(name)
    await tab.get_by_role("group", name="event", exact=True).get_by_label("list").check()
    await tab.get_by_role("button", name="Save").click()
    await tab.get_by_role("link", name=f"Edit {name}").click()
    await tab.get_by_label("Description").fill("events only")
    await tab.get_by_role("button", name="Save").click()
    await expect(tab.get_by_role("row").filter(has_text=name)).to_contain_text("events only")

    await tab.get_by_role("button", name=f"Delete {name}").click()
    await expect(tab.get_by_text("Deleted.")).to_be_visible()
    assert name not in [role["name"] for role in (await platform.get("/v1/roles"))["items"]]


async def test_a_tenant_is_made_suspended_resumed_and_deleted(
    monitor: Monitor, platform: PlatformProcess, path: str
) -> None:
    id = f"t{path[1:9]}"
    tab = await monitor.open("/access/tenants")
    await tab.get_by_text("New tenant").click()
    await tab.get_by_label("Id").fill(id)
    await tab.get_by_label("Name").fill(f"Tenant {id}")
    await tab.get_by_role("button", name="Create").click()
    assert await status_with(platform, await tab.locator("#key").inner_text()) == 200

    await monitor.open(f"/access/tenants/{id}")
    await tab.get_by_role("button", name="Suspend").click()
    await expect(tab.get_by_text("Suspended.")).to_be_visible()
    await tab.get_by_role("button", name="Resume").click()
    await expect(tab.get_by_text("The suspension is lifted")).to_be_visible()
    await tab.get_by_role("button", name="Delete the tenant").click()
    await expect(tab.locator("#confirm-fault")).to_contain_text(id)
    await tab.get_by_label("type its id").fill(id)
    await tab.get_by_role("button", name="Delete the tenant").click()
    await expect(tab.get_by_text("Its keys have ended")).to_be_visible()


async def test_the_audit_shows_what_changed_and_is_downloaded(
    monitor: Monitor, platform: PlatformProcess, path: str
) -> None:
    event = await platform.event(description="<script>document.title=1</script>")
    await platform.call("PATCH", f"/v1/events/{event}", {"description": "new text"})
    tab = await monitor.open(f"/audit?resource={event}&action=event.edit")
    await expect(tab.get_by_role("row")).to_have_count(2)
    await expect(tab.locator("del")).to_have_text("<script>document.title=1</script>")
    await expect(tab.locator("ins")).to_have_text("new text")

    async with tab.expect_download() as waiting:
        await tab.get_by_role("link", name="Download as JSON lines").click()
    download = await waiting.value
    assert download.suggested_filename == "audit.jsonl"
    [entry] = (await download.path()).read_text().splitlines()
    assert json.loads(entry)["resource"] == event


async def test_who_may_only_look_sees_what_that_is(open_monitor: Open, platform: PlatformProcess) -> None:
    made = await platform.post("/v1/api-keys", {"name": "looks", "role": "viewer"})
    monitor = await open_monitor(key=made["key"])

    tab = await monitor.open("/access")

    await expect(tab.get_by_role("navigation", name="Access").get_by_role("link")).to_have_count(1)
    await expect(tab.get_by_role("main").get_by_role("button")).to_have_count(0)
    await expect(tab.get_by_text("needs the permission token:add")).to_be_visible()


@pytest.mark.thorough
@EVERY_LOOK
async def test_everybody_can_use_it(open_monitor: Open, width: int, scheme: str) -> None:
    monitor = await open_monitor(width=width, scheme=scheme)

    for place in ("", "/keys", "/roles", "/roles/form", "/tenants", "/tenants/default"):
        await monitor.open(f"/access{place}")

        assert await monitor.axe() == [], place
        assert not await monitor.is_wider_than_the_window(), place
    await monitor.open("/audit")
    assert await monitor.axe() == []
    assert not await monitor.is_wider_than_the_window()
