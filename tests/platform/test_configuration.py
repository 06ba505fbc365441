"""What people configure, seen on the wire: the behaviour that the five products' documents promise their receivers."""

import json
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

import pytest

from tests.support.decrypting import history_of
from webhooks.events.presets import PRESETS, Preset
from webhooks.testing.platform_process import Json, PlatformProcess
from webhooks.testing.receiver import Receiver, Reply

LOGISENSE = {
    "eventName": "{eventName}",
    "eventTime": "{currentDateTime}",
    "account": {"id": "{account.id}", "name": "{account.name}"},
    "invoice": {
        "id": "{invoice.id}",
        "name": "{invoice.name}",
        "total": "{invoice.invoiceTotal}",
        "dueDate": "{invoice.dueDate}",
    },
}
INVOICE = {
    "account": {"id": 10045, "name": "Acme & Söhne"},
    "invoice": {"id": 88213, "name": "INV-88213", "invoiceTotal": 1250.5, "dueDate": None},
}


async def delivered(platform: PlatformProcess, published: Json) -> Json:
    return await platform.wait(await platform.delivery(published), "delivered")


async def test_logisense_subscription_and_webhook_are_two_objects(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """LogiSense 2, 4, 6, 15, 16: a configuration says where and how, a subscription which event and whether it is
    active; the predefined payload arrives with the configured verb."""
    event = await platform.event(template=LOGISENSE)
    webhook = await platform.post("/v1/webhooks", {"url": receiver.url(path), "method": "PUT"}, expect=201)
    unheard = await platform.publish(event, INVOICE)
    subscription = await platform.post("/v1/subscriptions", {"event": event, "webhook_id": webhook["id"]}, expect=201)
    delivery = await delivered(platform, await platform.publish(event, INVOICE))
    await platform.call("PATCH", f"/v1/subscriptions/{subscription['id']}", {"active": False})
    inactive = await platform.publish(event, INVOICE)
    [request] = receiver.got(path)

    assert (webhook["event"], webhook["events"]) == (None, [])
    assert unheard["unmatched"] == "no webhook is subscribed"
    assert inactive["unmatched"] == "the subscription is inactive (1)"
    assert request.method == "PUT"
    assert json.loads(request.body) == {
        "eventName": event,
        "eventTime": delivery["occurred_at"],
        "account": {"id": 10045, "name": "Acme & Söhne"},
        "invoice": {"id": 88213, "name": "INV-88213", "total": 1250.5, "dueDate": None},
    }


async def test_logisense_form_url_encoded(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """LogiSense 13: a form is sent as one."""
    event = await platform.event(template=LOGISENSE)
    await platform.webhook(event, receiver.url(path), format="Form URL Encoded")
    delivery = await delivered(platform, await platform.publish(event, INVOICE))
    [request] = receiver.got(path)

    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert delivery["request"]["content_type"] == "application/x-www-form-urlencoded"
    assert parse_qsl(request.body.decode(), keep_blank_values=True, strict_parsing=True) == [
        ("eventName", event),
        ("eventTime", delivery["occurred_at"]),
        ("account[id]", "10045"),
        ("account[name]", "Acme & Söhne"),
        ("invoice[id]", "88213"),
        ("invoice[name]", "INV-88213"),
        ("invoice[total]", "1250.5"),
        ("invoice[dueDate]", ""),
    ]


async def test_logisense_key_value_pair(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """LogiSense 10: the secret travels in a header, or in the query string, and shows nowhere."""
    event = await platform.event()
    pair = {"type": "Key Value Pair", "name": "X-Shared-Secret", "value": "s3cr3t-välue".encode().hex()}
    in_header = await platform.webhook(event, receiver.url(path), authentication=pair)
    query = {**pair, "name": "api key", "value": "a&b=c#d", "in": "query"}
    receiver.tell(f"{path}?a=1&api%20key=a%26b%3Dc%23d", [Reply(200, b"you said a&b=c#d and a%26b%3Dc%23d")])
    in_query = await platform.webhook(event, receiver.url(f"{path}?a=1"), authentication=query)
    published = await platform.publish(event)
    deliveries = [await platform.wait(item["id"], "delivered") for item in published["deliveries"]]
    [header_request] = receiver.got(path)
    [query_request] = receiver.got(f"{path}?a=1&api%20key=a%26b%3Dc%23d")

    assert header_request.headers["x-shared-secret"] == pair["value"]
    assert "x-shared-secret" not in query_request.headers
    assert in_header["authentication"] == {**pair, "in": "header", "value": "********"}
    assert in_query["authentication"] == {**query, "value": "********"}
    assert {delivery["attempts"][0]["url"] for delivery in deliveries} == {
        receiver.url(path),
        receiver.url(f"{path}?a=1"),
    }
    assert "a&b=c" not in str(deliveries)
    assert "a%26b" not in str(deliveries)


async def test_logiwa_headers_are_sent_and_their_case_does_not_matter(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """Logiwa 13."""
    event = await platform.event()
    headers = {"Authorization": "Bearer webhook-token", "X-Custom-Header": "logiwa-webhook"}
    await platform.webhook(event, receiver.url(path), headers=headers)
    await platform.publish(event)
    [request] = await receiver.wait_for(path, 1)

    assert request.headers["authorization"] == "Bearer webhook-token"
    assert request.headers["x-custom-header"] == "logiwa-webhook"


async def test_logto_many_events_changed_at_any_time(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """Logto 1, 5: one webhook for several events; which ones may change."""
    first, second, third = [await platform.event() for _ in range(3)]
    body = {"url": receiver.url(path), "events": [first, second, first], "name": "Console"}
    webhook = await platform.post("/v1/webhooks", body, expect=201)
    await platform.publish(first, id=f"1-{webhook['id']}")
    await receiver.wait_for(path, 1)
    changed = await platform.call("PATCH", f"/v1/webhooks/{webhook['id']}", {"events": [second, third]})
    assert (await platform.publish(first))["unmatched"] == "no webhook is subscribed"
    await platform.publish(third)
    requests = await receiver.wait_for(path, 2)

    assert (webhook["events"], webhook["event"], webhook["active"]) == ([first, second], None, True)
    assert changed["events"] == [second, third]
    assert [json.loads(request.body)["event"] for request in requests] == [first, third]


@pytest.mark.parametrize(("status", "requests"), [(500, 4), (503, 4), (404, 1), (429, 1), (302, 1)])
async def test_logto_retries_three_times_after_5xx_only(
    platform: PlatformProcess, receiver: Receiver, path: str, status: int, requests: int
) -> None:
    """Logto 12."""
    event = await platform.event()
    webhook = await platform.webhook(event, receiver.tell(path, [status]), retry_policy="logto")
    assert webhook["retry_policy"]["maximum_attempts"] == 4
    faster = {"retry_policy": {"initial_interval": 0.1, "backoff_coefficient": 1}}
    await platform.call("PATCH", f"/v1/webhooks/{webhook['id']}", faster)
    delivery = await platform.wait(await platform.delivery(await platform.publish(event)), "failed")

    assert len(delivery["attempts"]) == len(receiver.got(path)) == requests


async def test_a_schedule_of_waits(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event()
    policy = {"schedule": [0.1, 0.4, 0.2], "maximum_attempts": 4}
    await platform.webhook(event, receiver.tell(path, [500]), retry_policy=policy)
    delivery = await platform.wait(await platform.delivery(await platform.publish(event)), "failed")
    waits = [attempt["backoff"] for attempt in delivery["attempts"]]

    assert waits[3] is None
    assert [round(wait, 1) for wait in waits[:3]] == [0.1, 0.4, 0.2]


async def test_the_standard_schedule_is_the_specification_s(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    webhook = await platform.webhook(event, receiver.tell(path, [500]), retry_policy="standard")
    delivery = await platform.wait(await platform.delivery(await platform.publish(event)), "retrying")

    assert sum(webhook["retry_policy"]["schedule"]) == 75 * 3600 + 35 * 60 + 5
    assert 4.5 <= delivery["attempts"][0]["backoff"] <= 5.5


async def test_a_status_that_a_webhook_calls_final(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event()
    policy = {"non_retryable_statuses": [400, 422], "initial_interval": 0.1, "maximum_attempts": 5}
    await platform.webhook(event, receiver.tell(path, [500, 422, 200]), retry_policy=policy)
    delivery = await platform.wait(await platform.delivery(await platform.publish(event)), "failed")

    assert [attempt["outcome"] for attempt in delivery["attempts"]] == ["http_500", "http_422"]


@pytest.mark.parametrize(
    ("sends_json", "body"),
    [
        (True, {"entity": "UserPackage", "action": "Update", "object": {"Id": 7, "OwnerId": 1}}),
        (False, {"entity": "UserPackage", "action": "Update"}),
    ],
)
async def test_engageip_entity_action_and_the_object_if_sends_json(
    platform: PlatformProcess, receiver: Receiver, path: str, sends_json: bool, body: Json
) -> None:
    """EngageIP 4, 6, 7."""
    entity = f"UserPackage{uuid4().hex}"
    event = await platform.post("/v1/events", {"entity": entity, "action": "Update", "preset": "EngageIP"})
    await platform.webhook(event["key"], receiver.url(path), sends_json=sends_json)
    await platform.publish(event["key"], {"Id": 7, "OwnerId": 1})
    [request] = await receiver.wait_for(path, 1)

    assert event["key"] == f"{entity}.Update"
    assert json.loads(request.body) == {**body, "entity": entity}


async def test_a_body_with_nothing_left_to_send_has_no_content_type(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """Not an empty body under a JSON content type, which no JSON parser takes."""
    event = await platform.event(template="{data}", sample={"a": 1})
    await platform.webhook(event, receiver.url(path), sends_json=False)
    await platform.webhook(event, receiver.url(f"{path}/all"))
    published = await platform.publish(event)
    [empty], [whole] = await receiver.wait_for(path, 1), await receiver.wait_for(f"{path}/all", 1)
    deliveries = [await platform.wait(item["id"], "delivered") for item in published["deliveries"]]
    preview = await platform.post(f"/v1/events/{event}/preview", {"sends_json": False})

    assert (empty.body, empty.headers.get("content-type"), empty.headers["content-length"]) == (b"", None, "0")
    assert whole.headers["content-type"] == "application/json"
    assert "webhook-signature" in empty.headers
    assert "" in [delivery["request"]["body"] for delivery in deliveries]
    assert preview["body"] == preview["content_type"] == ""


async def test_engageip_fires_only_with_an_owner_or_a_user(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """EngageIP 12: what has neither is recorded with the reason."""
    event = await platform.event(owner_required=True)
    await platform.webhook(event, receiver.url(path))
    nobody = await platform.publish(event, id=f"nobody-{event}")
    history = await history_of(platform, f"default/nobody-{event}")
    recorded = json.loads(history.events[0].workflow_execution_started_event_attributes.input.payloads[0].data)
    for owner in ({"owner_id": "o-1"}, {"user_id": "u-1"}):
        assert len((await platform.publish(event, **owner))["deliveries"]) == 1

    assert nobody["deliveries"] == []
    assert nobody["unmatched"] == recorded["reason"] == "the event requires an owner_id or a user_id"
    await platform.post("/v1/occurrences", {"event": event, "data": 1, "owner_id": ""}, expect=422)


async def test_softledger_bulk_actions_send_no_webhooks_unless_one_wants_them(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """SoftLedger 6."""
    event = await platform.event()
    await platform.webhook(event, receiver.url(path))
    wanting = await platform.webhook(event, receiver.url(path), bulk=True)
    published = await platform.publish(event, bulk=True)
    single = await platform.publish(event)

    assert [item["webhook_id"] for item in published["deliveries"]] == [wanting["id"]]
    assert len(single["deliveries"]) == 2


@pytest.mark.parametrize("preset", Preset)
async def test_the_payloads_of_the_products(
    platform: PlatformProcess, receiver: Receiver, path: str, preset: Preset
) -> None:
    """LogiSense 16, SoftLedger 2 and 4, Logto 19, EngageIP 7."""
    entity = f"Bill{uuid4().hex}"
    event = await platform.post("/v1/events", {"entity": entity, "action": "Paid", "preset": preset})
    webhook = await platform.webhook(event["key"], receiver.url(path))
    sample: Any = PRESETS[preset].sample
    delivery = await delivered(platform, await platform.publish(event["key"], sample))
    [request] = receiver.got(path)
    when = delivery["occurred_at"]
    expected: dict[Preset, Json] = {
        Preset.LOGISENSE: {
            "eventName": event["key"],
            "eventTime": when,
            "account": sample.get("account"),
            "invoice": {
                "id": 88213,
                "name": "INV-88213",
                "total": 1250.5,
                "dueDate": "2026-02-01",
            },
        },
        Preset.SOFTLEDGER: {
            "uuid": delivery["id"],
            "date": when,
            "objectType": entity,
            "action": f"{entity} Paid",
            "objectId": 4711,
            "tenantId": "default",
        },
        Preset.LOGTO: {"hookId": webhook["id"], "event": event["key"], "createdAt": when, **sample},
        Preset.ENGAGEIP: {"entity": entity, "action": "Paid", "object": sample},
    }

    assert json.loads(request.body) == expected[preset]


async def test_a_filter_narrows_a_subscription(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event()
    wanted = {"data": {"order": {"total": {"$gte": 100}, "country": {"$in": ["TR", "DE"]}}}}
    await platform.webhook(event, receiver.url(path), filter=wanted)
    small = await platform.publish(event, {"order": {"total": 99, "country": "TR"}})
    large = await platform.publish(event, {"order": {"total": 100, "country": "DE"}})

    assert (small["deliveries"], small["unmatched"]) == ([], "the filter does not match (1)")
    assert len(large["deliveries"]) == 1


async def test_a_new_version_leaves_what_is_prepared(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """A delivery in flight keeps the body of the version that it was prepared with; the next one has the new."""
    event = await platform.event(template={"old": "{n}"})
    await platform.webhook(event, receiver.tell(path, [503, 503, 200]))
    first = await platform.publish(event, {"n": 1})
    await receiver.wait_for(path, 1)
    changed = await platform.call("PUT", f"/v1/events/{event}", {"template": {"new": "{n}"}})
    before = await delivered(platform, first)
    after = await delivered(platform, await platform.publish(event, {"n": 2}))

    assert changed["version"] == 2
    assert [json.loads(request.body) for request in receiver.got(path)] == [{"old": 1}] * 3 + [{"new": 2}]
    assert (before["request"]["event_version"], after["request"]["event_version"]) == (1, 2)


@pytest.mark.parametrize(
    ("method", "change", "outcome"),
    [
        ("PATCH", {"active": False}, "inactive"),
        ("DELETE", None, "deleted"),
    ],
)
@pytest.mark.parametrize("kind", ["webhook", "subscription"])
async def test_what_is_in_flight_ends_with_the_reason(
    platform: PlatformProcess,
    receiver: Receiver,
    path: str,
    kind: str,
    method: str,
    change: Json | None,
    outcome: str,
) -> None:
    """Disabled or deleted between two attempts: the next one is not sent, and the delivery stays visible. Enabling
    again replays nothing; a resend by hand does."""
    event = await platform.event()
    webhook = await platform.webhook(event, receiver.tell(path, [503, 200]), retry_policy={"initial_interval": 0.5})
    [subscription] = (await platform.get("/v1/subscriptions", webhook_id=webhook["id"]))["items"]
    id = await platform.delivery(await platform.publish(event))
    await receiver.wait_for(path, 1)
    target = f"/v1/{kind}s/{webhook['id'] if kind == 'webhook' else subscription['id']}"
    await platform.call(method, target, change)
    delivery = await platform.wait(id, "failed")

    assert [attempt["outcome"] for attempt in delivery["attempts"]] == ["http_503", f"{kind}_{outcome}"]
    assert len(receiver.got(path)) == 1
    if method == "PATCH":
        await platform.call(method, target, {"active": True})
        assert (await platform.get(f"/v1/deliveries/{id}"))["status"] == "failed"
        await platform.post(f"/v1/deliveries/{id}/resend")
        await platform.wait(id, "delivered")


async def test_a_test_payload_is_sent_now_and_leaves_no_trace(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """Logto 9: a sample for each event, through the same path, not among the deliveries; no answer has consequences."""
    with_sample = await platform.event(sample={"order": {"id": 1}}, template={"order": "{order.id}"})
    without = await platform.event()
    url = receiver.tell(path, [Reply(410, b"gone")])
    created = {"url": url, "events": [with_sample, without], "headers": {"X-Token": "canary-7788"}}
    webhook = await platform.post("/v1/webhooks", created, expect=201)
    tested = (await platform.post(f"/v1/webhooks/{webhook['id']}/test"))["items"]
    [only] = (await platform.post(f"/v1/webhooks/{webhook['id']}/test", {"event": without}))["items"]
    requests = receiver.got(path)

    assert [test["event"] for test in tested] == [with_sample, without]
    assert {(test["outcome"], test["status_code"], test["response_body"]) for test in tested} == {
        ("http_410", 410, "gone")
    }
    assert tested[0]["body"] == '{"order":1}'
    assert tested[0]["timing"]["wait"] is not None
    assert {"name": "X-Token", "value": "********"} in tested[0]["request_headers"]
    assert {"name": "content-length", "value": "4"} in tested[0]["response_headers"]
    assert json.loads(only["body"])["data"] == {}
    assert len(requests) == 3
    assert all(request.headers["webhook-id"].startswith("test-") for request in requests)
    assert all(request.headers["x-token"] == "canary-7788" for request in requests)
    assert (await platform.get("/v1/deliveries", webhook_id=webhook["id"]))["items"] == []
    assert (await platform.get(f"/v1/webhooks/{webhook['id']}"))["active"] is True
    await platform.post(f"/v1/webhooks/{webhook['id']}/test", {"event": "NoSuch"}, expect=422)


async def test_a_test_goes_through_the_guard(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """To an address that is not allowed, nothing is sent; the answer says no more than that."""
    event = await platform.event()
    webhook = await platform.webhook(event, "https://localhost.invalid/")
    [test] = (await platform.post(f"/v1/webhooks/{webhook['id']}/test"))["items"]

    assert (test["outcome"], test["status_code"]) == ("dns_error", None)
