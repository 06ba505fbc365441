"""A delivery's page in a real browser: the chain, the attempts, and what a person does there."""

import asyncio
import re
import shlex

from playwright.async_api import expect

from tests.pages.conftest import EVERY_LOOK, Monitor, Open
from webhooks.testing.platform_process import PlatformProcess, free_port
from webhooks.testing.receiver import Receiver, Reply

HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
NUMBERS = '{"total": 10.00, "exact": 0.123456789012345678}'


async def failed(platform: PlatformProcess, receiver: Receiver, path: str, *answers: int | Reply) -> str:
    event = await platform.event()
    await platform.webhook(event, receiver.tell(path, [*answers]), name="Orders")
    delivery = await platform.delivery(await platform.publish(event))
    await platform.wait(delivery, "failed")
    return delivery


async def test_a_failed_delivery_is_explained_and_sent_again(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    refused = Reply(400, b'{"error": "unknown account"}', {"content-type": "application/json"})
    delivery = await failed(platform, receiver, path, 503, refused, 200)

    tab = await monitor.open(f"/deliveries/{delivery}")
    await expect(tab.get_by_text("The receiver refused the payload (400)")).to_be_visible()
    await expect(tab.get_by_text('"unknown account"')).to_be_visible()
    await expect(tab.locator(".wide-only circle.mark.bad")).to_have_count(2)
    await tab.get_by_role("button", name="Resend").click()

    await expect(
        tab.get_by_text("Delivered by hand (bootstrap). Attempt 2 had failed: 400 Bad Request, “unknown account”.")
    ).to_be_visible()
    await expect(tab.locator(".wide-only circle.mark.good")).to_have_count(1)
    await expect(tab.locator(".wide-only text.flag")).to_have_text("resend by bootstrap")
    assert len(receiver.got(path)) == 3


async def test_attempts_without_an_answer_are_shown(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """They have no status code. An error that says no more than the outcome is shown once."""
    silent, broken = Reply(200, before=asyncio.Event().wait), Reply(raw=b"")
    event, other = await platform.event(), await platform.event()
    await platform.webhook(event, receiver.tell(path, [silent, broken, 400]), timeout=1)
    await platform.webhook(other, f"http://127.0.0.1:{free_port()}/", retry_policy={"maximum_attempts": 1})
    delivery, refused = [await platform.delivery(await platform.publish(key)) for key in (event, other)]
    await platform.wait(delivery, "failed")
    await platform.wait(refused, "failed")

    tab = await monitor.open(f"/deliveries/{delivery}")
    for number, outcome in ((1, "timeout"), (2, "closed without an answer"), (3, "400 Bad Request")):
        await expect(tab.locator(f"#attempt-{number} .status")).to_have_text(outcome)
    await expect(tab.locator("#attempt-1")).to_contain_text("no answer within 1 s")
    await monitor.open(f"/deliveries/{refused}")
    await expect(tab.locator("#attempt-1")).to_contain_text("connection refused")
    assert (await tab.locator("#attempt-1").text_content() or "").count("connection refused") == 1


async def test_the_curl_command_sends_the_same_request_without_the_secret(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    headers = {"Authorization": "Bearer canary-of-curl", "X-Shop": "it's north"}
    await platform.webhook(event, receiver.tell(path, [400, 200]), headers=headers)
    delivery = await platform.delivery(await platform.publish(event, {"n": "it's $HOME"}))
    await platform.wait(delivery, "failed")

    tab = await monitor.open(f"/deliveries/{delivery}")
    command = await tab.locator("#curl").text_content() or ""
    shell = await asyncio.create_subprocess_exec("sh", "-c", command, stdout=asyncio.subprocess.DEVNULL)
    await shell.wait()

    [sent, again] = receiver.got(path)
    assert again.body == sent.body
    assert again.headers["x-shop"] == "it's north"
    assert again.headers["webhook-signature"] == sent.headers["webhook-signature"]
    assert again.headers["authorization"] == "<SECRET>"
    assert "canary-of-curl" not in await tab.content()


async def test_the_keyboard_is_enough(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    delivery = await failed(platform, receiver, path, 400, 200)
    tab = await monitor.open(f"/deliveries/{delivery}")

    for _ in range(30):
        await tab.keyboard.press("Tab")
        if await tab.evaluate("document.activeElement.textContent.trim()") == "Resend":
            break
    outline = await tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    await tab.keyboard.press("Enter")

    assert outline == "solid"
    await expect(tab.get_by_text("Sent again")).to_be_visible()
    await platform.wait(delivery, "delivered")


async def test_it_follows_the_retries_and_keeps_opened_attempts_open(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    policy = {"schedule": [1, 2, 2]}
    await platform.webhook(event, receiver.tell(path, [503, 503, 503, 200]), retry_policy=policy)
    delivery = await platform.delivery(await platform.publish(event))
    tab = await monitor.open(f"/deliveries/{delivery}")
    await expect(tab.locator("#attempt-1")).to_be_visible()
    await tab.locator("#attempt-1 summary").click()
    opened = await tab.locator("#attempt-1").get_attribute("open")

    await expect(tab.get_by_text("Delivered by attempt 4")).to_be_visible()

    assert await tab.locator("#attempt-1").get_attribute("open") == opened
    assert await tab.evaluate("document.activeElement.closest('details').id") == "attempt-1"
    await expect(tab.locator("#delivery")).not_to_have_attribute("data-refresh", re.compile("."))


async def test_what_receivers_and_producers_wrote_is_text(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    receiver.tell(path, [Reply(400, HOSTILE.encode(), {"x-evil": HOSTILE})])
    await platform.webhook(event, receiver.url(path), name=HOSTILE)
    body = f'{{"event": "{event}", "data": {{"text": "</pre><script>document.title=3</script>", "n": {NUMBERS}}}}}'
    published = await platform.http.post("/v1/occurrences", content=body, headers={"content-type": "application/json"})
    delivery = await platform.delivery(published.json())
    await platform.wait(delivery, "failed")

    tab = await monitor.open(f"/deliveries/{delivery}")

    await expect(tab.locator(".attempt pre").nth(1)).to_contain_text(HOSTILE)
    await expect(tab.get_by_role("region", name="Occurrence")).to_contain_text('"total": 10.00')
    await expect(tab.get_by_role("region", name="Attempts")).to_contain_text("0.123456789012345678")
    assert "durable-webhooks" in await tab.title()


async def test_an_answer_with_half_a_letter_is_shown(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    delivery = await failed(platform, receiver, path, Reply(400, rb'{"error": "\ud800", "error": "again"}'))

    tab = await monitor.open(f"/deliveries/{delivery}")

    await expect(tab.locator("#attempt-1")).to_contain_text(r'"error": "\ud800"')
    await expect(tab.locator("#attempt-1")).to_contain_text('"error": "again"')


async def test_the_body_is_sent_to_the_browser_once_and_curl_shows_no_secret(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    secret = {"type": "Key Value Pair", "name": "x-api-key", "value": "a-secret-of-ours"}
    await platform.webhook(event, receiver.tell(path, [503, 503, 400]), authentication=secret)
    delivery = await platform.delivery(await platform.publish(event, {"mark": "it's @here"}))
    await platform.wait(delivery, "failed")

    tab = await monitor.open(f"/deliveries/{delivery}")

    await expect(tab.get_by_role("region", name="Attempts")).to_contain_text("Each attempt sends the same body")
    assert await tab.locator(".attempt pre", has_text="it's @here").count() == 1
    curl = await tab.locator("#curl").text_content()
    assert curl is not None
    assert curl.startswith(f"curl -X POST {receiver.url(path)}")
    assert shlex.split(curl.replace("\\\n", ""))[-1].encode() == receiver.got(path)[-1].body
    assert "a-secret-of-ours" not in await tab.content()


async def test_a_page_that_is_current_is_not_sent_again(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    delivery = await failed(platform, receiver, path, 400)
    tab = await monitor.open(f"/deliveries/{delivery}")
    version = await tab.locator("#delivery").get_attribute("data-version")

    url = f"http://127.0.0.1:{platform.port}/deliveries/{delivery}"
    same = await monitor.context.request.get(url, headers={"hx-request": "true", "if-none-match": f'"{version}"'})
    other = await monitor.context.request.get(url, headers={"hx-request": "true", "if-none-match": '"older"'})

    assert (same.status, other.status) == (304, 200)


async def test_who_may_only_look_sees_no_bodies_and_no_buttons(
    open_monitor: Open, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    delivery = await failed(platform, receiver, path, Reply(400, b"the answer's text"))
    key = await platform.post("/v1/api-keys", {"name": "looks", "role": "viewer"})
    monitor = await open_monitor(key=key["key"])

    tab = await monitor.open(f"/deliveries/{delivery}")

    await expect(tab.get_by_role("button", name="Resend")).to_have_count(0)
    await expect(tab.get_by_role("button", name="Give up")).to_have_count(0)
    await expect(tab.get_by_text("delivery:read_body")).to_be_visible()
    assert "the answer's text" not in await tab.content()


@EVERY_LOOK
async def test_everybody_can_use_it(
    open_monitor: Open, platform: PlatformProcess, receiver: Receiver, path: str, width: int, scheme: str
) -> None:
    delivery = await failed(platform, receiver, path, 503, 400)
    monitor = await open_monitor(width=width, scheme=scheme)

    await monitor.open(f"/deliveries/{delivery}")

    assert await monitor.axe() == []
    assert not await monitor.is_wider_than_the_window()


async def test_a_delivery_that_does_not_exist_is_a_page(monitor: Monitor) -> None:
    answer = await monitor.tab.goto(
        f"http://127.0.0.1:{monitor.platform.port}/deliveries/none~00000000-0000-7000-8000-000000000000"
    )

    assert answer is not None
    assert answer.status == 404
    await expect(monitor.tab.get_by_role("alert")).to_have_text("No such delivery.")
