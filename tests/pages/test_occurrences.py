"""Occurrences: what a person sees and does there, in a real browser."""

import pytest
from playwright.async_api import expect

from tests.pages.conftest import EVERY_LOOK, Monitor, Open
from webhooks.testing.platform_process import PlatformProcess
from webhooks.testing.receiver import Receiver

HOSTILE = "<img src=x onerror=document.title=1><script>document.title=2</script>"


async def test_publish_by_hand_and_see_where_it_went(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event(sample={"n": 4711}, schema={"required": ["n"]})
    await platform.webhook(event, receiver.url(path), name="Orders")
    tab = await monitor.open(f"/occurrences/new?event={event}")
    data, id = tab.get_by_label("Data"), f"o-{path[1:9]}"
    await expect(data).to_have_value('{\n  "n": 4711\n}')

    await data.fill('{"n": ')
    await tab.get_by_role("button", name="Publish").click()
    await expect(tab.locator("#data-fault")).to_contain_text("Not valid JSON")
    await data.fill('{"m": 1}')
    await tab.get_by_role("button", name="Publish").click()
    await expect(tab.locator("#data-fault")).to_be_visible()
    await data.fill('{"n": 10.00}')
    await tab.get_by_label("Id", exact=True).fill(id)
    await tab.get_by_role("button", name="Publish").click()

    await expect(tab.get_by_role("heading", name="1 delivery")).to_be_visible()
    await expect(tab.get_by_role("link", name="Orders")).to_be_visible()
    [request] = await receiver.wait_for(path, 1)
    assert b"10.00" in request.body
    await platform.wait(f"{id}~{(await platform.get('/v1/webhooks', event=event))['items'][0]['id']}", "delivered")
    await tab.get_by_role("link", name=id).click()
    await expect(tab.locator("pre")).to_contain_text("10.00")


async def test_why_no_webhook_wanted_it_and_erase(monitor: Monitor, platform: PlatformProcess, path: str) -> None:
    event, id = await platform.event(), f"u-{path[1:9]}"
    await platform.publish(event, {"text": HOSTILE}, id=id, client_identifier=HOSTILE)
    await platform.get(f"/v1/occurrences/{id}")

    tab = await monitor.open(f"/occurrences/{id}")
    await expect(tab.get_by_text("No webhook wanted it")).to_be_visible()
    await expect(tab.locator("pre")).to_contain_text(HOSTILE)
    assert await tab.title() == f"{id} · durable-webhooks"

    async with tab.expect_navigation(url="**/occurrences?said=erased"):
        await tab.get_by_role("button", name="Erase").click()
    await expect(tab.get_by_text("Erased, with its deliveries")).to_be_visible()
    await platform.get(f"/v1/occurrences/{id}", expect=404)


async def test_who_may_only_look_sees_no_data_and_no_buttons(
    open_monitor: Open, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event, id = await platform.event(), f"v-{path[1:9]}"
    await platform.webhook(event, receiver.url(path), name=HOSTILE)
    await platform.wait(
        await platform.delivery(await platform.publish(event, {"a": "secret-data"}, id=id)), "delivered"
    )
    made = await platform.post("/v1/api-keys", {"name": "looks", "role": "viewer"})
    monitor = await open_monitor(key=made["key"])

    tab = await monitor.open(f"/occurrences?q={id}&matched=yes")
    await expect(tab.get_by_role("link", name=HOSTILE)).to_be_visible()
    await expect(tab.get_by_role("link", name="Publish")).to_have_count(0)
    await tab.get_by_role("link", name=event).click()

    await expect(tab.get_by_text("needs the permission occurrence:read")).to_be_visible()
    await expect(tab.get_by_role("button", name="Erase")).to_have_count(0)
    assert "secret-data" not in await tab.content()


@pytest.mark.thorough
@EVERY_LOOK
async def test_everybody_can_use_it(
    open_monitor: Open, platform: PlatformProcess, path: str, width: int, scheme: str
) -> None:
    event, id = await platform.event(sample={"a": 1}), f"w-{path[1:9]}"
    await platform.publish(event, id=id)
    monitor = await open_monitor(width=width, scheme=scheme)

    for place in ("/occurrences", f"/occurrences/new?event={event}", f"/occurrences/{id}"):
        await monitor.open(place)

        assert await monitor.axe() == [], place
        assert not await monitor.is_wider_than_the_window(), place
