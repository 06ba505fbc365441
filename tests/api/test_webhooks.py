"""Webhooks: Logiwa's call to the letter, Logto's list of events, and what a webhook is configured with."""

import base64
import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from webhooks.testing.platform_process import Json, PlatformProcess
from webhooks.testing.receiver import Received, Receiver, Reply

URL = "https://api.example.com/webhooks/shipments"
MASK = "********"
STANDARD_SECRET = "whsec_" + base64.b64encode(b"a standard secret, 24 or more").decode()
PLAIN_SECRET = "a-secret-of-our-own"
RETRY_POLICY: Json = {
    "initial_interval": 10,
    "backoff_coefficient": 4,
    "maximum_interval": 43200,
    "maximum_attempts": 10,
    "schedule": [],
    "non_retryable_statuses": [400],
    "only_5xx": False,
}
KEY_VALUE_PAIR: Json = {"type": "Key Value Pair", "name": "X-Pair", "value": "canary-value", "in": "header"}
CLIENT_CREDENTIALS: Json = {
    "type": "OAuth 2.0 Client Credentials",
    "token_url": "https://login.example.com/token",
    "client_id": "our-client",
    "client_secret": "canary-client-secret",
    "client_authentication": "header",
    "scope": "deliveries",
    "audience": "https://api.example.com",
    "parameters": {"resource": "orders", "api_key": "canary-parameter"},
}
PASSWORD: Json = {**CLIENT_CREDENTIALS, "type": "OAuth 2.0 Password", "username": "jane", "password": "canary-password"}
MODES: list[Json] = [{"type": "None"}, KEY_VALUE_PAIR, CLIENT_CREDENTIALS, PASSWORD]


def masked(mode: Json) -> Json:
    """As it may be shown."""
    shown = {name: MASK if name in ("value", "client_secret", "password") else value for name, value in mode.items()}
    return shown | ({"parameters": {"resource": "orders", "api_key": MASK}} if "parameters" in mode else {})


def pointers(problem: Json) -> list[str]:
    return [error["pointer"] for error in problem["errors"]]


async def destination(platform: PlatformProcess, **fields: object) -> Json:
    """A webhook that nothing is subscribed to."""
    return await platform.post("/v1/webhooks", {"url": URL, **fields}, expect=201)


async def subscriptions(platform: PlatformProcess, webhook: Json) -> dict[str, Json]:
    """The webhook's, by event."""
    page = await platform.get("/v1/subscriptions", webhook_id=webhook["id"])
    return {item["event"]: item for item in page["items"]}


async def signatures(platform: PlatformProcess, receiver: Receiver, path: str, webhook: Json) -> list[str]:
    """Those of a request that is sent now."""
    await platform.post(f"/v1/webhooks/{webhook['id']}/test", expect=200)
    return receiver.got(path)[-1].headers["webhook-signature"].split()


async def test_logiwas_own_request(platform: PlatformProcess) -> None:
    """The sample on the page, to the letter; what it sent is what is stored."""
    event = await platform.event()
    body = {
        "url": URL,
        "event": event,
        "allowedClientIdentifiers": ["a1b2c3d4-e5f6-7890-abcd-ef1234567890", "b2c3d4e5-f6a7-8901-bcde-f12345678901"],
        "active": True,
        "name": "Shipment Order Webhook",
        "description": "Webhook for processing new shipment order notifications",
        "headers": {"Authorization": "Bearer webhook-token", "X-Custom-Header": "logiwa-webhook"},
    }
    created = await platform.post("/v1/webhooks", body, expect=201)

    assert created.pop("signing_secret").startswith("whsec_")
    assert created == {
        **body,
        "headers": {"Authorization": "********", "X-Custom-Header": "logiwa-webhook"},
        "id": created["id"],
        "events": [event],
        "filter": None,
        "client_identifier": None,
        "deactivated_reason": None,
        "deactivated_at": None,
        "failing_since": None,
        "method": "POST",
        "format": "JSON",
        "sends_json": True,
        "authentication": {"type": "None"},
        "client_certificate": None,
        "signatures": ["v1"],
        "public_key": None,
        "bulk": False,
        "retry_policy": RETRY_POLICY,
        "timeout": 15,
        "created_at": created["created_at"],
        "updated_at": created["updated_at"],
    }
    assert await platform.get(f"/v1/webhooks/{created['id']}") == created


async def test_a_minimal_webhook_has_defaults(platform: PlatformProcess) -> None:
    event = await platform.event()
    created = await platform.post(
        "/v1/webhooks", {"url": URL, "event": event, "allowedClientIdentifiers": []}, expect=201
    )

    assert (created["name"], created["description"], created["headers"]) == ("", "", {})
    assert created["active"] is True


async def test_changes_touch_what_is_given(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event, other = await platform.event(), await platform.event()
    webhook = await platform.webhook(event, receiver.url(path), headers={"X-Api-Key": "secret-one", "X-Plain": "a"})
    id = webhook.pop("id")
    changed = await platform.call(
        "PATCH",
        f"/v1/webhooks/{id}",
        {
            "name": "Renamed",
            "event": other,
            "allowedClientIdentifiers": ["c-1"],
            "retry_policy": {"maximum_attempts": 3, "initial_interval": None},
            "headers": {"X-Api-Key": "********", "X-Plain": "b"},
        },
    )
    found = await platform.get(f"/v1/webhooks/{id}")
    await platform.publish(other, client_identifier="c-1")
    [request] = await receiver.wait_for(path, 1)

    assert found == changed
    assert changed["name"] == "Renamed"
    assert changed["url"] == webhook["url"]
    assert changed["allowedClientIdentifiers"] == ["c-1"]
    assert changed["retry_policy"] == {**webhook["retry_policy"], "maximum_attempts": 3, "initial_interval": 10}
    assert request.headers["x-api-key"] == "secret-one"
    assert request.headers["x-plain"] == "b"
    assert (await platform.publish(event))["deliveries"] == []


async def test_the_list_is_newest_first_and_paged(platform: PlatformProcess) -> None:
    event = await platform.event()
    ids = [(await platform.webhook(event, URL, active=n != 1))["id"] for n in range(3)]
    first = await platform.get("/v1/webhooks", event=event, limit=2)
    second = await platform.get("/v1/webhooks", event=event, limit=2, cursor=first["next_cursor"])
    active = await platform.get("/v1/webhooks", event=event, active=True)

    assert sorted(item["id"] for item in first["items"] + second["items"]) == sorted(ids)
    assert second["next_cursor"] is None
    assert {item["id"] for item in active["items"]} == {ids[0], ids[2]}
    assert "signing_secret" not in str(first)


async def test_a_customer_s_webhooks_can_be_found(platform: PlatformProcess) -> None:
    """By client, event and the beginning of the URL, alone and together."""
    event, other = await platform.event(), await platform.event()
    client, base = f"c-{event}", f"https://{event.lower()}.example/"
    one = await platform.webhook(event, f"{base}one", allowedClientIdentifiers=["c-0", client])
    two = await platform.webhook(other, f"{base}two", allowedClientIdentifiers=[client], active=False)
    everyone = await platform.webhook(event, f"{base}everyone%_")

    async def found(**query: Any) -> list[str]:
        return [item["id"] for item in (await platform.get("/v1/webhooks", **query))["items"]]

    assert await found(client_identifier=client) == [two["id"], one["id"]]
    assert await found(client_identifier=client, event=event) == [one["id"]]
    assert await found(client_identifier=client, active=True) == [one["id"]]
    assert await found(client_identifier=client[:-1]) == []
    assert await found(url=base) == [everyone["id"], two["id"], one["id"]]
    assert await found(url=f"{base}everyone%_") == [everyone["id"]]
    assert await found(url=f"{base}%") == []
    assert await found(url=f"{base}o", event=other) == []


async def test_an_inactive_webhook_gets_nothing(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.url(path), active=False)

    assert (await platform.publish(event))["deliveries"] == []


async def test_the_event_must_exist_and_be_active(platform: PlatformProcess) -> None:
    inactive = await platform.event(active=False)
    for event in (inactive, "NoSuchEvent"):
        body = {"url": URL, "event": event, "allowedClientIdentifiers": []}
        problem = await platform.post("/v1/webhooks", body, expect=422)

        assert problem["errors"][0]["pointer"] == "/event"


@pytest.mark.parametrize("missing", ["url", "event", "allowedClientIdentifiers"])
async def test_what_is_required(platform: PlatformProcess, missing: str) -> None:
    """As Logiwa has it: `event` and `allowedClientIdentifiers` go together."""
    body = {"url": URL, "event": await platform.event(), "allowedClientIdentifiers": []}
    del body[missing]
    problem = await platform.post("/v1/webhooks", body, expect=422)

    assert pointers(problem) == [f"/{missing}"]


async def test_null_is_no_event(platform: PlatformProcess) -> None:
    body: Json = {"url": URL, "event": None, "allowedClientIdentifiers": []}

    assert pointers(await platform.post("/v1/webhooks", body, expect=422)) == ["/event"]


async def test_neither_event_nor_clients_make_a_bare_destination(platform: PlatformProcess) -> None:
    created = await destination(platform)

    assert created["signing_secret"].startswith("whsec_")
    assert created["event"] is None
    assert created["events"] == []
    assert created["allowedClientIdentifiers"] == []
    assert created["filter"] is None
    assert await subscriptions(platform, created) == {}


@pytest.mark.parametrize(
    "fields",
    [
        {"filter": {"data": {"total": 1}}},
        {"events": [], "filter": {"data": {"total": 1}}},
        {"events": [], "allowedClientIdentifiers": ["c"]},
    ],
)
async def test_what_belongs_to_subscriptions_is_not_dropped_without_one(
    platform: PlatformProcess, fields: Json
) -> None:
    """A filter that vanished would be a filter that lets everything through."""
    last = list(fields)[-1]
    webhook = await destination(platform)
    changed = await platform.call("PATCH", f"/v1/webhooks/{webhook['id']}", {last: fields[last]}, expect=422)
    created = await platform.post("/v1/webhooks", {"url": URL, **fields}, expect=422)

    assert pointers(changed) == pointers(created) == [f"/{last}"]


async def test_several_events_each_once(platform: PlatformProcess) -> None:
    """Logto's `events`."""
    first, second = await platform.event(), await platform.event()
    several = await destination(platform, events=[first, second, first])
    one = await destination(platform, events=[first, first])

    assert (several["event"], several["events"]) == (None, [first, second])
    assert (one["event"], one["events"]) == (first, [first])
    found = await subscriptions(platform, several)
    assert set(found) == {first, second}
    assert all(item["active"] and item["filter"] is None for item in found.values())


async def test_clients_and_filter_are_of_every_event(platform: PlatformProcess) -> None:
    first, second = await platform.event(), await platform.event()
    filter = {"data": {"total": {"$gte": 100}}}
    fields = {"events": [first, second], "allowedClientIdentifiers": ["c-1"], "filter": filter}
    webhook = await destination(platform, **fields)
    found = await subscriptions(platform, webhook)

    assert {name: webhook[name] for name in fields} == fields
    assert set(found) == {first, second}
    assert [item["allowedClientIdentifiers"] for item in found.values()] == [["c-1"]] * 2
    assert [item["filter"] for item in found.values()] == [filter] * 2


async def test_events_change_at_any_time(platform: PlatformProcess) -> None:
    """What stays keeps its own, what is left out goes, what is new comes with what all agree in."""
    stays, goes, comes = [await platform.event() for _ in range(3)]
    webhook = await destination(platform, events=[stays, goes], filter={"data": {"country": "TR"}})
    before = await subscriptions(platform, webhook)
    own = {"active": False}
    kept = await platform.call("PATCH", f"/v1/subscriptions/{before[stays]['id']}", own)
    changed = await platform.call("PATCH", f"/v1/webhooks/{webhook['id']}", {"events": [stays, comes, comes]})
    after = await subscriptions(platform, webhook)

    assert (changed["event"], changed["events"]) == (None, [stays, comes])
    assert set(after) == {stays, comes}
    assert after[stays] == kept
    assert (after[comes]["active"], after[comes]["filter"]) == (True, {"data": {"country": "TR"}})
    await platform.get(f"/v1/subscriptions/{before[goes]['id']}", expect=404)


async def test_whose_occurrences_a_new_event_brings_is_never_guessed(platform: PlatformProcess) -> None:
    """Where the subscriptions differ, there is nothing to take over."""
    first, second, comes = [await platform.event() for _ in range(3)]
    webhook = await destination(platform, events=[first, second], allowedClientIdentifiers=["c-1"])
    path = f"/v1/webhooks/{webhook['id']}"
    before = await subscriptions(platform, webhook)
    await platform.call("PATCH", f"/v1/subscriptions/{before[first]['id']}", {"allowedClientIdentifiers": ["c-2"]})
    all_three = {"events": [first, second, comes]}
    problem = await platform.call("PATCH", path, all_three, expect=422)
    same = await platform.call("PATCH", path, {"events": [second, first], "name": "n"})
    said = await platform.call("PATCH", path, {**all_three, "allowedClientIdentifiers": ["c-3"]})
    after = await subscriptions(platform, webhook)

    assert pointers(problem) == ["/allowedClientIdentifiers"]
    assert same["allowedClientIdentifiers"] is None
    assert said["allowedClientIdentifiers"] == ["c-3"]
    assert set(after) == {first, second, comes}
    assert [item["allowedClientIdentifiers"] for item in after.values()] == [["c-3"]] * 3


async def test_new_clients_and_filter_reach_every_subscription(platform: PlatformProcess) -> None:
    first, second = await platform.event(), await platform.event()
    webhook = await destination(platform, events=[first])
    changes = {"events": [first, second], "allowedClientIdentifiers": ["c-2"], "filter": {"bulk": False}}
    await platform.call("PATCH", f"/v1/webhooks/{webhook['id']}", changes)
    found = await subscriptions(platform, webhook)

    assert [item["allowedClientIdentifiers"] for item in found.values()] == [["c-2"]] * 2
    assert [item["filter"] for item in found.values()] == [{"bulk": False}] * 2


async def test_events_may_all_go_and_an_inactive_one_may_stay(platform: PlatformProcess) -> None:
    inactive, other = await platform.event(), await platform.event()
    webhook = await destination(platform, events=[inactive])
    await platform.call("PATCH", f"/v1/events/{inactive}", {"active": False})
    path = f"/v1/webhooks/{webhook['id']}"

    assert (await platform.call("PATCH", path, {"events": [inactive, other]}))["events"] == [inactive, other]
    assert (await platform.call("PATCH", path, {"event": other}))["events"] == [other]
    assert (await platform.call("PATCH", path, {"events": []}))["events"] == []


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(
    ("events", "pointer"),
    [
        (["unknown"], "/events/0"),
        (["inactive"], "/events/0"),
        (["subscribed", "unknown"], "/events/1"),
        (["subscribed", "active", "inactive"], "/events/2"),
        (["active", "active", "unknown"], "/events/2"),
        (["active", "has space"], "/events/1"),
        (["active", 5], "/events/1"),
        (["active"] * 101, "/events"),
        ("active", "/events"),
    ],
)
async def test_an_event_that_cannot_be_subscribed_is_named_by_its_index(
    platform: PlatformProcess, method: str, events: Any, pointer: str
) -> None:
    known = {"subscribed": await platform.event(), "active": await platform.event()}
    known["inactive"] = await platform.event(active=False)
    webhook = await destination(platform, events=[known["subscribed"]])
    body = {"url": URL, "events": [known.get(event, event) for event in events] if events != "active" else events}
    path = "/v1/webhooks" if method == "POST" else f"/v1/webhooks/{webhook['id']}"
    problem = await platform.call(method, path, body, expect=422)

    assert pointers(problem) == [pointer]
    assert (await platform.get(f"/v1/webhooks/{webhook['id']}"))["events"] == [known["subscribed"]]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("event", ["unknown", "has space", 5, ""])
async def test_a_single_event_is_named_as_it_was_given(platform: PlatformProcess, method: str, event: Any) -> None:
    webhook = await destination(platform)
    body = {"event": event, "allowedClientIdentifiers": []} | ({"url": URL} if method == "POST" else {})
    path = "/v1/webhooks" if method == "POST" else f"/v1/webhooks/{webhook['id']}"

    assert pointers(await platform.call(method, path, body, expect=422)) == ["/event"]


async def test_a_filter_is_replaced_whole(platform: PlatformProcess) -> None:
    """It is one value, in which null is what a field must equal."""
    event = await platform.event()
    webhook = await destination(platform, events=[event], filter={"data": {"total": {"$gte": 100}}})
    path = f"/v1/webhooks/{webhook['id']}"
    filter = {"data": {"country": None}}

    assert (await platform.call("PATCH", path, {"filter": filter}))["filter"] == filter
    assert (await platform.call("PATCH", path, {"filter": None}))["filter"] is None


async def test_who_asks_and_what_changed_come_before_a_look_at_urls(platform: PlatformProcess) -> None:
    path = f"/v1/webhooks/{(await destination(platform))['id']}"
    patch = {"url": "https://10.0.0.1/hook"}
    stale = await platform.http.patch(path, json=patch, headers={"If-Match": '"stale"'})
    missing = await platform.http.patch("/v1/webhooks/none", json=patch)
    bad = await platform.http.patch(path, json=patch)

    assert (stale.status_code, missing.status_code, bad.status_code) == (412, 404, 422)


async def test_event_and_events_exclude_each_other(platform: PlatformProcess) -> None:
    event = await platform.event()
    both = {"event": event, "events": [event], "allowedClientIdentifiers": []}
    webhook = await destination(platform)
    created = await platform.post("/v1/webhooks", {"url": URL, **both}, expect=422)
    changed = await platform.call("PATCH", f"/v1/webhooks/{webhook['id']}", both, expect=422)

    for problem in (created, changed):
        assert problem["errors"] == [{"pointer": "/event", "detail": "give either event or events, not both"}]


@pytest.mark.parametrize(
    ("field", "value"), [("allowedClientIdentifiers", ["c-9"]), ("filter", {"data": {"country": "TR"}})]
)
async def test_what_subscriptions_do_not_share_is_null(platform: PlatformProcess, field: str, value: Any) -> None:
    first, second = await platform.event(), await platform.event()
    common = {"allowedClientIdentifiers": ["c-1"], "filter": {"bulk": False}}
    webhook = await destination(platform, events=[first, second], **common)
    path = f"/v1/webhooks/{webhook['id']}"
    found = await subscriptions(platform, webhook)
    await platform.call("PATCH", f"/v1/subscriptions/{found[first]['id']}", {field: value})
    differing = await platform.get(path)
    [listed] = (await platform.get("/v1/webhooks", event=first))["items"]
    await platform.call("DELETE", f"/v1/subscriptions/{found[second]['id']}", expect=204)
    alone = await platform.get(path)

    assert listed == differing
    assert {name: differing[name] for name in common} == {**common, field: None}
    assert (alone["event"], alone["events"]) == (first, [first])
    assert alone[field] is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "PUT"},
        {"format": "Form URL Encoded"},
        {"sends_json": False},
        {"bulk": True},
        {"timeout": 30},
        {"name": "Ünicode", "description": "two\nlines"},
        {"signatures": ["github", "v1"]},
    ],
)
async def test_what_is_configured_is_shown(platform: PlatformProcess, fields: Json) -> None:
    created = await destination(platform, **fields)
    other = await destination(platform)
    path = f"/v1/webhooks/{other['id']}"
    changed = await platform.call("PATCH", path, fields)
    reset = await platform.call("PATCH", path, dict.fromkeys(fields))

    for webhook in (created, changed, await platform.get(path) | fields):
        assert {name: webhook[name] for name in fields} == fields
    assert {name: reset[name] for name in fields} == {name: other[name] for name in fields}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (None, {}),
        ({"maximum_attempts": 3}, {"maximum_attempts": 3}),
        (
            "standard",
            {
                "initial_interval": 5,
                "maximum_interval": 86400,
                "schedule": [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400],
            },
        ),
        ("logto", {"maximum_attempts": 4, "only_5xx": True}),
        ({"schedule": [1, 2.5, 604800]}, {"schedule": [1, 2.5, 604800], "maximum_attempts": 4}),
        ({"non_retryable_statuses": [404]}, {"non_retryable_statuses": [404]}),
    ],
)
async def test_retry_policies(platform: PlatformProcess, given: Any, shown: Json) -> None:
    webhook = await destination(platform, **({} if given is None else {"retry_policy": given}))
    path = f"/v1/webhooks/{webhook['id']}"

    assert webhook["retry_policy"] == {**RETRY_POLICY, **shown}
    reset = await platform.call("PATCH", path, {"retry_policy": None})
    assert reset["retry_policy"] == RETRY_POLICY
    changed = await platform.call("PATCH", path, {"retry_policy": given})
    assert changed["retry_policy"] == webhook["retry_policy"]


async def test_a_preset_is_a_start_that_a_patch_may_refine(platform: PlatformProcess) -> None:
    webhook = await destination(platform, retry_policy="standard")
    changes = {"retry_policy": {"maximum_attempts": 3, "schedule": None}}
    changed = await platform.call("PATCH", f"/v1/webhooks/{webhook['id']}", changes)

    assert changed["retry_policy"] == {**webhook["retry_policy"], "maximum_attempts": 3, "schedule": []}


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: str(mode["type"]))
async def test_authentication_is_masked_on_every_read(platform: PlatformProcess, mode: Json) -> None:
    event = await platform.event()
    created = await destination(platform, events=[event], authentication=mode)
    path = f"/v1/webhooks/{created['id']}"
    answers = [
        created,
        await platform.get(path),
        *(await platform.get("/v1/webhooks", event=event))["items"],
        await platform.call("PATCH", path, {"name": "n"}),
        await platform.call("PATCH", path, {"authentication": mode}),
        await platform.call("PATCH", path, {"authentication": masked(mode)}),
    ]

    assert [answer["authentication"] for answer in answers] == [masked(mode)] * 6
    assert "canary" not in str(answers)


@pytest.mark.parametrize(
    ("mode", "field"),
    [
        (mode, name)
        for mode in MODES
        for name in mode
        if name not in ("type", "in", "client_authentication", "scope", "audience", "parameters")
    ],
)
async def test_authentication_that_lacks_a_field_is_refused(platform: PlatformProcess, mode: Json, field: str) -> None:
    given = {name: value for name, value in mode.items() if name != field}
    problem = await platform.post("/v1/webhooks", {"url": URL, "authentication": given}, expect=422)

    assert pointers(problem) == [f"/authentication/{field}"]


@pytest.mark.parametrize(
    ("mode", "field"),
    [(mode, name) for mode in MODES for name in mode if name not in ("type", "parameters")],
)
async def test_no_line_break_gets_into_a_request(platform: PlatformProcess, mode: Json, field: str) -> None:
    given = {**mode, field: "canary\r\nX-Injected: 1"}
    problem = await platform.post("/v1/webhooks", {"url": URL, "authentication": given}, expect=422)

    assert pointers(problem) == [f"/authentication/{field}"]
    assert "canary" not in str(problem)


@pytest.mark.parametrize(
    ("authentication", "pointer"),
    [
        ({"type": "none"}, "/authentication"),
        ({"type": "Basic"}, "/authentication"),
        ({"type": "OAuth 2.0 client credentials"}, "/authentication"),
        ({"type": None}, "/authentication"),
        ("None", "/authentication"),
        (MASK, "/authentication"),
        *(({**mode, "colour": "red"}, "/authentication/colour") for mode in MODES),
        ({"type": "None", "value": "x"}, "/authentication/value"),
        ({**KEY_VALUE_PAIR, "in": "cookie"}, "/authentication/in"),
        ({"type": "Key Value Pair", "name": "X-A", "value": "v", "place": "query"}, "/authentication/place"),
        ({**KEY_VALUE_PAIR, "name": "Host"}, "/authentication"),
        ({**KEY_VALUE_PAIR, "name": "webhook-signature"}, "/authentication"),
        ({**KEY_VALUE_PAIR, "name": "Two Words"}, "/authentication"),
        ({**KEY_VALUE_PAIR, "value": MASK}, "/authentication/value"),
        ({**CLIENT_CREDENTIALS, "client_secret": MASK}, "/authentication/client_secret"),
        ({**CLIENT_CREDENTIALS, "username": "jane"}, "/authentication/username"),
        ({**CLIENT_CREDENTIALS, "client_authentication": "Basic"}, "/authentication/client_authentication"),
        ({**CLIENT_CREDENTIALS, "parameters": {"scope": "s"}}, "/authentication"),
        ({**CLIENT_CREDENTIALS, "parameters": {"a": "b\r\nc"}}, "/authentication/parameters/a"),
        ({**PASSWORD, "password": ""}, "/authentication/password"),
        *(
            ({**mode, "token_url": url}, "/authentication/token_url")
            for mode in (CLIENT_CREDENTIALS, PASSWORD)
            for url in (
                "http://login.example.com/token",
                "https://jane:canary@login.example.com/token",
                "https://10.0.0.1/token",
                "https://login.example.com/#token",
                "login.example.com/token",
            )
        ),
    ],
)
async def test_bad_authentication_is_refused_and_named(
    platform: PlatformProcess, authentication: Any, pointer: str
) -> None:
    created = await platform.post("/v1/webhooks", {"url": URL, "authentication": authentication}, expect=422)
    webhook = await destination(platform)
    path = f"/v1/webhooks/{webhook['id']}"
    changed = await platform.call("PATCH", path, {"authentication": authentication}, expect=422)

    assert pointers(created) == pointers(changed) == [pointer]
    assert "canary" not in f"{created}{changed}"
    assert (await platform.get(path))["authentication"] == {"type": "None"}


async def test_a_masked_value_keeps_the_stored_one(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event()
    created = await destination(
        platform,
        url=receiver.url(path),
        events=[event],
        authentication=KEY_VALUE_PAIR,
        headers={"X-Token": "canary-token", "X-Gone-Token": "canary-gone"},
    )
    id = f"/v1/webhooks/{created['id']}"
    shown = await platform.get(id)
    changes = {
        "authentication": {**shown["authentication"], "name": "X-Renamed"},
        "headers": {**shown["headers"], "X-Gone-Token": None, "X-New-Token": "canary-new"},
    }
    changed = await platform.call("PATCH", id, changes)
    await platform.post(f"{id}/test", expect=200)
    [request] = receiver.got(path)

    assert changed["authentication"] == {**masked(KEY_VALUE_PAIR), "name": "X-Renamed"}
    assert changed["headers"] == {"X-Token": MASK, "X-New-Token": MASK}
    assert request.headers["x-renamed"] == "canary-value"
    assert request.headers["x-token"] == "canary-token"
    assert request.headers["x-new-token"] == "canary-new"
    assert not {"x-pair", "x-gone-token"} & set(request.headers)


async def test_a_field_of_the_same_type_merges(platform: PlatformProcess) -> None:
    webhook = await destination(platform, authentication=PASSWORD)
    changes = {"authentication": {"scope": None, "username": "joe", "parameters": {"resource": None}}}
    changed = await platform.call("PATCH", f"/v1/webhooks/{webhook['id']}", changes)

    assert changed["authentication"] == {
        **masked(PASSWORD),
        "scope": "",
        "username": "joe",
        "parameters": {"api_key": MASK},
    }


@pytest.mark.parametrize(
    ("old", "new", "pointer"),
    [
        (PASSWORD, {"type": "OAuth 2.0 Client Credentials"}, "/authentication/token_url"),
        (PASSWORD, {**CLIENT_CREDENTIALS, "client_secret": MASK}, "/authentication/client_secret"),
        (CLIENT_CREDENTIALS, {**PASSWORD, "client_secret": MASK}, "/authentication/client_secret"),
        ({"type": "None"}, {**KEY_VALUE_PAIR, "value": MASK}, "/authentication/value"),
    ],
)
async def test_another_type_takes_nothing_over(platform: PlatformProcess, old: Json, new: Json, pointer: str) -> None:
    webhook = await destination(platform, authentication=old)
    path = f"/v1/webhooks/{webhook['id']}"
    problem = await platform.call("PATCH", path, {"authentication": new}, expect=422)

    assert pointer in pointers(problem)
    assert (await platform.get(path))["authentication"] == masked(old)


@pytest.mark.parametrize("new", [None, *MODES], ids=lambda mode: str(mode and mode["type"]))
@pytest.mark.parametrize("old", MODES, ids=lambda mode: str(mode["type"]))
async def test_another_type_replaces_whole(platform: PlatformProcess, old: Json, new: Json | None) -> None:
    webhook = await destination(platform, authentication=old)
    changed = await platform.call("PATCH", f"/v1/webhooks/{webhook['id']}", {"authentication": new})

    assert changed["authentication"] == masked(new or {"type": "None"})


@pytest.mark.parametrize(
    ("authentication", "header"),
    [(KEY_VALUE_PAIR, "x-PAIR"), (CLIENT_CREDENTIALS, "Authorization"), (PASSWORD, "authorization")],
)
async def test_a_header_has_one_hand_on_it(platform: PlatformProcess, authentication: Json, header: str) -> None:
    both = {"url": URL, "authentication": authentication, "headers": {header: "canary"}}
    webhook = await destination(platform, authentication=authentication)
    created = await platform.post("/v1/webhooks", both, expect=422)
    changed = await platform.call("PATCH", f"/v1/webhooks/{webhook['id']}", {"headers": both["headers"]}, expect=422)
    in_the_query = {**KEY_VALUE_PAIR, "in": "query"}

    for problem in (created, changed):
        assert problem["errors"] == [
            {"pointer": f"/headers/{header}", "detail": "the authentication sets this header; remove it here"}
        ]
        assert "canary" not in str(problem)
    await destination(platform, authentication=in_the_query, headers={"X-Pair": "one"})


async def test_the_public_key_belongs_to_v1a(platform: PlatformProcess) -> None:
    webhook = await destination(platform, signatures=["v1a", "v1a", "v1"])
    path = f"/v1/webhooks/{webhook['id']}"
    without = await platform.call("PATCH", path, {"signatures": ["v1"]})
    again = await platform.call("PATCH", path, {"signatures": ["v1a"]})
    rotated = await platform.post(f"{path}/rotate-secret")

    assert webhook["signatures"] == ["v1a", "v1"]
    assert webhook["public_key"].startswith("whpk_")
    assert without["public_key"] is None
    assert again["public_key"] == webhook["public_key"]
    assert rotated["public_key"].startswith("whpk_")
    assert rotated["public_key"] != webhook["public_key"]
    assert (await platform.get(path))["public_key"] == rotated["public_key"]


async def test_a_secret_that_the_receiver_knows_already(platform: PlatformProcess) -> None:
    standard = await destination(platform, signing_secret=STANDARD_SECRET)
    plain = await destination(platform, signing_secret=PLAIN_SECRET, signatures=["logto", "github", "v1a"])
    refused = await platform.call("PATCH", f"/v1/webhooks/{plain['id']}", {"signatures": ["logto", "v1"]}, expect=422)

    no_rotation = await platform.call(
        "PATCH", f"/v1/webhooks/{plain['id']}", {"signing_secret": STANDARD_SECRET}, expect=422
    )

    assert standard["signing_secret"] == STANDARD_SECRET
    assert plain["signing_secret"] == PLAIN_SECRET
    assert pointers(refused) == ["/signatures"]
    assert pointers(no_rotation) == ["/signing_secret"]
    assert STANDARD_SECRET not in str(no_rotation)
    assert PLAIN_SECRET not in str(refused)


@pytest.mark.parametrize(
    "secret",
    [
        PLAIN_SECRET,
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
        "whsec_not+base64!not+base64!not+base64!",
        STANDARD_SECRET.removeprefix("whsec_"),
    ],
)
async def test_v1_needs_a_standard_secret(platform: PlatformProcess, secret: str) -> None:
    created = await platform.post("/v1/webhooks", {"url": URL, "signing_secret": secret}, expect=422)
    webhook = await destination(platform)
    path = f"/v1/webhooks/{webhook['id']}/rotate-secret"
    rotated = await platform.post(path, {"signing_secret": secret}, expect=422)

    assert pointers(rotated) == ["/signing_secret"]
    for problem in (created, rotated):
        assert "whsec_ and the base64 of 24 to 64 bytes" in problem["detail"]
        assert secret not in str(problem)


async def test_a_plain_secret_that_still_overlaps_does_not_stop_v1(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """The way from Logto's signature to the standard one: a new secret first, then another style."""
    event = await platform.event()
    webhook = await destination(
        platform, url=receiver.url(path), events=[event], signatures=["logto"], signing_secret=PLAIN_SECRET
    )
    await platform.post(f"/v1/webhooks/{webhook['id']}/rotate-secret", {"overlap": 3600})
    await platform.call("PATCH", f"/v1/webhooks/{webhook['id']}", {"signatures": ["logto", "v1"]})

    assert len(await signatures(platform, receiver, path, webhook)) == 1


async def test_rotation_shows_the_new_secret_once(platform: PlatformProcess) -> None:
    webhook = await destination(platform)
    path = f"/v1/webhooks/{webhook['id']}"
    before = datetime.now(UTC)
    fresh = await platform.post(f"{path}/rotate-secret", expect=200)
    own = await platform.post(f"{path}/rotate-secret", {"signing_secret": STANDARD_SECRET, "overlap": 60})
    shown = f"{await platform.get(path)}{await platform.get('/v1/webhooks', limit=100)}"

    assert fresh["signing_secret"].startswith("whsec_")
    assert fresh["signing_secret"] != webhook["signing_secret"]
    assert own["signing_secret"] == STANDARD_SECRET
    for answer, overlap in ((fresh, 86_400), (own, 60)):
        assert set(answer) == {"signing_secret", "public_key", "overlaps_until"}
        wait = datetime.fromisoformat(answer["overlaps_until"]) - before
        assert timedelta(seconds=overlap) <= wait < timedelta(seconds=overlap + 30)
    for answer in (webhook, fresh, own):
        assert answer["signing_secret"] not in shown


async def test_rotation_keeps_at_most_ten_old_secrets(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event()
    webhook = await destination(platform, url=receiver.url(path), events=[event])
    rotate = f"/v1/webhooks/{webhook['id']}/rotate-secret"
    counts = [len(await signatures(platform, receiver, path, webhook))]
    for overlap, status in [*[(3600, 200)] * 10, (3600, 409), (0, 200)]:
        await platform.post(rotate, {"overlap": overlap}, expect=status)
        counts.append(len(await signatures(platform, receiver, path, webhook)))

    assert counts == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11, 1]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"overlap": -1}, "/overlap"),
        ({"overlap": 604_801}, "/overlap"),
        ({"overlap": "60"}, "/overlap"),
        ({"overlap": True}, "/overlap"),
        ({"signing_secret": "short"}, "/signing_secret"),
        ({"signing_secret": "whsec_" + "x" * 123}, "/signing_secret"),
        ({"signing_secret": "with space and some more"}, "/signing_secret"),
        ({"secret": STANDARD_SECRET}, "/secret"),
    ],
)
async def test_a_bad_rotation_changes_nothing(
    platform: PlatformProcess, receiver: Receiver, path: str, body: Json, pointer: str
) -> None:
    event = await platform.event()
    webhook = await destination(platform, url=receiver.url(path), events=[event])
    problem = await platform.post(f"/v1/webhooks/{webhook['id']}/rotate-secret", body, expect=422)

    assert pointers(problem) == [pointer]
    assert "whsec_" not in str(problem)
    assert len(await signatures(platform, receiver, path, webhook)) == 1


@pytest.mark.parametrize("overlap", [0, 604_800])
async def test_the_bounds_of_an_overlap(platform: PlatformProcess, overlap: int) -> None:
    webhook = await destination(platform)

    await platform.post(f"/v1/webhooks/{webhook['id']}/rotate-secret", {"overlap": overlap}, expect=200)


async def test_deleting_a_webhook_takes_its_subscriptions_along(platform: PlatformProcess) -> None:
    event = await platform.event()
    webhook = await destination(platform, events=[event])
    [subscription] = (await subscriptions(platform, webhook)).values()
    await platform.call("DELETE", f"/v1/webhooks/{webhook['id']}", expect=204)

    await platform.get(f"/v1/subscriptions/{subscription['id']}", expect=404)
    assert await subscriptions(platform, webhook) == {}


@pytest.mark.parametrize(
    ("field", "value", "pointer"),
    [
        ("url", "", "/url"),
        ("url", "not a url", "/url"),
        ("url", "ftp://example.com/", "/url"),
        ("url", "http://93.184.215.14/hook", "/url"),
        ("url", "https://10.0.0.1/hook", "/url"),
        ("url", "https://[::1]/hook", "/url"),
        ("url", "https://169.254.169.254/latest/meta-data/", "/url"),
        ("url", "https://user:password@example.com/", "/url"),
        ("url", "https://example.com/#fragment", "/url"),
        ("url", "https://example.com:6379/", "/url"),
        ("method", "GET", "/method"),
        ("timeout", 0.5, "/timeout"),
        ("timeout", 31, "/timeout"),
        ("timeout", "soon", "/timeout"),
        ("retry_policy", {"maximum_attempts": 0}, "/retry_policy/maximum_attempts"),
        ("retry_policy", {"initial_interval": -1}, "/retry_policy/initial_interval"),
        ("retry_policy", {"initial_interval": 60, "maximum_interval": 1}, "/retry_policy"),
        ("retry_policy", {"tries": 1}, "/retry_policy/tries"),
        ("allowedClientIdentifiers", ["x" * 256], "/allowedClientIdentifiers/0"),
        ("allowedClientIdentifiers", None, "/allowedClientIdentifiers"),
        ("headers", {"Host": "elsewhere.example"}, "/headers/Host"),
        ("headers", {"webhook-signature": "v1,forged"}, "/headers/webhook-signature"),
        ("headers", {"Content-Length": "1"}, "/headers/Content-Length"),
        ("headers", {"Bad Name": "x"}, "/headers/Bad Name"),
        ("headers", {"X-Fine": "x", "Bad/Name": "x"}, "/headers/Bad~1Name"),
        ("headers", {"X-Split": "a\r\nX-Injected: b"}, "/headers/X-Split"),
        ("headers", {"X-A": "1", "x-a": "2"}, "/headers"),
        ("headers", {"X-Token": "********"}, "/headers/X-Token"),
        ("timeout", True, "/timeout"),
        ("timeout", "5", "/timeout"),
        ("active", "no", "/active"),
        ("retry_policy", {"maximum_attempts": True}, "/retry_policy/maximum_attempts"),
        ("secret", "x", "/secret"),
        ("id", "x", "/id"),
        ("url", None, "/url"),
        ("method", "put", "/method"),
        ("format", "form", "/format"),
        ("format", "json", "/format"),
        ("sends_json", "no", "/sends_json"),
        ("bulk", 1, "/bulk"),
        ("signatures", [], "/signatures"),
        ("signatures", "v1", "/signatures"),
        ("signatures", ["v1", "v2"], "/signatures/1"),
        ("signatures", ["V1"], "/signatures/0"),
        ("name", "x" * 201, "/name"),
        ("name", "two\nlines", "/name"),
        ("description", "x" * 2001, "/description"),
        ("description", "a\0b", "/description"),
        ("filter", [], "/filter"),
        ("filter", {"colour": "red"}, "/filter/colour"),
        ("filter", {"data": {"total": {"$more": 1}}}, "/filter/data/total/$more"),
        ("retry_policy", "never", "/retry_policy"),
        ("retry_policy", {"schedule": [1, 0]}, "/retry_policy/schedule/1"),
        ("retry_policy", {"schedule": [604_801]}, "/retry_policy/schedule/0"),
        ("retry_policy", {"schedule": [1] * 100}, "/retry_policy/schedule"),
        ("retry_policy", {"non_retryable_statuses": [400, 200]}, "/retry_policy/non_retryable_statuses/1"),
        ("retry_policy", {"only_5xx": "yes"}, "/retry_policy/only_5xx"),
    ],
)
async def test_a_bad_field_is_refused_and_named(
    platform: PlatformProcess, field: str, value: Any, pointer: str
) -> None:
    event = await platform.event()
    body = {"url": URL, "event": event, "allowedClientIdentifiers": [], field: value}
    created = await platform.post("/v1/webhooks", body, expect=422)
    webhook = await platform.webhook(event, URL)
    changed = await platform.call("PATCH", f"/v1/webhooks/{webhook['id']}", {field: value}, expect=422)

    assert pointer in [error["pointer"] for error in created["errors"]]
    assert pointer in [error["pointer"] for error in changed["errors"]]


SECRETS: Json = {
    "signing_secret": "canary-signing",
    "headers": {"Authorization": "Bearer canary-bearer", "Bad Name": "canary-header", "X-Token": 5},
    "authentication": {**PASSWORD, "username": "canary-user\n", "oops": "canary-oops"},
}


@pytest.mark.parametrize(
    "body",
    [
        {"url": URL, "event": 5, **SECRETS},
        {"url": "canary://nonsense", **SECRETS},
        {**SECRETS, "authentication": "canary"},
        {**SECRETS, "authentication": {"type": "canary", "value": "canary"}},
        {**SECRETS, "authentication": ["canary"]},
        {**SECRETS, "headers": "canary", "signatures": ["canary"], "method": "canary", "format": "canary"},
        {**SECRETS, "headers": {"X-Token": "canary\n", "Host": "canary"}},
        {**SECRETS, "retry_policy": "canary", "timeout": "canary", "name": ["canary"]},
        {**SECRETS, "filter": {"data": {"total": {"$in": "canary"}}}, "events": ["canary\n"]},
    ],
)
async def test_a_refusal_repeats_no_secret(platform: PlatformProcess, body: Json) -> None:
    webhook = await destination(platform)
    path = f"/v1/webhooks/{webhook['id']}"
    answers = [
        await platform.http.post("/v1/webhooks", json=body),
        await platform.http.patch(path, json={name: body[name] for name in body if name != "signing_secret"}),
        await platform.http.post(f"{path}/rotate-secret", json=body),
        await platform.http.post(f"{path}/test", json=body),
        await platform.http.post("/v1/subscriptions", json={**body, "webhook_id": webhook["id"]}),
        await platform.http.post("/v1/events", json=body),
        await platform.http.post("/v1/events/import", json={"events": [body]}),
        await platform.http.post("/v1/occurrences", json=body),
    ]

    for answer in answers:
        assert answer.status_code == 422, answer.text
        assert "canary" not in answer.text
    assert "canary" not in platform.log


async def test_no_answer_shows_a_secret(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """Whichever route is asked, and whatever the receiver or the token endpoint says back."""

    def echo(request: Received) -> Reply:
        return Reply(400, json.dumps({"error": "canary", "saw": request.headers, "in": request.body.decode()}).encode())

    event = await platform.event(sample={"n": 1})
    url, token_url = receiver.tell(path, [echo]), receiver.tell(f"{path}/token", [echo])
    receiver.tell(f"{path}?X-Pair=canary-value", [echo])
    answers: list[Json] = []
    modes = [deepcopy(mode) | ({"token_url": token_url} if "token_url" in mode else {}) for mode in MODES]
    for mode in [*modes, {**KEY_VALUE_PAIR, "in": "query"}]:
        created = await destination(
            platform, url=url, events=[event], authentication=mode, headers={"X-Token": "canary-token"}
        )
        id = f"/v1/webhooks/{created['id']}"
        assert created.pop("signing_secret")
        stale = await platform.http.patch(id, json={"authentication": mode}, headers={"If-Match": '"stale"'})
        answers += [
            created,
            await platform.get(id),
            await platform.call("PATCH", id, {"authentication": mode, "headers": {"X-Token": "canary-other"}}),
            await platform.post(f"{id}/test"),
            await platform.get("/v1/subscriptions", webhook_id=created["id"]),
            stale.json(),
        ]
    for item in (await platform.publish(event))["deliveries"]:
        answers.append(await platform.wait(item["id"], lambda delivery: bool(delivery["attempts"])))
    answers += [await platform.get("/v1/webhooks", limit=100), await platform.get("/v1/deliveries", event=event)]

    assert len(receiver.got(path)) >= 4
    assert receiver.got(f"{path}/token")
    for answer in answers:
        for secret in ("canary-", "whsec_"):
            assert secret not in str(answer)
