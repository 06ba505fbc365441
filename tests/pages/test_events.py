"""Events: what a person sees and does there, in a real browser."""

import re

import pytest
from playwright.async_api import expect

from tests.pages.conftest import EVERY_LOOK, Monitor, Open
from webhooks.testing.platform_process import PlatformProcess

HOSTILE = '<img src=x onerror="document.title=1"></textarea><script>document.title=2</script>'


async def test_add_by_entity_and_action_and_then_another(
    monitor: Monitor, platform: PlatformProcess, path: str
) -> None:
    entity = f"Order{path[1:9]}"
    tab = await monitor.open("/events")
    await tab.get_by_role("link", name="Add", exact=True).click()
    await tab.get_by_label("Name").select_option("by entity and action")
    await tab.get_by_label("Entity").fill(entity)
    await tab.get_by_label("Action").fill("Update")
    await tab.get_by_label("Payload of").select_option("EngageIP")
    await tab.get_by_role("button", name="Fill in").click()
    await expect(tab.get_by_label("Template")).to_have_value(re.compile(r'"entity": "\{entity\}"'))

    await tab.get_by_role("button", name="Save/New").click()

    await expect(tab.get_by_text("Created.")).to_be_visible()
    await expect(tab.get_by_label("Key", exact=True)).to_have_value("")
    created = await platform.get(f"/v1/events/{entity}.Update")
    assert created["template"] == {"entity": "{entity}", "action": "{action}", "object": "{data}"}


async def test_what_is_wrong_is_said_beside_its_field(monitor: Monitor, path: str) -> None:
    tab = await monitor.open("/events/new")
    await tab.get_by_label("Key", exact=True).fill("not a key")
    await tab.get_by_label("Template").fill('{"a": ')
    await tab.get_by_role("button", name="Save", exact=True).click()

    await expect(tab.locator("#template-fault")).to_contain_text("Not valid JSON")
    await expect(tab.get_by_label("Key", exact=True)).to_have_value("not a key")
    await tab.get_by_label("Template").fill('{"a": "{order.id}"}')
    await tab.get_by_role("button", name="Save", exact=True).click()
    await expect(tab.locator("#key-fault")).to_be_visible()

    await tab.get_by_label("Key", exact=True).fill(f"E{path[1:9]}")
    await tab.get_by_label("Sample").fill('{"order": {"id": 1}}')
    await tab.get_by_label("JSON Schema").fill('{"properties": {"order": {"properties": {"id": {"type": "string"}}}}}')
    await tab.get_by_role("button", name="Save", exact=True).click()
    await expect(tab.locator("#sample-fault")).to_contain_text("/order/id")


async def test_the_preview_follows_what_is_typed_and_versions_show_the_difference(
    monitor: Monitor, platform: PlatformProcess
) -> None:
    event = await platform.event(template={"order": "{order.id}"}, sample={"order": {"id": 1, "total": 2.5}})
    tab = await monitor.open(f"/events/{event}")
    preview = tab.locator("#preview")
    await expect(preview).to_contain_text('"order": 1')

    await tab.get_by_label("Template").fill('{"order": "{order.id}", "sum": "{order.total}"}')
    await expect(preview).to_contain_text('"sum": 2.5')
    await tab.get_by_label("Sample").fill('{"order": {"id": 1, "total": 10.00}}')
    await expect(preview).to_contain_text('"sum": 10.00')
    await tab.get_by_label("JSON Schema").fill('{"required": ["client"]}')
    await expect(preview).to_contain_text("This sample would be refused")
    await tab.get_by_label("JSON Schema").fill("")
    await tab.get_by_label("Template").fill('{"order": "{order.id"}')
    await expect(preview).to_contain_text("It cannot be rendered")
    await tab.get_by_label("Template").fill('{"order": "{order.id}", "sum": "{order.total}"}')
    await tab.get_by_label("Format").select_option("Form URL Encoded")
    await expect(preview).to_contain_text("order=1&sum=10.00")

    await tab.get_by_role("button", name="Save", exact=True).click()
    await expect(tab.get_by_text("Saved.")).to_be_visible()
    await expect(tab.locator(".diff .added").last).to_have_text('+  "sum": "{order.total}"')
    assert (await platform.get(f"/v1/events/{event}"))["version"] == 2


async def test_two_people_do_not_undo_each_other(monitor: Monitor, platform: PlatformProcess) -> None:
    event = await platform.event()
    tab = await monitor.open(f"/events/{event}")
    await platform.call("PATCH", f"/v1/events/{event}", {"description": "by somebody else"})

    await tab.get_by_label("Description").fill("mine")
    await tab.get_by_role("button", name="Save", exact=True).click()

    await expect(tab.get_by_role("alert")).to_contain_text("somebody has changed", ignore_case=True)
    await expect(tab.get_by_label("Description")).to_have_value("mine")
    assert (await platform.get(f"/v1/events/{event}"))["description"] == "by somebody else"


async def test_delete_asks_and_says_what_hinders(monitor: Monitor, platform: PlatformProcess) -> None:
    event = await platform.event()
    webhook = await platform.webhook(event, "http://127.0.0.1:18999/", name="Hinders")
    tab = await monitor.open(f"/events/{event}")
    await tab.get_by_role("button", name="Delete").click()
    await expect(tab.get_by_role("alert")).to_contain_text("a webhook is subscribed", ignore_case=True)
    await expect(tab.get_by_role("link", name="Hinders")).to_have_attribute("href", f"/webhooks/{webhook['id']}")

    await platform.call("DELETE", f"/v1/webhooks/{webhook['id']}")
    await monitor.open(f"/events/{event}")
    await tab.get_by_role("button", name="Delete").click()

    await expect(tab.get_by_text("Deleted.")).to_be_visible()
    await platform.get(f"/v1/events/{event}", expect=404)


async def test_a_catalogue_is_imported_from_a_file(monitor: Monitor, platform: PlatformProcess, path: str) -> None:
    tab = await monitor.open("/events/import")
    content = f"events:\n- key: I{path[1:9]}\n  sample: {{a: 1}}\n"
    file = {"name": "events.yaml", "mimeType": "application/yaml", "buffer": content.encode()}
    await tab.get_by_label("File").set_input_files(file)  # type: ignore[arg-type]
    await expect(tab.get_by_label("Catalogue")).to_have_value(content)
    await tab.get_by_role("button", name="Import").click()
    await expect(tab.get_by_role("link", name=f"I{path[1:9]}")).to_be_visible()

    await tab.get_by_label("Catalogue").fill("events: [{key: not a key}]")
    await tab.get_by_role("button", name="Import").click()
    await expect(tab.locator("#content-fault")).to_contain_text("/events/0/key")
    assert (await platform.get(f"/v1/events/I{path[1:9]}"))["sample"] == {"a": 1}


async def test_the_catalogue_is_searched_and_operational_events_are_marked(
    monitor: Monitor, platform: PlatformProcess
) -> None:
    event = await platform.event(description=HOSTILE, active=False)
    tab = await monitor.open("/events")
    await tab.get_by_role("searchbox").fill(event[6:20])
    await tab.get_by_role("searchbox").press("Enter")
    row = tab.get_by_role("row").nth(1)
    await expect(row).to_contain_text(HOSTILE)
    await expect(row).to_contain_text("inactive")
    assert await tab.title() == "Events · durable-webhooks"

    await monitor.open("/events?q=delivery.failed")
    await expect(tab.get_by_role("row").nth(1)).to_contain_text("operational")
    await tab.get_by_role("link", name="delivery.failed").click()
    await expect(tab.get_by_label("Template")).to_be_visible()
    await expect(tab.get_by_label("Sample")).to_have_count(0)
    await expect(tab.get_by_role("button", name="Delete")).to_have_count(0)


async def test_who_may_only_look_sees_no_buttons(open_monitor: Open, platform: PlatformProcess) -> None:
    event = await platform.event(template={"x": HOSTILE.replace("{", "")}, sample={"a": HOSTILE})
    made = await platform.post("/v1/api-keys", {"name": "looks", "role": "viewer"})
    monitor = await open_monitor(key=made["key"])

    tab = await monitor.open("/events")
    await expect(tab.get_by_role("link", name="Add", exact=True)).to_have_count(0)
    await monitor.open(f"/events/{event}")

    await expect(tab.get_by_role("main").get_by_role("button")).to_have_count(0)
    await expect(tab.locator("#preview")).to_contain_text("<script>")
    assert await tab.title() == f"{event} · durable-webhooks"


async def test_an_event_is_added_by_keyboard_alone(monitor: Monitor, platform: PlatformProcess, path: str) -> None:
    tab = await monitor.open("/events/new")
    await tab.get_by_label("Name").focus()
    await tab.keyboard.press("Tab")
    await tab.keyboard.type(f"K{path[1:9]}")
    await tab.keyboard.press("Enter")

    await expect(tab.get_by_role("heading", name=f"K{path[1:9]}")).to_be_visible()
    assert (await platform.get(f"/v1/events/K{path[1:9]}"))["active"] is True


@pytest.mark.thorough
@EVERY_LOOK
async def test_everybody_can_use_it(open_monitor: Open, platform: PlatformProcess, width: int, scheme: str) -> None:
    event = await platform.event(sample={"a": 1}, template={"a": "{a}"})
    await platform.call("PATCH", f"/v1/events/{event}", {"template": {"b": "{a}"}})
    monitor = await open_monitor(width=width, scheme=scheme)

    for place in ("/events", "/events/new", f"/events/{event}", "/events/import"):
        await monitor.open(place)

        assert await monitor.axe() == [], place
        assert not await monitor.is_wider_than_the_window(), place
