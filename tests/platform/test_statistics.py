"""Figures of deliveries, as visibility counts them: for everybody, for a webhook, for a client."""

from typing import Any

import pytest

from tests.api.test_consumer_tokens import client_id, consumer, created
from webhooks.testing.platform_process import Json, PlatformProcess, until
from webhooks.testing.receiver import Receiver

_NEVER = {"initial_interval": 3600}


async def counted(platform: PlatformProcess, numbers: list[int], **query: Any) -> Json:
    """Wait until the statistics have these numbers of delivered, failed and waiting deliveries."""
    found: Json = {}

    async def as_expected() -> bool:
        nonlocal found
        found = await platform.get("/v1/statistics", **query)
        return [found[name] for name in ("delivered", "failed", "waiting")] == numbers

    await until(as_expected, timeout=20, what=f"{numbers} in the statistics")
    return found


async def test_figures_of_a_webhook(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event()
    webhook = await platform.webhook(event, receiver.tell(path, [200, 400, 503]), retry_policy=_NEVER)
    ids = []
    for status in ("delivered", "failed", "retrying"):
        ids.append(await platform.delivery(await platform.publish(event)))
        await platform.wait(ids[-1], status)
    place = f"/v1/webhooks/{webhook['id']}"
    shown = await counted(platform, [1, 1, 1], webhook_id=webhook["id"], event=event)
    await counted(platform, [0, 0, 0], webhook_id=webhook["id"], until=shown["since"])
    part = await counted(platform, [1, 1, 1], webhook_id=webhook["id"], since=shown["since"])
    health = await platform.get(f"{place}/health")
    [listed] = (await platform.get("/v1/webhooks/health", webhook_id=[webhook["id"], "none"], window="7d"))["items"]
    requests = await platform.get(f"{place}/requests", limit=2)
    older = await platform.get(f"{place}/requests", limit=2, cursor=requests["next_cursor"])

    assert shown["success_rate"] == 0.5
    assert [bar["at"] for bar in shown["bars"]] == sorted({bar["at"] for bar in shown["bars"]})
    assert shown["bars"][0]["at"] == shown["since"]
    assert len(shown["bars"]) == 49
    for figures in (shown, part, health, listed):
        assert [sum(bar[name] for bar in figures["bars"]) for name in ("delivered", "failed")] == [1, 1]
    assert (health["total"], health["sample"], health["state"], health["window"]) == (3, 3, "closed", "24h")
    assert 0 < health["p50_ms"] <= health["p95_ms"]
    assert (listed["webhook_id"], listed["total"], len(listed["bars"])) == (webhook["id"], 3, 13)
    assert [request["delivery_id"] for request in (*requests["items"], *older["items"])] == ids[::-1]
    assert [request["outcome"] for request in requests["items"]] == ["http_503", "http_400"]
    assert {request["attempt"] for request in requests["items"]} == {1}


async def test_a_window_is_refused_that_ends_before_it_begins_or_is_too_long(platform: PlatformProcess) -> None:
    for query in (
        {"since": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
        {"since": "2020-01-01T00:00:00Z"},
    ):
        answer = await platform.http.get("/v1/statistics", params=query)
        assert answer.status_code == 422
        assert "since" in answer.text


@pytest.mark.parametrize("own", [True, False])
async def test_a_client_sees_the_figures_of_its_own_webhooks(
    platform: PlatformProcess, receiver: Receiver, path: str, own: bool
) -> None:
    event, mine = await platform.event(), client_id()
    theirs = await platform.webhook(event, receiver.tell(f"{path}/theirs", [200]), allowedClientIdentifiers=[mine])
    async with consumer(platform, mine) as client:
        webhook = await created(client, event, receiver.tell(path, [200])) if own else theirs
        for delivery in (await platform.publish(event, client_identifier=mine))["deliveries"]:
            await platform.wait(delivery["id"], "delivered")
        await counted(platform, [2 if own else 1, 0, 0], client_identifier=mine)
        shown = (await client.get("/v1/statistics")).json()
        place = f"/v1/webhooks/{webhook['id']}"
        answers = [(await client.get(f"{place}/{what}")).status_code for what in ("health", "requests")]
        ids = [theirs["id"], webhook["id"]]
        listed = (await client.get("/v1/webhooks/health", params={"webhook_id": ids})).json()["items"]

    assert shown["delivered"] == int(own)
    assert answers == [200 if own else 404] * 2
    assert [item["webhook_id"] for item in listed] == ([webhook["id"]] if own else [])
