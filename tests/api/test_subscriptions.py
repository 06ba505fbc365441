"""Subscriptions, as LogiSense has them: which event, for exactly one destination, whose and which occurrences."""

from typing import Any

import pytest

from webhooks.testing.platform_process import Json, PlatformProcess

URL = "https://api.example.com/webhooks/invoices"
FILTER = {"data": {"invoice": {"total": {"$gte": 100}}}}


async def destination(platform: PlatformProcess) -> str:
    """The id of a webhook that nothing is subscribed to."""
    created = await platform.post("/v1/webhooks", {"url": URL}, expect=201)
    return str(created["id"])


async def subscription(platform: PlatformProcess, **fields: object) -> Json:
    """A fresh event for a fresh destination."""
    body = {"event": await platform.event(), "webhook_id": await destination(platform), **fields}
    return await platform.post("/v1/subscriptions", body, expect=201)


def pointers(problem: Json) -> list[str]:
    return [error["pointer"] for error in problem["errors"]]


async def test_two_objects(platform: PlatformProcess) -> None:
    """The destination first, which says where and how; then the subscription, which says what."""
    event, webhook = await platform.event(), await destination(platform)
    answer = await platform.http.post("/v1/subscriptions", json={"event": event, "webhook_id": webhook})
    created = answer.json()

    assert answer.status_code == 201
    assert created == {
        "id": created["id"],
        "event": event,
        "webhook_id": webhook,
        "active": True,
        "allowedClientIdentifiers": [],
        "filter": None,
        "created_at": created["created_at"],
        "updated_at": created["updated_at"],
    }
    assert answer.headers["location"] == f"/v1/subscriptions/{created['id']}"
    assert await platform.get(answer.headers["location"]) == created
    assert (await platform.get(f"/v1/webhooks/{webhook}"))["event"] == event


async def test_everything_that_it_takes(platform: PlatformProcess) -> None:
    fields = {"active": False, "allowedClientIdentifiers": ["c-1", "c-2"], "filter": FILTER}
    created = await subscription(platform, **fields)
    [listed] = (await platform.get("/v1/subscriptions", event=created["event"]))["items"]
    webhook = await platform.get(f"/v1/webhooks/{created['webhook_id']}")

    assert {name: created[name] for name in fields} == fields
    assert listed == created
    assert (webhook["allowedClientIdentifiers"], webhook["filter"]) == (["c-1", "c-2"], FILTER)


async def test_one_destination_may_have_many_and_one_event_many_destinations(platform: PlatformProcess) -> None:
    events = [await platform.event() for _ in range(2)]
    webhooks = [await destination(platform) for _ in range(2)]
    for event in events:
        for webhook in webhooks:
            await platform.post("/v1/subscriptions", {"event": event, "webhook_id": webhook}, expect=201)
    published = await platform.publish(events[0])

    assert [item["webhook_id"] for item in published["deliveries"]] == webhooks
    for webhook in webhooks:
        assert (await platform.get(f"/v1/webhooks/{webhook}"))["events"] == events


async def test_the_same_again_is_a_conflict(platform: PlatformProcess) -> None:
    created = await subscription(platform)
    same = {"event": created["event"], "webhook_id": created["webhook_id"]}
    problem = await platform.post("/v1/subscriptions", {**same, "filter": FILTER}, expect=409)
    unchanged = await platform.get(f"/v1/subscriptions/{created['id']}")
    await platform.call("DELETE", f"/v1/subscriptions/{created['id']}", expect=204)
    again = await platform.post("/v1/subscriptions", same, expect=201)

    assert pointers(problem) == ["/event"]
    assert unchanged == created
    assert again["id"] != created["id"]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"webhook_id": "00000000-0000-7000-8000-000000000000"}, "/webhook_id"),
        ({"webhook_id": "nonsense"}, "/webhook_id"),
        ({"webhook_id": None}, "/webhook_id"),
        ({"event": "NoSuchEvent"}, "/event"),
        ({"event": "has space"}, "/event"),
        ({"event": None}, "/event"),
        ({"active": "yes"}, "/active"),
        ({"allowedClientIdentifiers": None}, "/allowedClientIdentifiers"),
        ({"allowedClientIdentifiers": ["c", ""]}, "/allowedClientIdentifiers/1"),
        ({"allowedClientIdentifiers": ["c"] * 1001}, "/allowedClientIdentifiers"),
        ({"filter": "all"}, "/filter"),
        ({"filter": []}, "/filter"),
        ({"filter": {"colour": "red"}}, "/filter/colour"),
        ({"filter": {"$and": []}}, "/filter/$and"),
        ({"filter": {"data": {"total": {"$more": 1}}}}, "/filter/data/total/$more"),
        ({"filter": {"data": {"total": {"$in": 1}}}}, "/filter/data/total/$in"),
        ({"filter": {"data": {"text": "x" * 20_000}}}, "/filter"),
        ({"filter": {"$or": [{"data": n} for n in range(300)]}}, "/filter"),
        ({"url": URL}, "/url"),
    ],
)
async def test_a_bad_field_is_refused_and_named(platform: PlatformProcess, fields: Json, pointer: str) -> None:
    body = {"event": await platform.event(), "webhook_id": await destination(platform), **fields}
    problem = await platform.post("/v1/subscriptions", body, expect=422)

    assert pointers(problem) == [pointer]


@pytest.mark.parametrize("missing", ["event", "webhook_id"])
async def test_what_is_required(platform: PlatformProcess, missing: str) -> None:
    body = {"event": await platform.event(), "webhook_id": await destination(platform)}
    del body[missing]

    assert pointers(await platform.post("/v1/subscriptions", body, expect=422)) == [f"/{missing}"]


async def test_an_inactive_event_takes_no_subscriptions(platform: PlatformProcess) -> None:
    body = {"event": await platform.event(active=False), "webhook_id": await destination(platform)}
    problem = await platform.post("/v1/subscriptions", body, expect=422)

    assert problem["errors"] == [{"pointer": "/event", "detail": "the event is inactive"}]


async def test_a_filter_s_problem_points_into_the_filter(platform: PlatformProcess) -> None:
    body = {"event": "E", "webhook_id": "w", "filter": {"data": {"a/b": {"$more": 1}}}}
    problem = await platform.post("/v1/subscriptions", body, expect=422)

    assert pointers(problem) == ["/filter/data/a~1b/$more"]
    assert problem["errors"][0]["detail"].startswith("the operators are $eq, ")


async def test_the_list_is_filtered(platform: PlatformProcess) -> None:
    events = [await platform.event() for _ in range(2)]
    webhooks = [await destination(platform) for _ in range(2)]
    ids = {}
    for event, webhook, active in ((0, 0, True), (0, 1, False), (1, 0, False)):
        body = {"event": events[event], "webhook_id": webhooks[webhook], "active": active}
        ids[event, webhook] = (await platform.post("/v1/subscriptions", body, expect=201))["id"]

    async def found(**query: Any) -> list[str]:
        return [item["id"] for item in (await platform.get("/v1/subscriptions", **query))["items"]]

    assert await found(event=events[0]) == [ids[0, 1], ids[0, 0]]
    assert await found(webhook_id=webhooks[0]) == [ids[1, 0], ids[0, 0]]
    assert await found(webhook_id=webhooks[0], active=True) == [ids[0, 0]]
    assert await found(event=events[0], active=False) == [ids[0, 1]]
    assert await found(event=events[1], webhook_id=webhooks[0]) == [ids[1, 0]]
    assert await found(event=events[1], webhook_id=webhooks[1]) == []
    assert await found(event="NoSuchEvent") == await found(webhook_id="none") == []


async def test_the_list_is_newest_first_and_paged(platform: PlatformProcess) -> None:
    webhook = await destination(platform)
    ids = []
    for _ in range(5):
        body = {"event": await platform.event(), "webhook_id": webhook}
        ids.append((await platform.post("/v1/subscriptions", body, expect=201))["id"])
    seen: list[str] = []
    query: dict[str, Any] = {"webhook_id": webhook, "limit": 2}
    for expected in (2, 2, 1):
        page = await platform.get("/v1/subscriptions", **query)
        assert len(page["items"]) == expected
        seen += [item["id"] for item in page["items"]]
        query["cursor"] = page["next_cursor"]

    assert seen == ids[::-1]
    assert query["cursor"] is None


@pytest.mark.parametrize(
    ("patch", "shown"),
    [
        ({}, {}),
        ({"active": False}, {"active": False}),
        ({"allowedClientIdentifiers": []}, {"allowedClientIdentifiers": []}),
        ({"filter": None}, {"filter": None}),
        ({"filter": {}}, {"filter": None}),
        ({"filter": {"data": {"country": "TR"}}}, {"filter": {"data": {"country": "TR"}}}),
        ({"filter": {"data": {"invoice": None}}}, {"filter": {"data": {"invoice": None}}}),
        ({"filter": {"data": {"invoice": 7}}}, {"filter": {"data": {"invoice": 7}}}),
        ({"filter": {"$or": [{"bulk": True}]}}, {"filter": {"$or": [{"bulk": True}]}}),
    ],
)
async def test_a_change_is_a_merge_patch(platform: PlatformProcess, patch: Json, shown: Json) -> None:
    """But a filter is one value, in which null is what a field must equal."""
    created = await subscription(platform, filter=FILTER, allowedClientIdentifiers=["c-1"])
    path = f"/v1/subscriptions/{created['id']}"
    changed = await platform.call("PATCH", path, patch)

    assert changed == {**created, **shown, "updated_at": changed["updated_at"]}
    assert await platform.get(path) == changed


async def test_null_brings_back_active(platform: PlatformProcess) -> None:
    created = await subscription(platform, active=False)
    changed = await platform.call("PATCH", f"/v1/subscriptions/{created['id']}", {"active": None})

    assert changed["active"] is True


@pytest.mark.parametrize(
    ("patch", "pointer"),
    [
        ({"event": "Another"}, "/event"),
        ({"webhook_id": "another"}, "/webhook_id"),
        ({"id": "another"}, "/id"),
        ({"active": 1}, "/active"),
        ({"allowedClientIdentifiers": None}, "/allowedClientIdentifiers"),
        ({"allowedClientIdentifiers": "c-1"}, "/allowedClientIdentifiers"),
        ({"filter": {"data": {"invoice": {"total": {"$more": 1}}}}}, "/filter/data/invoice/total/$more"),
        ({"filter": "all"}, "/filter"),
    ],
)
async def test_a_bad_change_changes_nothing(platform: PlatformProcess, patch: Json, pointer: str) -> None:
    created = await subscription(platform, filter=FILTER, allowedClientIdentifiers=["c-1"])
    path = f"/v1/subscriptions/{created['id']}"
    problem = await platform.call("PATCH", path, patch, expect=422)

    assert pointers(problem) == [pointer]
    assert await platform.get(path) == created


async def test_a_deleted_one_is_gone_and_its_webhook_stays(platform: PlatformProcess) -> None:
    created = await subscription(platform)
    path = f"/v1/subscriptions/{created['id']}"
    await platform.call("DELETE", path, expect=204)

    for method in ("GET", "PATCH", "DELETE"):
        problem = await platform.call(method, path, {} if method == "PATCH" else None, expect=404)
        assert problem["detail"] == "no such subscription"
    assert (await platform.get(f"/v1/webhooks/{created['webhook_id']}"))["events"] == []
    await platform.call("DELETE", f"/v1/events/{created['event']}", expect=204)


@pytest.mark.parametrize(
    ("filter", "occurrence", "mismatch"),
    [
        ({}, {}, None),
        (FILTER, {"data": {"invoice": {"total": 100}}}, None),
        (FILTER, {"data": {"invoice": {"total": 99.5}}}, "/data/invoice/total/$gte"),
        (FILTER, {}, "/data/invoice/total/$gte"),
        ({"event": "A", "bulk": True}, {"event": "A"}, "/bulk"),
        ({"client_identifier": {"$in": ["c-1"]}}, {"client_identifier": "c-1"}, None),
        ({"owner_id": "o", "user_id": "u"}, {"owner_id": "o", "user_id": "v"}, "/user_id"),
        ({"occurred_at": {"$prefix": "2026-01"}}, {"occurred_at": "2026-01-10T10:30:00Z"}, None),
        ({"data": {"a/b": 1}}, {"data": {"a/b": 2}}, "/data/a~1b"),
        ({"$or": [{"bulk": True}, {"data": {"n": 1}}]}, {"data": {"n": 2}}, "/$or"),
        ({"$and": [{"bulk": False}, {"data": {"n": 1}}]}, {"data": {"n": 2}}, "/$and/1/data/n"),
    ],
)
async def test_a_filter_is_tried_out(
    platform: PlatformProcess, filter: Json, occurrence: Json, mismatch: str | None
) -> None:
    tried = await platform.post("/v1/filters/match", {"filter": filter, "occurrence": occurrence}, expect=200)

    assert tried == {"matches": mismatch is None, "mismatch": mismatch}


async def test_what_is_tried_out_is_what_publishing_does(platform: PlatformProcess) -> None:
    created = await subscription(platform, filter=FILTER)
    for total in (99, 100):
        occurrence = {"data": {"invoice": {"total": total}}, "event": created["event"]}
        tried = await platform.post("/v1/filters/match", {"filter": FILTER, "occurrence": occurrence}, expect=200)
        published = await platform.post("/v1/occurrences", occurrence, expect=202)

        assert bool(published["deliveries"]) is tried["matches"] is (total == 100)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"filter": {}}, "/occurrence"),
        ({"occurrence": {}}, "/filter"),
        ({"filter": None, "occurrence": {}}, "/filter"),
        ({"filter": {"colour": "red"}, "occurrence": {}}, "/filter/colour"),
        ({"filter": {}, "occurrence": {"colour": "red"}}, "/occurrence/colour"),
        ({"filter": {}, "occurrence": {"bulk": "yes"}}, "/occurrence/bulk"),
        ({"filter": {}, "occurrence": {"occurred_at": "yesterday"}}, "/occurrence/occurred_at"),
        ({"filter": {}, "occurrence": []}, "/occurrence"),
    ],
)
async def test_a_bad_trial_is_refused_and_named(platform: PlatformProcess, body: Json, pointer: str) -> None:
    assert pointers(await platform.post("/v1/filters/match", body, expect=422)) == [pointer]


async def test_several_values_of_a_list_s_filter_mean_either(platform: PlatformProcess) -> None:
    events = [await platform.event() for _ in range(3)]
    webhooks = [(await platform.webhook(event, "https://api.example.com/hook"))["id"] for event in events]
    both = set(webhooks[:2])

    async def listed(kind: str, **query: list[str]) -> list[Json]:
        items: list[Json] = (await platform.http.get(f"/v1/{kind}", params=query)).json()["items"]
        return items

    subscriptions = await listed("subscriptions", event=[*events[:2], "None"])
    of_webhooks = await listed("subscriptions", webhook_id=webhooks[:2])
    one = await listed("subscriptions", event=events[:2], webhook_id=webhooks[1:])
    shown = await listed("webhooks", event=[*events[:2], "None"])

    assert {item["webhook_id"] for item in subscriptions} == {item["webhook_id"] for item in of_webhooks} == both
    assert [item["webhook_id"] for item in one] == [webhooks[1]]
    assert {item["id"] for item in shown} == both
