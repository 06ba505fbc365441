"""Webhooks: what a person sees and does there, in a real browser."""

import json
import re

import pytest
import trustme
from playwright.async_api import Page as Tab
from playwright.async_api import expect
from standardwebhooks import Webhook as Verifier

from api.pages import shown
from api.pages.page import templates
from tests.pages.conftest import EVERY_LOOK, Monitor, Open
from tests.support.oauth_server import OAuthServer
from tests.support.tenants import new_tenant
from tests.support.tls_receiver import pem_of
from webhooks.testing.platform_process import Json, PlatformProcess
from webhooks.testing.receiver import Receiver, Reply

HOSTILE = '<img src="x"/onerror="document.title=1"><script>document.title=2</script>'
PAIR, CLIENT, PASSWORD = "Key Value Pair", "OAuth 2.0 Client Credentials", "OAuth 2.0 Password"


async def fill_in(monitor: Monitor, event: str, url: str, name: str = "Orders") -> Tab:
    """Fill in what every new webhook needs."""
    tab = await monitor.open(f"/webhooks/new?event={event}")
    await tab.get_by_label("Name", exact=True).fill(name)
    await tab.get_by_label("URL", exact=True).fill(url)
    return tab


async def unfold(tab: Tab, *sections: str) -> None:
    """Open sections of the form."""
    for section in sections:
        await tab.locator(f"#section-{section} summary").click()


async def create(tab: Tab) -> tuple[str, str]:
    """Send the form. Return the webhook's id, and its secret."""
    await tab.get_by_role("button", name="Create webhook").click()
    await expect(tab.get_by_role("heading", name="Webhook created")).to_be_visible()
    secret = await tab.locator("#secret").text_content()
    place = await tab.get_by_role("link", name="Open the webhook").get_attribute("href")
    assert secret and place
    return place.removeprefix("/webhooks/"), secret


async def save(tab: Tab) -> None:
    await tab.get_by_role("button", name="Save").click()
    await expect(tab.get_by_text("Saved.")).to_be_visible()


async def test_the_form_creates_a_webhook_with_everything(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    tab = await fill_in(monitor, event, receiver.url(path))
    await expect(tab.get_by_label("Method")).to_be_hidden()
    await unfold(tab, "selection", "request", "signatures", "retries")
    await tab.get_by_label("Method").select_option("PUT")
    await tab.get_by_label("Timeout").fill("7")
    await tab.get_by_label("Client identifiers").fill(f"c-{path[1:9]}\nzenith\n")
    await tab.get_by_label("Filter").fill('{"data": {"n": {"$gte": 1}}}')
    await tab.get_by_label("Headers, name 1").fill("X-Shop")
    await tab.get_by_label("Headers, value 1").fill("north")
    await tab.get_by_label("github").check()
    await tab.get_by_label("Policy").select_option("schedule")
    await tab.get_by_label("Waits").fill("1, 2.5, 60")
    id, secret = await create(tab)

    shown = await platform.get(f"/v1/webhooks/{id}")
    published = await platform.publish(event, client_identifier=f"c-{path[1:9]}")
    request = (await receiver.wait_for(path, 1))[0]

    assert (shown["name"], shown["timeout"], shown["events"], shown["active"]) == ("Orders", 7, [event], True)
    assert shown["filter"] == {"data": {"n": {"$gte": 1}}}
    assert shown["allowedClientIdentifiers"] == [f"c-{path[1:9]}", "zenith"]
    assert shown["retry_policy"]["schedule"] == [1, 2.5, 60]
    assert shown["signatures"] == ["v1", "github"]
    assert shown["authentication"] == {"type": "None"}
    assert (request.method, request.headers["x-shop"]) == ("PUT", "north")
    Verifier(secret).verify(request.body, request.headers)
    await platform.wait(await platform.delivery(published), "delivered")


async def test_a_key_in_a_header_and_masked_secrets_that_stay(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    tab = await fill_in(monitor, event, receiver.url(path))
    await unfold(tab, "authentication", "request")
    await expect(tab.get_by_label("Key name")).to_be_hidden()
    await tab.get_by_label("Mode").select_option(PAIR)
    await expect(tab.get_by_label("Token URL")).to_be_hidden()
    await tab.get_by_label("Key name").fill("X-Api-Key")
    await tab.get_by_label("Key value").fill("canary-secret")
    await tab.get_by_label("Headers, name 1").fill("X-Token")
    await tab.get_by_label("Headers, value 1").fill("canary-token")
    await tab.get_by_label("Headers, name 2").fill("X-Old")
    await tab.get_by_label("Headers, value 2").fill("old")
    id, _ = await create(tab)

    await monitor.open(f"/webhooks/{id}/edit")
    assert "canary" not in await tab.content()
    await unfold(tab, "more")
    await tab.get_by_label("Description").fill("changed")
    await tab.get_by_label("Headers, name 3").fill("X-New")
    await tab.get_by_label("Headers, value 3").fill("new")
    row = 1 if await tab.get_by_label("Headers, name 1").input_value() == "X-Old" else 2
    await tab.get_by_label(f"Headers, name {row}").fill("")
    await tab.get_by_label(f"Headers, value {row}").fill("")
    await save(tab)
    await platform.publish(event)
    request = (await receiver.wait_for(path, 1))[0]

    assert (await platform.get(f"/v1/webhooks/{id}"))["description"] == "changed"
    assert (request.headers["x-api-key"], request.headers["x-token"]) == ("canary-secret", "canary-token")
    assert request.headers["x-new"] == "new"
    assert "x-old" not in request.headers
    assert "canary" not in await tab.content()


@pytest.mark.parametrize("mode", [CLIENT, PASSWORD])
async def test_a_token_by_oauth(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str, mode: str
) -> None:
    event = await platform.event()
    async with OAuthServer().serving() as server:
        user: Json = {"grant": "password", "username": "ulla", "password": "pass"} if mode == PASSWORD else {}
        server.client("client", "client-secret", scope="read write", **user)
        tab = await fill_in(monitor, event, receiver.tell(path, [server.protected]))
        await unfold(tab, "authentication")
        await tab.get_by_label("Mode").select_option(mode)
        await tab.get_by_label("Scope").fill("read write")
        await tab.get_by_label("Further parameters, name 1").fill("resource")
        await tab.get_by_label("Further parameters, value 1").fill("urn:orders")
        await tab.get_by_label("Token URL").fill(server.token_url)
        await tab.get_by_label("Client id", exact=True).fill("client")
        await tab.get_by_label("Client secret").fill("client-secret")
        if mode == PASSWORD:
            await tab.get_by_label("User name").fill("ulla")
            await tab.get_by_label("Password", exact=True).fill("pass")
        else:
            await expect(tab.get_by_label("User name")).to_be_hidden()
        id, _ = await create(tab)
        await platform.wait(await platform.delivery(await platform.publish(event)), "delivered")
        assert server.accepts(receiver.got(path)[0])

    shown = (await platform.get(f"/v1/webhooks/{id}"))["authentication"]
    assert (shown["type"], shown["client_id"], shown["client_secret"]) == (mode, "client", "********")
    assert (shown["scope"], shown["parameters"]) == ("read write", {"resource": "urn:orders"})


async def test_a_client_certificate_and_a_preset_stay_until_they_are_changed(
    monitor: Monitor, platform: PlatformProcess
) -> None:
    chain, key = pem_of(trustme.CA().issue_cert("client.test", organization_unit_name="client.test"))
    tab = await fill_in(monitor, await platform.event(), "https://api.example.com/orders")
    await unfold(tab, "authentication", "retries")
    await tab.get_by_label("TLS client certificate").fill(chain)
    await tab.get_by_label("Its private key").fill("no key")
    await tab.get_by_label("Policy").select_option("logto")
    await tab.get_by_role("button", name="Create webhook").click()
    await expect(tab.locator("#private_key-fault")).to_be_visible()
    await tab.get_by_label("Its private key").fill(key)
    id, _ = await create(tab)

    await monitor.open(f"/webhooks/{id}/edit")
    await expect(tab.get_by_label("TLS client certificate")).to_have_value("********")
    await expect(tab.get_by_label("Policy")).to_have_value("logto")
    await expect(tab.get_by_label("Waits")).to_be_hidden()
    await save(tab)
    shown = await platform.get(f"/v1/webhooks/{id}")
    assert "client.test" in shown["client_certificate"]["subject"]
    assert (shown["retry_policy"]["only_5xx"], shown["retry_policy"]["maximum_attempts"]) == (True, 4)

    await monitor.open(f"/webhooks/{id}/edit")
    await tab.get_by_label("TLS client certificate").fill("")
    await tab.get_by_label("Its private key").fill("")
    await tab.get_by_label("Policy").select_option("growing")
    await save(tab)
    shown = await platform.get(f"/v1/webhooks/{id}")
    assert shown["client_certificate"] is None


async def test_filters_are_choices_also_of_more_events_than_a_filter_shows(
    open_monitor: Open, platform: PlatformProcess
) -> None:
    events = [f"Zebra{number:03}" for number in range(110)]
    async with new_tenant(platform) as (_, inside):
        await inside.post("/v1/events/import", {"events": [{"key": key} for key in events]})
        for key in (events[3], events[109]):
            await inside.webhook(key, "http://127.0.0.1:9999/", name=f"of {key}")
        made = await inside.post("/v1/api-keys", {"name": "looks", "role": "viewer"})
        monitor = await open_monitor(key=made["key"])
        tab = await monitor.open("/webhooks")

        await tab.get_by_text("Event any").click()
        await tab.get_by_label("Another event").fill(events[109])
        await tab.get_by_label("Another event").press("Enter")
        await expect(tab.get_by_role("row")).to_have_count(2)
        await tab.get_by_text(f"Event {events[109]}").click()
        await tab.get_by_label("Narrow the list").fill("zebra109")
        await expect(tab.get_by_role("checkbox")).to_have_count(1)
        await expect(tab.get_by_label(events[109])).to_be_checked()
        await tab.get_by_label("Narrow the list").fill("")
        await tab.get_by_label(events[3]).check()
        await expect(tab.get_by_role("row")).to_have_count(3)
        assert await monitor.axe() == []


async def test_faults_are_beside_their_fields_and_what_was_typed_stays(
    monitor: Monitor, platform: PlatformProcess
) -> None:
    event = await platform.event()
    tab = await fill_in(monitor, event, "ftp://example.com")
    await unfold(tab, "selection", "request", "retries")
    await tab.get_by_label("Timeout").fill("soon")
    await tab.get_by_label("Headers, name 1").fill("Host")
    await tab.get_by_label("Headers, value 1").fill("x")
    await tab.get_by_label("Policy").select_option("schedule")
    await tab.get_by_label("Waits").fill("5, later")
    await tab.get_by_label("Filter").fill("{")
    await tab.get_by_role("button", name="Create webhook").click()
    await expect(tab.locator("#filter-fault")).to_contain_text("not JSON")
    await tab.get_by_label("Filter").fill("")
    await tab.get_by_role("button", name="Create webhook").click()
    await expect(tab.locator("#headers_0-fault")).to_contain_text("set by the platform")
    await tab.get_by_label("Headers, name 1").fill("X-Fine")
    await tab.get_by_role("button", name="Create webhook").click()
    await expect(tab.locator("#timeout-fault")).to_contain_text("Must be a number")
    await expect(tab.locator("#retry_schedule-fault")).to_contain_text("Must be a number")
    await expect(tab.get_by_label("Timeout")).to_have_attribute("aria-invalid", "true")
    await tab.get_by_label("Timeout").fill("5")
    await tab.get_by_label("Waits").fill("5")
    await tab.get_by_role("button", name="Create webhook").click()
    await expect(tab.locator("#url-fault")).to_be_visible()
    await expect(tab.get_by_label("URL", exact=True)).to_have_value("ftp://example.com")
    await expect(tab.get_by_label("Headers, value 1")).to_have_value("x")
    assert await monitor.axe() == []


async def test_two_people_do_not_overwrite_each_other(monitor: Monitor, platform: PlatformProcess) -> None:
    webhook = await platform.webhook(await platform.event(), "http://127.0.0.1:9999/")
    tab = await monitor.open(f"/webhooks/{webhook['id']}/edit")
    await platform.call("PATCH", f"/v1/webhooks/{webhook['id']}", {"description": "theirs"})
    await tab.get_by_label("Name", exact=True).fill("mine")

    await tab.get_by_role("button", name="Save").click()

    await expect(tab.get_by_role("alert")).to_contain_text("has changed this webhook since you opened it")
    stored = await platform.get(f"/v1/webhooks/{webhook['id']}")
    assert (stored["name"], stored["description"]) == ("", "theirs")
    await save(tab)
    assert (await platform.get(f"/v1/webhooks/{webhook['id']}"))["name"] == "mine"


async def test_a_test_shows_request_and_answer_and_everything_of_others_is_text(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event(sample={"order": 4711})
    url = receiver.tell(path, [Reply(500, HOSTILE.encode(), {"content-type": "text/html"})])
    webhook = await platform.webhook(event, url, name=HOSTILE, description=HOSTILE, headers={"X-Shop": HOSTILE})
    tab = await monitor.open(f"/webhooks/{webhook['id']}")

    await tab.get_by_role("button", name="Send test").click()

    await expect(tab.locator("#test")).to_contain_text("500")
    await expect(tab.locator("#test")).to_contain_text("4711")
    await expect(tab.locator("#test")).to_contain_text(HOSTILE)
    await expect(tab.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    await expect(tab.get_by_text("Circuit")).to_be_visible()
    assert tab.url.endswith(f"/webhooks/{webhook['id']}")
    await monitor.open(f"/webhooks?event={event}")
    await expect(tab.get_by_role("row")).to_have_count(2)
    await expect(tab.get_by_role("link", name=HOSTILE)).to_be_visible()
    await monitor.open(f"/webhooks/{webhook['id']}/edit")
    await expect(tab.get_by_label("Name", exact=True)).to_have_value(HOSTILE)
    assert await tab.title() == "Edit webhook · durable-webhooks"


async def test_rotate_disable_activate_and_delete(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    webhook: Json = await platform.webhook(event, receiver.url(path))
    tab = await monitor.open(f"/webhooks/{webhook['id']}")
    await tab.get_by_role("link", name="Rotate secret").click()
    await tab.get_by_label("Overlap").select_option("3600")
    await tab.get_by_role("button", name="Rotate secret").click()
    await expect(tab.get_by_text("requests are signed with the old secret and the new one")).to_be_visible()
    new = await tab.locator("#secret").text_content()
    assert new and new != webhook["signing_secret"]
    await platform.publish(event)
    request = (await receiver.wait_for(path, 1))[0]
    for secret in (webhook["signing_secret"], new):
        Verifier(secret).verify(request.body, request.headers)

    await tab.get_by_role("link", name="Open the webhook").click()
    await tab.get_by_role("button", name="Disable").click()
    await expect(tab.get_by_text("Disabled. Nothing is sent to it.")).to_be_visible()
    assert not (await platform.get(f"/v1/webhooks/{webhook['id']}"))["active"]
    await tab.get_by_role("button", name="Activate").click()
    await expect(tab.get_by_text("Active again.")).to_be_visible()
    assert (await platform.get(f"/v1/webhooks/{webhook['id']}"))["active"]
    await tab.get_by_role("button", name="Delete").click()
    await expect(tab.get_by_text("Deleted.")).to_be_visible()
    await platform.get(f"/v1/webhooks/{webhook['id']}", expect=404)


async def test_a_webhook_that_the_platform_deactivated_says_why(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    webhook = await platform.webhook(event, receiver.tell(path, [410]))
    await platform.wait(await platform.delivery(await platform.publish(event)), "failed")

    tab = await monitor.open(f"/webhooks/{webhook['id']}")

    await expect(tab.get_by_text("the receiver answered 410 Gone")).to_be_visible()
    await expect(tab.get_by_text("What to do")).to_be_visible()
    await expect(tab.get_by_role("button", name="Activate")).to_be_visible()


async def test_a_webhook_without_a_name_whose_credentials_are_refused(
    monitor: Monitor, platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    for end in ("one", "two"):
        await platform.webhook(event, receiver.tell(f"{path}/{end}", [401]), retry_policy={"schedule": [3600]})
    address = f"127.0.0.1:{receiver.port}{path}/two"
    for _ in range(2):
        for delivery in (await platform.publish(event))["deliveries"]:
            await platform.wait(delivery["id"], "retrying")
    tab = await monitor.open(f"/sent?event={event}&status=retrying")
    await expect(tab.get_by_role("row").filter(has_text=shown.address(f"http://{address}"))).to_have_count(2)
    await tab.get_by_text("Webhook any").click()
    choice = tab.get_by_label(shown.address(f"http://{address}"))
    await expect(tab.locator("label").filter(has=choice)).to_have_attribute("title", f"http://{address}")
    await monitor.open(f"/webhooks?event={event}")
    row = tab.get_by_role("row").filter(has_text=shown.address(f"http://{address}"))
    await expect(row.get_by_role("link")).to_have_attribute("title", f"http://{address}")
    box = await row.bounding_box()
    assert box
    await tab.mouse.click(box["x"] + 4, box["y"] + 4)

    await expect(tab.get_by_role("heading", level=1)).to_have_text(shown.address(f"http://{address}"))
    await expect(tab.locator("#refused")).to_contain_text("2 deliveries are retried after 401 Unauthorized")
    await expect(tab.locator("dd").filter(has_text=re.compile("^2$"))).to_have_count(2)  # unfinished, and of those
    places = [await tab.get_by_role("heading", name=name).bounding_box() for name in ("Send again", "Recent requests")]
    assert places[0] and places[1] and places[0]["y"] < places[1]["y"]
    assert await monitor.axe() == []
    await tab.get_by_role("link", name="its authentication").click()
    await expect(tab.get_by_label("Mode")).to_be_in_viewport()


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        ({"count": None, "of": None}, "<dd>unknown</dd>"),
        ({"count": 0, "of": None}, "<dd>0</dd>"),
        ({"count": 7, "of": 50}, "At least 7 deliveries are"),
        ({"count": 0, "of": 50}, "none of the newest 50"),
    ],
)
def test_a_count_of_refused_deliveries_says_how_exact_it_is(refused: Json, words: str) -> None:
    traffic = {"state": None, "in_flight": None, "limit": None, "unfinished": 9, "awaiting_resend": 0}
    part = templates.get_template("webhook_traffic.html")

    text = part.render(id="a", traffic=traffic, refused=refused, may=lambda _: True)

    assert words in text
    assert ("retried after 401 Unauthorized" in text) == bool(refused["count"])


async def test_who_may_only_look_sees_no_buttons(open_monitor: Open, platform: PlatformProcess) -> None:
    webhook = await platform.webhook(await platform.event(), "http://127.0.0.1:9999/")
    key = await platform.post("/v1/api-keys", {"name": "looks", "role": "viewer"})
    monitor = await open_monitor(key=key["key"])
    for place in ("/webhooks", f"/webhooks/{webhook['id']}"):
        tab = await monitor.open(place)
        text = json.dumps(await tab.locator("main").get_by_role("button").all_text_contents())
        assert text in ('["Filter"]', "[]")
        for name in ("New webhook", "Edit", "Rotate secret"):
            await expect(tab.get_by_role("link", name=name)).to_have_count(0)
    for place in ("/webhooks/new", f"/webhooks/{webhook['id']}/edit", f"/webhooks/{webhook['id']}/rotate-secret"):
        answer = await monitor.context.request.get(f"http://127.0.0.1:{platform.port}{place}")
        assert answer.status == 403


@EVERY_LOOK
async def test_everybody_can_use_them(open_monitor: Open, platform: PlatformProcess, width: int, scheme: str) -> None:
    webhook = await platform.webhook(await platform.event(), "http://127.0.0.1:9999/")
    monitor = await open_monitor(width=width, scheme=scheme)
    for place in ("", "/new", f"/{webhook['id']}", f"/{webhook['id']}/edit", f"/{webhook['id']}/rotate-secret"):
        await monitor.open(f"/webhooks{place}")
        assert await monitor.axe() == [], place
        assert not await monitor.is_wider_than_the_window(), place
