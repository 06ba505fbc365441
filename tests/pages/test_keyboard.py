"""Each page's actions by the keyboard alone: what is used has the focus, and the focus can be seen."""

import pytest
from playwright.async_api import Locator, expect
from playwright.async_api import Page as Tab

from tests.pages.conftest import Monitor
from webhooks.testing.platform_process import PlatformProcess
from webhooks.testing.receiver import Receiver

_MOST_STEPS = 120


class Keyboard:
    def __init__(self, tab: Tab) -> None:
        self._tab = tab

    async def go_to(self, target: Locator) -> None:
        """Press Tab until the element has the focus. Raises AssertionError if it never has, or if nobody can see it."""
        await expect(target).to_be_visible()
        for _ in range(_MOST_STEPS):
            if await target.evaluate("element => element === document.activeElement"):
                break
            await self._tab.keyboard.press("Tab")
        await expect(target).to_be_focused()
        style = "e => [getComputedStyle(e).outlineStyle, parseInt(getComputedStyle(e).outlineWidth)]"
        seen = await target.evaluate(style)
        assert seen[0] != "none" and seen[1] >= 2, seen

    async def press(self, target: Locator, key: str = "Enter") -> None:
        await self.go_to(target)
        await self._tab.keyboard.press(key)

    async def write(self, target: Locator, text: str) -> None:
        """Replace the text of a field."""
        await self.go_to(target)
        await self._tab.keyboard.press("Control+a")
        await self._tab.keyboard.insert_text(text)

    async def choose(self, target: Locator, beginning: str) -> None:
        """Choose what begins with the letters in a list."""
        await self.go_to(target)
        await self._tab.keyboard.type(beginning)


async def test_sent(monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.tell(path, [400, 200]))
    await platform.wait(await platform.delivery(await platform.publish(event)), "failed")
    tab = await monitor.open(f"/sent?event={event}")
    keyboard = Keyboard(tab)

    await keyboard.press(tab.get_by_role("link", name="Skip to the page"))
    await keyboard.press(tab.locator("summary").filter(has_text="Status"))
    await keyboard.press(tab.get_by_label("failed", exact=True), " ")
    await tab.wait_for_url("**status=failed**")
    await keyboard.press(tab.get_by_role("checkbox", name=f"Select {event}"), " ")
    await keyboard.press(tab.get_by_role("button", name="Resend 1"))

    await expect(tab.get_by_text("1 delivery is sent again")).to_be_visible()


@pytest.mark.thorough
async def test_delivery(monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.tell(path, [503, 400, 400, 503]))
    delivery = await platform.delivery(await platform.publish(event))
    await platform.wait(delivery, "failed")
    tab = await monitor.open(f"/sent?event={event}")
    keyboard = Keyboard(tab)

    await keyboard.press(tab.get_by_role("link", name=event))
    await expect(tab.locator("#attempt-1 pre").first).to_be_hidden()
    await keyboard.press(tab.locator("#attempt-1 summary"))
    await expect(tab.locator("#attempt-1 pre").first).to_be_visible()
    await keyboard.go_to(tab.get_by_role("button", name="Copy as curl"))
    await keyboard.press(tab.get_by_role("button", name="Resend"))
    await expect(tab.get_by_text("Sent again")).to_be_visible()
    await expect(tab.locator("#attempt-3")).to_be_visible()
    await keyboard.press(tab.get_by_role("button", name="Give up"))
    await expect(tab.get_by_text("Given up by hand")).to_be_visible()


@pytest.mark.thorough
async def test_webhook(monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event()
    tab = await monitor.open("/webhooks")
    keyboard = Keyboard(tab)

    await keyboard.press(tab.get_by_role("link", name="New webhook"))
    await keyboard.write(tab.get_by_label("Name", exact=True), "By keyboard")
    await keyboard.write(tab.get_by_label("URL", exact=True), receiver.url(path))
    await keyboard.press(tab.get_by_role("checkbox", name=event), " ")
    await keyboard.press(tab.locator("#section-request summary"))
    await keyboard.choose(tab.get_by_label("Method"), "PUT")
    await keyboard.press(tab.get_by_role("button", name="Create webhook"))
    await keyboard.press(tab.get_by_role("link", name="Open the webhook"))
    await keyboard.press(tab.get_by_role("button", name="Send test"))
    await expect(tab.locator("#test")).to_contain_text("PUT")
    await keyboard.press(tab.get_by_role("link", name="Rotate secret"))
    await keyboard.choose(tab.get_by_label("Overlap"), "7")
    await keyboard.press(tab.get_by_role("button", name="Rotate secret"))
    await keyboard.press(tab.get_by_role("link", name="Open the webhook"))
    await keyboard.press(tab.get_by_role("button", name="Disable"))
    await expect(tab.get_by_text("Disabled. Nothing is sent to it.")).to_be_visible()
    await keyboard.press(tab.get_by_role("button", name="Activate"))
    await expect(tab.get_by_text("Active again")).to_be_visible()


@pytest.mark.thorough
async def test_events(monitor: Monitor, platform: PlatformProcess) -> None:
    event = await platform.event(sample={"order": {"id": 4711}})
    tab = await monitor.open(f"/events?q={event}")
    keyboard = Keyboard(tab)

    await keyboard.press(tab.get_by_role("link", name=event))
    await keyboard.write(tab.get_by_label("Template", exact=True), '{"number": "{order.id}"}')
    await expect(tab.locator("#preview")).to_contain_text('"number": 4711')
    await keyboard.choose(tab.get_by_label("Format"), "Form")
    await expect(tab.locator("#preview")).to_contain_text("number=4711")
    await keyboard.press(tab.get_by_role("button", name="Save"))

    await expect(tab.get_by_text("Saved.")).to_be_visible()


@pytest.mark.thorough
async def test_occurrences(monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event(sample={"order": 4711})
    await platform.webhook(event, receiver.url(path))
    tab = await monitor.open("/occurrences")
    keyboard = Keyboard(tab)

    await keyboard.press(tab.get_by_role("link", name="Publish"))
    await keyboard.choose(tab.get_by_label("Event"), event)
    await tab.wait_for_url(f"**event={event}")
    await keyboard.write(tab.get_by_label("Data"), '{"order": 4712}')
    await keyboard.press(tab.get_by_role("button", name="Publish"))

    await expect(tab.get_by_text("is stored durably as")).to_be_visible()
    assert b"4712" in (await receiver.wait_for(path, 1))[0].body


@pytest.mark.thorough
async def test_access(monitor: Monitor) -> None:
    tab = await monitor.open("/access")
    keyboard = Keyboard(tab)

    await keyboard.press(tab.get_by_role("button", name="Make a token"))
    await keyboard.go_to(tab.get_by_role("button", name="Copy").first)
    await keyboard.press(tab.get_by_role("link", name="API keys"))
    await keyboard.press(tab.locator("summary").filter(has_text="New API key"))
    await keyboard.write(tab.get_by_label("Name", exact=True), "by keyboard")
    await keyboard.choose(tab.get_by_label("Role", exact=True), "viewer")
    await keyboard.press(tab.get_by_role("button", name="Create"))
    await expect(tab.get_by_text("It is shown once")).to_be_visible()
    await keyboard.press(tab.get_by_role("button", name="Revoke by keyboard"))
    await expect(tab.get_by_text("Revoked.")).to_be_visible()
