"""Sent: what a person sees and does there, in a real browser."""

import asyncio
import re

import pytest
from playwright.async_api import Locator, Route, expect
from playwright.async_api import Page as Tab

from api.pages.page import templates
from tests.pages.conftest import EVERY_LOOK, Monitor, Open
from webhooks.testing.platform_process import PlatformProcess, until
from webhooks.testing.receiver import Receiver

NOTE_WHAT_IS_SAID = """() => {
    const said = document.getElementById("asked");
    const status = () => document.querySelector("td .status").textContent;
    new MutationObserver(() => note([said.textContent, status()])).observe(said, { childList: true });
}"""


async def click_at(tab: Tab, place: Locator) -> None:
    """Click where an element is, whatever lies over it."""
    box = await place.bounding_box()
    assert box
    await tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>'


async def test_a_new_delivery_appears_by_itself_and_changes_where_it_is(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.tell(path, [400, 200]), name="Orders")
    tab = await monitor.open(f"/sent?event={event}")
    await expect(tab.get_by_text("No delivery has all of this")).to_be_visible()

    delivery = await platform.delivery(await platform.publish(event, id=f"order-{path[1:9]}"))

    row = tab.get_by_role("row").filter(has_text=f"order-{path[1:9]}")
    await expect(row).to_contain_text("failed")
    await expect(row).to_contain_text("Orders")
    await expect(row).to_contain_text("waits for resend")
    await row.get_by_role("checkbox").check()
    said: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()

    async def answer_late(route: Route) -> None:
        await asyncio.wait_for(asyncio.shield(said), 15)
        await route.continue_()

    def note(seen: list[str]) -> None:
        if not said.done():
            said.set_result(seen)

    await tab.expose_function("note", note)
    await tab.evaluate(NOTE_WHAT_IS_SAID)
    await tab.route("**/sent/resend", answer_late)
    await tab.get_by_role("button", name="Resend 1").click()
    assert said.result() == ["Asking for 1 delivery to be sent again …", "sending"]
    await expect(tab.get_by_text("1 delivery is sent again.")).to_be_visible()
    await expect(tab).to_have_url(re.compile(f"event={event}"))
    await expect(row).to_contain_text("delivered")
    box = await row.get_by_role("checkbox").bounding_box()
    assert box
    await tab.mouse.click(box["x"] - 6, box["y"] - 6)

    async def selects_its_id() -> bool:  # not if the row changes meanwhile
        await tab.get_by_title(f"order-{path[1:9]}").dblclick(position={"x": 5, "y": 8})
        return str(await tab.evaluate("getSelection().toString()")).strip("-") == "order"

    await until(selects_its_id, timeout=15, what="the selection")
    assert "/sent" in tab.url
    await click_at(tab, row.locator(".status"))
    await expect(tab).to_have_url(re.compile(f"/deliveries/order-{path[1:9]}~"))
    assert [attempt["trigger"] for attempt in (await platform.wait(delivery, "delivered"))["attempts"]] == [
        "event",
        "resend",
    ]


async def test_nothing_moves_while_somebody_reads(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.url(path))
    await platform.publish(event, id="first")
    tab = await monitor.open(f"/sent?event={event}")
    row = tab.get_by_role("row").filter(has_text="first")
    await row.hover()

    await platform.publish(event, id="second")

    offer = tab.get_by_role("button", name="1 new")
    await expect(offer).to_be_visible()
    await expect(tab.get_by_role("row")).to_have_count(2)  # the head, and the first one
    await offer.click()
    await expect(tab.get_by_role("row").nth(1)).to_contain_text("second")


async def test_filters_are_in_the_url_and_a_search_finds_an_occurrence(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    webhook = await platform.webhook(event, receiver.tell(path, [400]))
    failed = await platform.delivery(await platform.publish(event, id=f"o-{path[1:9]}"))
    await platform.wait(failed, "failed")
    tab = await monitor.open("/sent")

    await tab.get_by_text("Status any").click()
    await tab.get_by_label("failed", exact=True).check()
    await expect(tab).to_have_url(re.compile("status=failed"))
    await expect(tab.get_by_role("row").filter(has_text=f"o-{path[1:9]}")).to_be_visible()

    await monitor.open(f"/sent?status=delivered&webhook_id={webhook['id']}")
    await expect(tab.get_by_text("No delivery has all of this")).to_be_visible()
    await tab.get_by_role("link", name="Show all").click()
    await tab.get_by_role("searchbox").fill(f"o-{path[1:9]}")
    await tab.get_by_role("searchbox").press("Enter")
    await expect(tab.get_by_role("row")).to_have_count(2)


async def test_a_filter_that_is_wrong_is_named(monitor: Monitor, platform: PlatformProcess) -> None:
    answer = await monitor.tab.goto(f"http://127.0.0.1:{platform.port}/sent?status=nonsense")

    assert answer is not None
    assert answer.status == 422
    await expect(monitor.tab.get_by_role("alert")).to_contain_text("status: must be 'pending'")


async def test_who_may_only_look_sees_no_buttons(open_monitor: Open, platform: PlatformProcess) -> None:
    key = await platform.post("/v1/api-keys", {"name": "looks", "role": "viewer"})
    monitor = await open_monitor(key=key["key"])

    tab = await monitor.open("/sent")

    await expect(tab.get_by_role("checkbox", name=re.compile("Select"))).to_have_count(0)
    await expect(tab.get_by_role("link", name="Audit")).to_have_count(0)
    answer = await monitor.context.request.post(
        f"http://127.0.0.1:{platform.port}/sent/resend",
        form={"id": "a~00000000-0000-7000-8000-000000000000"},
        headers={"sec-fetch-site": "same-origin"},
    )
    assert "delivery:resend" in await answer.text()


async def test_names_of_others_are_text(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.url(path), name=HOSTILE)
    await platform.wait(await platform.delivery(await platform.publish(event)), "delivered")

    tab = await monitor.open(f"/sent?event={event}")

    await expect(tab.get_by_role("row").nth(1)).to_contain_text(HOSTILE)
    assert await tab.title() == "Sent · durable-webhooks"


@EVERY_LOOK
async def test_everybody_can_use_it(open_monitor: Open, width: int, scheme: str) -> None:
    monitor = await open_monitor(width=width, scheme=scheme)

    await monitor.open("/sent")

    assert await monitor.axe() == []
    assert not await monitor.is_wider_than_the_window()


async def test_without_a_sign_in_a_page_leads_there_and_back(open_monitor: Open) -> None:
    monitor = await open_monitor(signs_in=False)

    tab = await monitor.open("/sent?status=failed")

    await expect(tab).to_have_url(re.compile(r"/sign-in\?next=%2Fsent%3Fstatus%3Dfailed"))
    await tab.get_by_label("API key").fill("wrong")
    await tab.get_by_role("button", name="Sign in").click()
    await expect(tab.get_by_role("alert")).to_contain_text("not valid")
    assert await monitor.axe() == []
    await tab.get_by_label("API key").fill("test-administrator-key")
    await tab.get_by_role("button", name="Sign in").click()
    await expect(tab).to_have_url(re.compile(r"/sent\?status=failed"))


async def test_figures_are_those_of_the_filter(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.tell(path, [200, 400]))
    for status in ("delivered", "failed"):
        delivery = await platform.delivery(await platform.publish(event, id=f"{status}-{path[1:9]}"))
        await platform.wait(delivery, status)

    tab = await monitor.open(f"/sent?event={event}")

    figures = tab.locator("#figures .value")
    await expect(figures).to_have_text(["1", "1", "0", "50.0 %"])
    await expect(tab.locator("#figures rect.good")).not_to_have_count(0)
    await tab.locator("#figures").get_by_role("link").nth(1).click()
    await expect(tab.get_by_role("row")).to_have_count(2)
    await expect(tab.get_by_role("row").nth(1)).to_contain_text("failed")
    await monitor.open(f"/sent?q=delivered-{path[1:9]}&status=delivered")
    await expect(figures).to_have_text(["1", "0", "0", "100 %"])
    await expect(tab.locator("#figures")).to_contain_text("of every status")
    await monitor.open(f"/sent?event={event}&since=2026-01-10T09:40:00Z&until=2026-01-11T09:40:00Z")
    await expect(figures).to_have_text(["0", "0", "0", "none"])


async def test_every_page_counts_what_waits_for_a_resend(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.tell(path, [400]))
    await platform.wait(await platform.delivery(await platform.publish(event)), "failed")

    tab, asked = monitor.tab, list[str]()
    tab.on("request", lambda request: asked.append(request.url))

    async def is_counted(place: str) -> bool:  # a delivery of another test may fail meanwhile
        asked.clear()
        await monitor.open(place)
        badge = tab.locator("#failed-count")
        await expect(badge).to_have_attribute("data-version", re.compile("."))
        number = (await platform.get("/v1/statistics/awaiting-resend"))["awaiting_resend"]
        return bool(number) and await badge.text_content() == f"{number} failed"

    await until(lambda: is_counted("/webhooks"), timeout=30, what="the count")
    await expect(tab.get_by_role("link", name=re.compile(r"^Sent\s*\d+\s*failed$"))).to_be_visible()
    await until(lambda: is_counted("/sent"), timeout=30, what="the count with the figures")
    assert not any("failed-count" in url for url in asked)


@pytest.mark.parametrize("number", [0, None])
def test_an_unknown_count_is_not_shown_as_a_number(number: int | None) -> None:
    assert ">0<" not in templates.get_template("failed_count.html").render(number=number, refreshes=True)


async def test_rows_that_the_page_shows_are_not_sent_to_it_again(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.url(path))
    await platform.wait(await platform.delivery(await platform.publish(event)), "delivered")
    tab = await monitor.open(f"/sent?event={event}")
    await expect(tab.get_by_role("row").filter(has_text="delivered")).to_have_count(1)
    part = {"HX-Request": "true"}
    rows = await tab.request.get(tab.url, headers=part)
    part["If-None-Match"] = rows.headers["etag"]
    same = await tab.request.get(tab.url, headers=part)
    other = await platform.publish(event)
    await platform.wait(await platform.delivery(other), "delivered")

    async def has_changed() -> bool:
        return other["id"] in await (await tab.request.get(tab.url, headers=part)).text()

    assert (same.status, await same.body()) == (304, b"")
    await until(has_changed, timeout=15, what="the other row")
