"""The delivery monitor's list."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from webhooks.deliveries import windows
from webhooks.deliveries.monitor import Deliveries, DeliverySummary
from webhooks.deliveries.visibility import Filter
from webhooks.testing.platform_process import Json, PlatformProcess, until
from webhooks.testing.receiver import Receiver

_NEVER = {"initial_interval": 3600}


async def listed(platform: PlatformProcess, expected: list[str], **query: Any) -> list[Json]:
    """The list once it shows exactly these deliveries in this order: visibility follows a moment later."""
    page: Json = {}

    async def shown() -> bool:
        nonlocal page
        page = await platform.get("/v1/deliveries", **query)
        return [item["id"] for item in page["items"]] == expected

    await until(shown, timeout=15, what=f"{query}: {expected}", shown=lambda: str(page))
    items: list[Json] = page["items"]
    return items


async def test_filters_and_order(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """Newest first, whatever became of each."""
    event, other = await platform.event(), await platform.event()
    ids = {}
    for name, answers in (("failed", [400]), ("retrying", [503]), ("delivered", [200])):
        key = other if name == "retrying" else event
        url = receiver.tell(f"{path}/{name}", answers)
        webhook = await platform.webhook(key, url, retry_policy=_NEVER, allowedClientIdentifiers=[name])
        published = await platform.publish(key, client_identifier=name)
        id = await platform.delivery(published)
        await platform.wait(id, name)
        ids[name] = (id, webhook["id"], published["id"])
    failed, retrying, delivered = (ids[name][0] for name in ("failed", "retrying", "delivered"))

    await listed(platform, [delivered, failed], event=event)
    await listed(platform, [delivered], event=event, status="delivered")
    await listed(platform, [failed], event=event, status="failed")
    await listed(platform, [retrying], event=other, status="retrying")
    await listed(platform, [], event=other, status="pending")
    await listed(platform, [], event=event, status="expired")
    await listed(platform, [failed], webhook_id=ids["failed"][1])
    await listed(platform, [failed], event=event, outcome="http_400")
    await listed(platform, [delivered], event=event, outcome="delivered")
    await listed(platform, [retrying], event=other, outcome="http_503", status="retrying")
    await listed(platform, [], event=event, outcome="http_503")
    await listed(platform, [retrying], occurrence_id=ids["retrying"][2])
    await listed(platform, [delivered], event=event, client_identifier="delivered")
    await listed(platform, [], event=event, client_identifier="' OR 'a'='a")
    [item] = await listed(platform, [retrying], event=other)
    detail = await platform.get(f"/v1/deliveries/{retrying}")
    assert item == {name: value for name, value in detail.items() if name not in ("request", "attempts")}
    assert item["next_attempt_at"]
    facts = ("waiting_for", "attempt_count", "last_outcome", "attempt_outcomes", "last_status_code")
    assert [item[name] for name in facts] == ["backoff", 1, "http_503", ["http_503"], 503]
    [item] = await listed(platform, [failed], webhook_id=ids["failed"][1])
    assert [item[name] for name in facts] == ["person", 1, "http_400", ["http_400"], 400]
    [item] = await listed(platform, [delivered], webhook_id=ids["delivered"][1])
    assert [item[name] for name in facts] == [None, 1, "delivered", ["delivered"], 200]
    detail = await platform.get(f"/v1/deliveries/{delivered}")
    for name in ("url", "status", "event", "occurrence_id", "webhook_id", "client_identifier", "occurred_at"):
        assert item[name] == detail[name]


async def test_several_values_of_a_filter_mean_either(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event()
    ids, webhooks, occurrences = [], [], []
    for name, answers in (("a", [400]), ("b", [503]), ("c", [200])):
        url = receiver.tell(f"{path}/{name}", answers)
        webhook = await platform.webhook(event, url, retry_policy=_NEVER, allowedClientIdentifiers=[name])
        published = await platform.publish(event, client_identifier=name)
        ids.append(await platform.delivery(published))
        webhooks.append(webhook["id"])
        occurrences.append(published["id"])
    failed, retrying, delivered = ids
    for id, status in zip(ids, ("failed", "retrying", "delivered"), strict=True):
        await platform.wait(id, status)
    other = await platform.event()

    await listed(platform, [delivered, retrying, failed], event=[event, other])
    await listed(platform, [delivered, failed], event=event, status=["failed", "delivered"])
    await listed(platform, [retrying, failed], event=event, status=["failed", "retrying", "pending", "failed"])
    await listed(platform, [retrying], event=event, status=["pending", "retrying"])
    await listed(platform, [delivered, failed], webhook_id=[webhooks[0], webhooks[2]])
    await listed(platform, [retrying, failed], occurrence_id=occurrences[:2])
    await listed(platform, [delivered, retrying], event=event, client_identifier=["b", "c", "nobody"])
    await listed(platform, [retrying], event=event, client_identifier=["a", "b"], status=["retrying", "delivered"])
    await listed(platform, [], event=[other, "None"])


async def test_a_repeated_parameter_that_takes_one_value_is_refused(platform: PlatformProcess) -> None:
    for query in ("limit=5&limit=5", "since=2026-01-01T00:00:00Z&since=2026-01-02T00:00:00Z", "cursor=a&cursor=b"):
        problem = (await platform.http.get(f"/v1/deliveries?{query}")).json()
        name = query.partition("=")[0]

        assert problem["status"] == 422
        assert problem["errors"] == [{"parameter": name, "detail": "it is given more than once, and takes one value"}]
    for path, query, name in (
        ("deliveries", "status=failed&status=unheard", "status"),
        ("deliveries", "event=E&event=", "event"),
        ("deliveries", "&".join(f"event=E{number}" for number in range(21)), "event"),
        ("webhooks", "active=true&active=false", "active"),
        ("events", "active=true&active=true", "active"),
    ):
        problem = (await platform.http.get(f"/v1/{path}?{query}")).json()

        assert problem["status"] == 422
        assert [error["parameter"] for error in problem["errors"]] == [name]


async def test_a_list_is_filtered_by_the_exact_value(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """Also where the query language of the store means another one: it strips quotes, for example."""
    event = await platform.event()
    await platform.webhook(event, receiver.url(path))
    plain = ["acme", "ACME", "acme ", " acme", "(acme)", "`acme`", "o'neil", "50%", "a_b", "a;--", "NULL", "7"]
    clients = [*plain, "\N{CJK UNIFIED IDEOGRAPH-5C71}"]
    ids = {}
    for client in clients:
        ids[client] = await platform.delivery(await platform.publish(event, client_identifier=client))
    await listed(platform, [ids[client] for client in reversed(clients)], event=event)
    for client in clients:
        await listed(platform, [ids[client]], event=event, client_identifier=client)
    in_quotes = ["'acme'", "'acme", "acme'", "''acme''", '"acme"', "' OR 'a'='a", "'"]
    for wrong in (*in_quotes, "o''neil", "o\\'neil", "\\'acme\\'", "\\acme"):
        page = await platform.get("/v1/deliveries", event=event, client_identifier=wrong)
        assert page == {"items": [], "next_cursor": None}, wrong
        page = await platform.get("/v1/deliveries", event=event, client_identifier=[wrong, "50%"])
        assert [item["id"] for item in page["items"]] == [ids["50%"]], wrong
    [item] = (await platform.get("/v1/deliveries", event=event, client_identifier="7"))["items"]
    for name in ("webhook_id", "event", "occurrence_id"):
        page = (await platform.http.get("/v1/deliveries", params={name: f"'{item[name]}'"})).json()
        assert page["items"] == []


async def test_pages_hold_every_delivery_once(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.url(path))
    ids = [await platform.delivery(await platform.publish(event, {"n": n})) for n in range(7)]
    ids.reverse()
    await listed(platform, ids, event=event)
    seen: list[str] = []
    query: dict[str, Any] = {"event": event, "limit": 3}
    for expected in (3, 3, 1):
        page = await platform.get("/v1/deliveries", **query)
        assert len(page["items"]) == expected
        seen += [item["id"] for item in page["items"]]
        query["cursor"] = page["next_cursor"]

    assert seen == ids
    assert query["cursor"] is None


async def test_since_and_until(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.url(path))
    ids = [await platform.delivery(await platform.publish(event, {"n": n})) for n in range(3)]
    items = await listed(platform, ids[::-1], event=event)
    middle = items[1]["created_at"]
    later = (datetime.fromisoformat(middle) + timedelta(milliseconds=1)).isoformat()

    await listed(platform, [ids[2], ids[1]], event=event, since=middle)
    await listed(platform, [ids[0]], event=event, until=middle)
    await listed(platform, [ids[2]], event=event, since=later)
    await listed(platform, [ids[1]], event=event, since=middle, until=later)
    await listed(platform, ids[::-1], event=event, since="1900-01-01T00:00:00Z")
    await listed(platform, [], event=event, since=later, until=middle)
    await listed(platform, [], event=event, since="2199-01-01T00:00:00Z")
    await listed(platform, [], event=event, until="1900-01-01T00:00:00Z")


@pytest.mark.thorough
async def test_more_deliveries_than_one_window_holds(
    platform: PlatformProcess, receiver: Receiver, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """70 rows where a window holds 20: the list has to narrow its window of start times, and must neither lose nor
    repeat one. The list runs in this process, so that its window can be that small."""
    monkeypatch.setattr(windows, "PAGE_ROWS", 20)
    monitor = Deliveries(await platform.temporal(), ui="", task_queue="")
    event = await platform.event()
    await platform.webhook(event, receiver.url(path))
    ids = set()
    for start in range(0, 70, 10):
        batch = (platform.publish(event, {"n": n}) for n in range(start, start + 10))
        for published in await asyncio.gather(*batch):
            ids.add(await platform.delivery(published))
    await receiver.wait_for(path, 70, timeout=60)
    found: list[DeliverySummary] = []

    async def all_found() -> bool:
        found.clear()
        cursor: str | None = None
        while True:
            items, cursor = await monitor.list(Filter("default", events=[event]), limit=15, cursor=cursor)
            found.extend(items)
            if cursor is None:
                return len(found) >= len(ids)

    await until(all_found, timeout=60, what="70 deliveries", shown=lambda: str(len(found)))
    times = [item.created_at for item in found]

    assert len(found) == 70
    assert {item.id for item in found} == ids
    assert times == sorted(times, reverse=True)
