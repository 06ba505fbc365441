"""Jobs in a real browser: counted, confirmed, watched to their end."""

import re

from playwright.async_api import expect

from tests.pages.conftest import Monitor
from webhooks.testing.platform_process import PlatformProcess
from webhooks.testing.receiver import Receiver


async def test_all_that_failed_is_resent_by_a_job(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.tell(path, [400, 400, 400, 200]))
    deliveries = [await platform.delivery(await platform.publish(event)) for _ in range(3)]
    for delivery in deliveries:
        await platform.wait(delivery, "failed")
    tab = await monitor.open(f"/sent?event={event}")
    await expect(tab.get_by_role("row")).to_have_count(4)

    await tab.get_by_role("link", name="Resend all that failed").click()
    await expect(tab.get_by_text(re.compile("3 deliveries"))).to_be_visible()
    assert len(receiver.got(path)) == 3
    await tab.get_by_role("button", name="Start").click()

    await expect(tab.locator("#job .status")).to_have_text("done")
    await expect(tab.locator(".figures .value")).to_have_text(["3", "3", "3", "0"])
    for delivery in deliveries:
        await platform.wait(delivery, "delivered")
    assert len(receiver.got(path)) == 6
    assert await monitor.axe() == []
    await monitor.open("/jobs")
    await expect(tab.get_by_role("row").nth(1)).to_contain_text("done")
    assert await monitor.axe() == []


async def test_a_job_for_what_cannot_be_resent_is_refused(monitor: Monitor, platform: PlatformProcess) -> None:
    tab = await monitor.open("/jobs/new?kind=resend&status=delivered")

    await expect(tab.get_by_role("alert")).to_contain_text("sent again only with")
    await expect(tab.get_by_role("button", name="Start")).to_have_count(0)
    answer = await monitor.context.request.post(
        f"http://127.0.0.1:{platform.port}/jobs/01936b1e-0000-7000-8000-000000000000/halt",
        headers={"sec-fetch-site": "same-origin"},
    )
    assert answer.status == 404


async def test_what_a_webhook_missed_is_sent_by_a_job(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    await platform.publish(event, id=f"missed-{path[1:9]}")
    webhook = await platform.webhook(event, receiver.url(path))
    tab = await monitor.open(f"/webhooks/{webhook['id']}")

    await tab.get_by_role("link", name="Send what it missed in 24 h").click()
    await tab.get_by_role("button", name="Start").click()

    [request] = await receiver.wait_for(path, 1)
    assert request.headers["webhook-id"] == f"missed-{path[1:9]}~{webhook['id']}"
    await expect(tab.locator("#job .status")).to_have_text("done")
