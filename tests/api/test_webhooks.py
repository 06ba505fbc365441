"""Webhooks, as Logiwa's page shows them."""

from typing import Any

import pytest

from demo.platform_process import PlatformProcess
from demo.receiver import Receiver

URL = "https://api.example.com/webhooks/shipments"


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
        "deactivated_reason": None,
        "method": "POST",
        "retry_policy": {
            "initial_interval": 10,
            "backoff_coefficient": 4,
            "maximum_interval": 43200,
            "maximum_attempts": 10,
        },
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
    body = {"url": URL, "event": await platform.event(), "allowedClientIdentifiers": []}
    del body[missing]
    problem = await platform.post("/v1/webhooks", body, expect=422)

    assert [error["pointer"] for error in problem["errors"]] == [f"/{missing}"]


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
        ("headers", {"Host": "elsewhere.example"}, "/headers"),
        ("headers", {"webhook-signature": "v1,forged"}, "/headers"),
        ("headers", {"Content-Length": "1"}, "/headers"),
        ("headers", {"Bad Name": "x"}, "/headers"),
        ("headers", {"X-Split": "a\r\nX-Injected: b"}, "/headers"),
        ("headers", {"X-A": "1", "x-a": "2"}, "/headers"),
        ("headers", {"X-Token": "********"}, "/headers/X-Token"),
        ("timeout", True, "/timeout"),
        ("timeout", "5", "/timeout"),
        ("active", "no", "/active"),
        ("retry_policy", {"maximum_attempts": True}, "/retry_policy/maximum_attempts"),
        ("secret", "x", "/secret"),
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


async def test_a_refusal_repeats_no_secret(platform: PlatformProcess) -> None:
    body = {"url": URL, "event": 5, "headers": {"Authorization": "Bearer canary-3391", "Bad Name": "canary-3391"}}
    answer = await platform.http.post("/v1/webhooks", json=body)

    assert answer.status_code == 422
    assert "canary-3391" not in answer.text
    assert "canary-3391" not in platform.log
