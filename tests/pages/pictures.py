"""`make pictures`: the pictures of the monitor in README.md, of a platform with made-up deliveries."""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from playwright.async_api import Browser, async_playwright

from tests.pages.conftest import CHROMIUM, sign_in
from webhooks.testing.platform_process import PlatformProcess, running
from webhooks.testing.receiver import Receiver, Reply

FOLDER = Path(__file__).parents[2] / "docs/pictures"
_JSON = {"content-type": "application/json"}
_RECEIVERS: dict[str, list[int | Reply]] = {
    "Orders EU": [Reply(200, b'{"accepted": true}', _JSON)],
    "Billing": [503, 503, Reply(400, b'{"error": "unknown account"}', _JSON), Reply(200, b'{"accepted": true}', _JSON)],
    "Warehouse": [503, 503, 503, 200, 503],
    "CRM": [200, 204, Reply(400, b'{"error": "no such contact"}', _JSON), 200],
}
_EVENTS = {
    "Orders EU": "ShipmentOrderCreated",
    "Billing": "InvoiceCreated",
    "Warehouse": "ShipmentOrderCreated",
    "CRM": "User.Created",
}
_PAGES = {"sent": "/sent", "webhooks": "/webhooks"}


async def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        async with (
            Receiver().serving() as receiver,
            running(Path(folder)) as platform,
            async_playwright() as playwright,
        ):
            delivery = await fill(platform, receiver)
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            for name, path in {**_PAGES, "delivery": f"/deliveries/{delivery}"}.items():
                for scheme in ("light", "dark"):
                    await take(browser, platform, name, path, scheme)
            await browser.close()


async def fill(platform: PlatformProcess, receiver: Receiver) -> str:
    """Publish to receivers of each kind. Return a delivery that was retried, refused, and sent again by hand."""
    for event in sorted(set(_EVENTS.values())):
        await platform.post("/v1/events", {"key": event})
    for name, answers in _RECEIVERS.items():
        url = receiver.tell(f"/{name.lower().replace(' ', '-')}", answers)
        await platform.webhook(_EVENTS[name], url, name=name, retry_policy={"schedule": [1, 3, 6, 3600]})
    told = await platform.publish(
        "InvoiceCreated",
        {"account": {"id": 10045, "name": "Acme Networks"}, "invoice": {"id": 88213}},
        id="invoice-88213",
    )
    delivery = await platform.delivery(told)
    await platform.wait(delivery, "failed")
    for number in range(4700, 4720):
        await platform.publish("ShipmentOrderCreated", {"order": {"id": number}}, id=f"order-{number}")
        if number % 3 == 0:
            await platform.publish("User.Created", {"user": {"id": number}}, id=f"user-{number}")
    await platform.post(f"/v1/deliveries/{delivery}/resend")
    await platform.wait(delivery, "delivered")
    await asyncio.sleep(12)  # until the waits differ: it is for the picture
    await platform.publish("ShipmentOrderCreated", {"order": {"id": 4720}}, id="order-4720")
    return delivery


async def take(browser: Browser, platform: PlatformProcess, name: str, path: str, scheme: str) -> None:
    context = await browser.new_context(
        viewport={"width": 1400, "height": 860}, color_scheme="dark" if scheme == "dark" else "light"
    )
    tab = await context.new_page()
    await sign_in(tab, platform.port)
    await tab.goto(f"http://127.0.0.1:{platform.port}{path}", wait_until="networkidle")
    await tab.wait_for_timeout(2500)
    await tab.screenshot(path=FOLDER / f"{name}-{scheme}.png")
    await context.close()


if __name__ == "__main__":
    if CHROMIUM is None:
        sys.exit("There is no Chromium (Debian: apt-get install chromium-headless-shell)")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    asyncio.run(main())
