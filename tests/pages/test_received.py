"""Received and its sources in a real browser: a source is made, its sender sends, and it appears."""

import hashlib
import hmac
import json
import re

import httpx
import pytest
from playwright.async_api import expect

from tests.pages.conftest import EVERY_LOOK, Monitor, Open
from webhooks.testing.platform_process import PlatformProcess
from webhooks.testing.receiver import Receiver

HOSTILE = "<img src=x onerror=document.title=1><script>document.title=2</script>"


async def test_a_source_is_made_and_what_it_sends_appears(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.url(path))
    tab = await monitor.open("/sources/new")
    await tab.get_by_label("Name", exact=True).fill(f"GitHub {event}")
    await tab.get_by_label("Event", exact=True).select_option(event)
    await tab.get_by_label("How the sender proves itself").select_option("github")
    await tab.get_by_role("button", name="Save").click()
    url = await tab.locator("#url").text_content() or ""
    secret = await tab.locator("#secret").text_content() or ""
    await monitor.open("/received")

    body = json.dumps({"ref": HOSTILE}).encode()
    signature = f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
    place = f"http://127.0.0.1:{platform.port}/in/{url.rpartition('/in/')[2]}"
    headers = {"content-type": "application/json", "x-github-delivery": f"d-{path[1:]}", "x-github-event": "push"}
    async with httpx.AsyncClient() as github:
        right = await github.post(place, content=body, headers={**headers, "x-hub-signature-256": signature})
        wrong = await github.post(place, content=b"", headers={**headers, "x-hub-signature-256": signature})
        signature = f"sha256={hmac.new(secret.encode(), b'', hashlib.sha256).hexdigest()}"
        headers |= {"x-github-delivery": f"e-{path[1:]}", "x-hub-signature-256": signature}
        empty = await github.post(place, content=b"", headers=headers)

    assert (right.status_code, wrong.status_code, empty.status_code) == (200, 401, 200)
    of_source = tab.get_by_role("row").filter(has_text=f"GitHub {event}")
    await expect(of_source.filter(has_text="verified")).to_have_count(2)
    await expect(of_source.filter(has_text="refused")).to_be_visible()
    await of_source.filter(has_text="refused").get_by_role("link").first.click()
    await expect(tab.get_by_text("Headers and body were not kept")).to_be_visible()
    await expect(tab.locator("pre")).to_have_count(0)
    await expect(tab.get_by_role("link", name=f"GitHub {event}")).to_have_attribute("href", re.compile("^/sources/"))
    await tab.go_back()
    await of_source.filter(has_text="verified").first.get_by_role("link").first.click()
    await expect(tab.get_by_text("The body was empty.")).to_be_visible()
    await tab.go_back()
    await of_source.filter(has_text="verified").last.get_by_role("link").first.click()
    await expect(tab.locator("pre")).to_contain_text(HOSTILE)
    await expect(tab.get_by_role("link", name=re.compile("~"))).to_be_visible()
    assert await tab.title() == "A received webhook · durable-webhooks"
    await receiver.wait_for(path, 1)


async def test_a_source_is_edited_rotated_and_deleted(monitor: Monitor, platform: PlatformProcess) -> None:
    event = await platform.event()
    source = await platform.post(
        "/v1/sources", {"name": HOSTILE, "event": event, "verification": {"type": "github"}}, expect=201
    )
    tab = await monitor.open(f"/sources/{source['id']}")

    await tab.get_by_label("How the sender proves itself").select_option("key_value")
    await tab.get_by_role("button", name="Save").click()
    await expect(tab.get_by_role("alert").first).to_contain_text("needs it")
    await tab.get_by_label("Name of the header or parameter").fill("X-Api-Key")
    await tab.get_by_role("button", name="Save").click()
    await expect(tab.get_by_text("Saved.")).to_be_visible()
    await monitor.open(f"/sources/{source['id']}")
    await tab.get_by_role("button", name="Rotate secret").click()
    await expect(tab.locator("#secret")).to_be_visible()
    assert len((await platform.get(f"/v1/sources/{source['id']}"))["secrets"]) == 2
    await monitor.open(f"/sources/{source['id']}")
    await tab.get_by_role("button", name="Delete").click()
    await expect(tab).to_have_url(re.compile("said=deleted"))
    await platform.get(f"/v1/sources/{source['id']}", expect=404)


@pytest.mark.thorough
@EVERY_LOOK
async def test_everybody_can_use_them(open_monitor: Open, platform: PlatformProcess, width: int, scheme: str) -> None:
    event = await platform.event()
    source = await platform.post("/v1/sources", {"name": "A", "event": event, "verification": {"type": "github"}})
    monitor = await open_monitor(width=width, scheme=scheme)

    for place in ("/received", "/sources", "/sources/new", f"/sources/{source['id']}"):
        await monitor.open(place)

        assert await monitor.axe() == [], place
        assert not await monitor.is_wider_than_the_window(), place
