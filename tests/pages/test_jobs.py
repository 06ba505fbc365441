"""Jobs in a real browser: counted, confirmed, watched to their end."""

import contextlib
import re
import sqlite3
from datetime import UTC, datetime, timedelta

from playwright.async_api import expect

from tests.api.test_jobs import visible
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


async def test_what_failed_in_an_outage_is_resent_by_one_click(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """Also after the webhook was activated again, which ends that it is failing."""
    event = await platform.event()
    webhook = await platform.webhook(event, receiver.tell(path, [400, 400, 400, 200]), name="Repaired")
    for _ in range(3):
        await platform.wait(await platform.delivery(await platform.publish(event)), "failed")
    await visible(platform, 3, event=event, status="failed")
    since = (datetime.now(UTC) - timedelta(hours=3)).replace(microsecond=0)
    with contextlib.closing(sqlite3.connect(platform.data_dir / "webhooks.db")) as database, database:
        failing = "UPDATE webhooks SET active = 0, failing_since = ?, deactivated_at = ? WHERE id = ?"
        database.execute(failing, (*[since.strftime("%Y-%m-%d %H:%M:%S.000000")] * 2, webhook["id"]))
    tab = await monitor.open(f"/webhooks/{webhook['id']}")
    again = tab.get_by_role("region", name="Send again")
    minute = await tab.evaluate(
        "(at) => new Date(at).toLocaleTimeString([], {timeStyle: 'short', hour12: false})",
        (since - timedelta(minutes=1)).isoformat(),
    )

    await expect(again).to_contain_text(f"3 deliveries failed since {minute}")
    await expect(again.get_by_role("link")).to_have_count(0)
    await tab.get_by_role("button", name="Activate").click()
    assert await monitor.axe() == []
    await again.get_by_role("link", name=f"Resend the 3 that failed since {minute}").click()
    await expect(tab.get_by_text(f"Exactly 3 deliveries that failed since {minute}")).to_be_visible()
    await expect(tab.get_by_text("sent again to Repaired")).to_be_visible()
    assert await monitor.axe() == []
    assert len(receiver.got(path)) == 3
    await tab.get_by_role("button", name="Start").click()

    await expect(tab.locator("#job .status")).to_have_text("done")
    assert len(await receiver.wait_for(path, 6)) == 6
    await expect(tab.locator("#job dl")).to_contain_text("Repaired")


async def test_an_occurrence_is_sent_to_a_webhook_that_missed_it(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event, id = await platform.event(), f"missed-{path[1:9]}"
    await platform.publish(event, {"n": 1}, id=id)
    webhook = await platform.webhook(event, receiver.url(path), name="<b>Late</b>")
    await platform.webhook(event, receiver.url(path), name="Picky", filter={"data": {"n": 2}})
    await visible(platform, 1, "/v1/occurrences", event=event)
    tab = await monitor.open(f"/occurrences/{id}")
    missed = tab.get_by_role("region", name="Not sent to")
    await expect(missed.get_by_role("link")).to_have_count(2)
    assert await monitor.axe() == []
    await missed.get_by_role("link", name="Send it to Picky").click()
    await expect(tab.get_by_text("There is nothing to do")).to_be_visible()
    await tab.go_back()
    await missed.get_by_role("link", name="Send it to <b>Late</b>").click()
    await expect(tab.get_by_text("Exactly 1 delivery is sent to <b>Late</b>, each once")).to_be_visible()
    await tab.get_by_role("button", name="Start").click()

    [request] = await receiver.wait_for(path, 1)
    assert request.headers["webhook-id"] == f"{id}~{webhook['id']}"
    await expect(tab.locator("#job .status")).to_have_text("done")
    await visible(platform, 1, webhook_id=webhook["id"])
    await monitor.open(f"/occurrences/{id}")
    await expect(missed.get_by_role("link")).to_have_text(["Send it to Picky"])


async def test_a_form_that_is_sent_twice_starts_one_job(monitor: Monitor, platform: PlatformProcess) -> None:
    event = await platform.event()
    form: dict[str, str | float | bool] = {
        "kind": "resend",
        "event": event,
        "once": f"once-{event}",
        "since": "2026-01-10T09:40:00Z",
    }
    place, same_site = f"http://127.0.0.1:{platform.port}/jobs/new", {"sec-fetch-site": "same-origin"}
    answers = [await monitor.context.request.post(place, form=form, headers=same_site) for _ in range(2)]

    assert [answer.status for answer in answers] == [200, 200]
    assert len({answer.url for answer in answers}) == 1
    assert "/jobs/" in answers[0].url


async def test_the_search_of_sent_is_what_a_job_is_about(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event, client = await platform.event(), f"client-{path[1:9]}"
    await platform.webhook(event, receiver.tell(path, [400]))
    await platform.wait(await platform.delivery(await platform.publish(event, client_identifier=client)), "failed")
    await visible(platform, 1, event=event, status="failed")
    tab = await monitor.open(f"/sent?q={client}")
    await tab.get_by_role("link", name="Resend all that failed").click()

    await expect(tab.get_by_text(re.compile("Exactly 1 delivery"))).to_be_visible()
    await expect(tab.locator("dl")).to_contain_text(client)
