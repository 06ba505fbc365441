"""What may be published."""

import json
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

import httpx
import pytest

from webhooks.testing.platform_process import Json, PlatformProcess, until
from webhooks.testing.receiver import Receiver


async def test_data_must_fit_the_schema(platform: PlatformProcess) -> None:
    schema = {
        "type": "object",
        "required": ["order"],
        "properties": {"order": {"properties": {"id": {"type": "integer"}, "a/b": {"const": 1}}}},
    }
    event = await platform.event(schema=schema)
    await platform.publish(event, {"order": {"id": 1}})
    body = {"event": event, "data": {"order": {"id": "canary-5520", "a/b": 2}}}
    problem = await platform.post("/v1/occurrences", body, expect=422)
    missing = await platform.post("/v1/occurrences", {"event": event, "data": {}}, expect=422)

    assert {error["pointer"] for error in problem["errors"]} == {"/data/order/id", "/data/order/a~1b"}
    assert "canary-5520" not in str(problem)
    assert [error["pointer"] for error in missing["errors"]] == ["/data"]


async def test_an_id_is_made_when_there_is_none(platform: PlatformProcess) -> None:
    event = await platform.event()
    first, second = await platform.publish(event), await platform.publish(event)

    assert first["id"] != second["id"]
    assert first["id"][14] == "7"  # a UUIDv7


async def test_occurred_at_is_the_producers_or_now(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.url(path))
    id = await platform.delivery(await platform.publish(event, occurred_at="2026-01-02T03:04:05+02:00"))
    delivery = await platform.wait(id, "delivered")

    assert datetime.fromisoformat(delivery["occurred_at"]) == datetime.fromisoformat("2026-01-02T01:04:05Z")


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123456Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999Z"),
        ("2016-12-31T15:59:60.5-08:00", "2016-12-31T23:59:59.999999Z"),
    ],
)
async def test_nanoseconds_and_a_leap_second_are_accepted(
    platform: PlatformProcess, receiver: Receiver, path: str, sent: str, stored: str
) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.url(path), filter={"occurred_at": sent})
    id = await platform.delivery(await platform.publish(event, occurred_at=sent))
    delivery = await platform.wait(id, "delivered")

    assert datetime.fromisoformat(delivery["occurred_at"]) == datetime.fromisoformat(stored)


@pytest.mark.parametrize("data", [None, 0, "text", [1, 2], {}, {"big": 123456789012345678901234567890, "e": 1e-9}])
async def test_data_is_any_json(platform: PlatformProcess, receiver: Receiver, path: str, data: Any) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.url(path))
    await platform.post("/v1/occurrences", {"event": event, "data": data}, expect=202)
    [request] = await receiver.wait_for(path, 1)

    assert json.loads(request.body)["data"] == data


NUMBERS = '{"a":0.123456789012345678,"b":[10.00,1e5,1E-7,-0.0,12345678901234567890],"c":{"d":9007199254740993.0}}'


async def publish_text(platform: PlatformProcess, event: str, data: str, id: str = "") -> httpx.Response:
    """The digits as they are: a JSON library would write its own."""
    body = f'{{"event": "{event}", "data": {data}, "id": "{id or uuid4()}"}}'
    return await platform.http.post("/v1/occurrences", content=body, headers={"content-type": "application/json"})


async def test_the_digits_of_numbers_reach_the_receiver(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event(template={"all": "{data}", "text": "{a} {b}", "d": "{c.d}"})
    await platform.webhook(event, receiver.url(path))
    await platform.webhook(event, receiver.url(f"{path}/form"), format="Form URL Encoded")
    assert (await publish_text(platform, event, NUMBERS)).status_code == 202
    [body], [form] = await receiver.wait_for(path, 1), await receiver.wait_for(f"{path}/form", 1)
    in_list = "[10.00,1e5,1E-7,-0.0,12345678901234567890]"

    assert body.body.decode() == (f'{{"all":{NUMBERS},"text":"0.123456789012345678 {in_list}","d":9007199254740993.0}}')
    assert ("all[b][0]", "10.00") in parse_qsl(form.body.decode())
    assert ("d", "9007199254740993.0") in parse_qsl(form.body.decode())


async def test_reading_an_occurrence_shows_the_digits(platform: PlatformProcess) -> None:
    event = await platform.event()
    body = f'{{"id": "{event}", "event": "{event}", "data": {NUMBERS}}}'
    await platform.http.post("/v1/occurrences", content=body, headers={"content-type": "application/json"})

    shown = await platform.http.get(f"/v1/occurrences/{event}")

    assert f'"data":{NUMBERS}' in shown.text
    assert shown.headers["content-type"] == "application/json"
    assert shown.json()["unmatched"]


async def test_a_preview_shows_the_digits(platform: PlatformProcess) -> None:
    event = await platform.event(template="{data}")
    answer = await platform.http.post(
        f"/v1/events/{event}/preview",
        content=f'{{"data": {NUMBERS}}}',
        headers={"content-type": "application/json"},
    )

    assert answer.json()["body"] == NUMBERS


async def test_one_id_is_compared_by_the_value_of_numbers(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.url(path))
    answers = [
        (await publish_text(platform, event, data, f"numbers-{event}")).status_code
        for data in (
            '{"a": 10.0, "b": 0.123456789012345678}',
            '{"a": 10, "b": 0.123456789012345678}',
            '{"b": 0.1234567890123456780, "a": 1e1}',
            '{"a": 10.0, "b": 0.123456789012345679}',
            '{"a": 10.0, "b": 0.12345678901234568}',
            '{"a": "10.0", "b": 0.123456789012345678}',
        )
    ]
    [request] = await receiver.wait_for(path, 1)

    assert answers == [202, 202, 202, 409, 409, 409]
    assert json.loads(request.body, parse_float=str)["data"] == {"a": "10.0", "b": "0.123456789012345678"}


async def test_a_body_full_of_numbers_that_python_writes_longer_is_delivered(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """250 KB of `1e15`, which Temporal stores as a megabyte of floats, beside their digits."""
    event = await platform.event(template="{data}")
    await platform.webhook(event, receiver.url(path))
    data = "[" + ",".join(["1e15"] * 50_000) + "]"
    assert (await publish_text(platform, event, data)).status_code == 202
    [request] = await receiver.wait_for(path, 1)

    assert request.body.decode() == data


@pytest.mark.parametrize("number", ["1e999999", "-1e400", "9" * 10_000, "0." + "9" * 10_000])
async def test_a_number_that_is_too_large_or_too_long_is_refused(platform: PlatformProcess, number: str) -> None:
    answer = await publish_text(platform, await platform.event(), f'{{"a": [{number}]}}')

    assert answer.status_code == 422
    assert "999999" not in answer.text


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"id": "with.dot"}, "/id"),
        ({"id": "with~tilde"}, "/id"),
        ({"id": "x" * 129}, "/id"),
        ({"id": ""}, "/id"),
        ({"id": "new\nline"}, "/id"),
        ({"client_identifier": "x" * 256}, "/client_identifier"),
        ({"client_identifier": ""}, "/client_identifier"),
        ({"client_identifier": "a\u0000b"}, "/client_identifier"),
        ({"client_identifier": "'acme'"}, "/client_identifier"),
        ({"client_identifier": "acme'"}, "/client_identifier"),
        ({"client_identifier": "'"}, "/client_identifier"),
        ({"client_identifier": 'a"b'}, "/client_identifier"),
        ({"client_identifier": "DOMAIN\\user"}, "/client_identifier"),
        ({"owner_id": ""}, "/owner_id"),
        ({"owner_id": 7}, "/owner_id"),
        ({"user_id": "x" * 256}, "/user_id"),
        ({"user_id": "a\nb"}, "/user_id"),
        ({"bulk": "yes"}, "/bulk"),
        ({"bulk": None}, "/bulk"),
        ({"occurred_at": "2026-01-02T03:04:05"}, "/occurred_at"),
        ({"occurred_at": "yesterday"}, "/occurred_at"),
        ({"occurred_at": 100000000000}, "/occurred_at"),
        ({"occurred_at": "1700000000"}, "/occurred_at"),
        ({"occurred_at": "20260102"}, "/occurred_at"),
        ({"occurred_at": "2026-01-02"}, "/occurred_at"),
        ({"occurred_at": "2026-01-02T03:04:61Z"}, "/occurred_at"),
        ({"occurred_at": True}, "/occurred_at"),
        ({"occurred_at": "9999-12-31T23:59:59-14:00"}, "/occurred_at"),
        ({"event": "NoSuchEvent"}, "/event"),
        ({"priority": 1}, "/priority"),
    ],
)
async def test_a_bad_field_is_refused_and_named(
    platform: PlatformProcess, fields: dict[str, object], pointer: str
) -> None:
    body = {"event": await platform.event(), "data": {}, **fields}
    problem = await platform.post("/v1/occurrences", body, expect=422)

    assert [error["pointer"] for error in problem["errors"]] == [pointer]


async def test_an_occurrence_of_an_inactive_event_is_recorded_and_not_sent(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """A producer must not fail because somebody switched an event off."""
    event = await platform.event(schema={"type": "object"})
    await platform.webhook(event, receiver.url(path))
    await platform.call("PATCH", f"/v1/events/{event}", {"active": False})
    published = await platform.publish(event)
    bad = await platform.post("/v1/occurrences", {"event": event, "data": 1}, expect=422)
    found = await platform.get(f"/v1/occurrences/{published['id']}")
    await platform.call("PATCH", f"/v1/events/{event}", {"active": True})
    await platform.publish(event, id=published["id"])
    [request] = await receiver.wait_for(path, 1)

    assert (published["deliveries"], published["unmatched"]) == ([], "the event is inactive")
    assert (found["deliveries"], found["unmatched"]) == ([], "the event is inactive")
    assert [error["pointer"] for error in bad["errors"]] == ["/data"]
    assert request.headers["webhook-id"].startswith(published["id"])


async def test_data_is_required(platform: PlatformProcess) -> None:
    problem = await platform.post("/v1/occurrences", {"event": await platform.event()}, expect=422)

    assert [error["pointer"] for error in problem["errors"]] == ["/data"]


async def test_the_answer_says_why_nobody_is_told(platform: PlatformProcess) -> None:
    """Each reason once, with how many webhooks it kept out."""
    event = await platform.event()
    body = {"url": "https://api.example.com/hook", "event": event}
    for fields in (
        {"allowedClientIdentifiers": [], "active": False},
        {"allowedClientIdentifiers": ["c-1"]},
        {"allowedClientIdentifiers": ["c-2"]},
        {"allowedClientIdentifiers": [], "filter": {"data": {"total": {"$gte": 100}}}},
    ):
        await platform.post("/v1/webhooks", {**body, **fields}, expect=201)
    published = await platform.publish(event, {"total": 5})
    bulk = await platform.publish(event, {"total": 500}, bulk=True)

    assert published["deliveries"] == bulk["deliveries"] == []
    assert published["unmatched"].split("; ") == [
        "the webhook is inactive (1)",
        "the client is not among allowedClientIdentifiers (2)",
        "the filter does not match (1)",
    ]
    assert bulk["unmatched"] == "the webhook is inactive (1); the webhook takes no bulk occurrences (3)"


async def test_nothing_is_unmatched_that_somebody_wants(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.url(path))
    await platform.webhook(event, receiver.url(path), active=False)
    published = await platform.publish(event)

    assert len(published["deliveries"]) == 1
    assert published["unmatched"] is None


@pytest.mark.parametrize(("fields", "told"), [({}, 0), ({"owner_id": "o-1"}, 1), ({"user_id": "u-1"}, 1)])
async def test_an_event_may_require_an_owner(
    platform: PlatformProcess, receiver: Receiver, path: str, fields: dict[str, str], told: int
) -> None:
    event = await platform.event(owner_required=True)
    await platform.webhook(event, receiver.url(path))
    published = await platform.publish(event, **fields)

    assert len(published["deliveries"]) == told
    assert published["unmatched"] == (None if told else "the event requires an owner_id or a user_id")


async def listed(platform: PlatformProcess, expected: list[str], **query: Any) -> list[Json]:
    """The list once it shows exactly these occurrences in this order: visibility follows a moment later."""
    page: Json = {}

    async def shown() -> bool:
        nonlocal page
        page = await platform.get("/v1/occurrences", **query)
        return [item["id"] for item in page["items"]] == expected

    await until(shown, timeout=15, what=f"{query}: {expected}", shown=lambda: str(page))
    items: list[Json] = page["items"]
    return items


async def test_what_was_published_can_be_found(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """With every delivery that it has, or with the reason why it has none."""
    event = await platform.event()
    unmatched = await platform.publish(event, {"n": 0}, client_identifier="c-9")
    webhooks = [await platform.webhook(event, receiver.url(f"{path}/{n}")) for n in range(2)]
    matched = await platform.publish(event, {"n": 1}, owner_id="o-1", occurred_at="2026-01-02T03:04:05Z")
    [later, earlier] = await listed(platform, [matched["id"], unmatched["id"]], event=event)

    async def complete() -> bool:
        return len((await platform.get(f"/v1/occurrences/{matched['id']}"))["deliveries"]) == 2

    await until(complete, timeout=15, what="both deliveries")
    detail = await platform.get(f"/v1/occurrences/{matched['id']}")
    [later, earlier] = await listed(platform, [matched["id"], unmatched["id"]], event=event)
    await listed(platform, [unmatched["id"]], event=event, matched=False)
    await listed(platform, [matched["id"]], event=event, matched=True)
    await listed(platform, [unmatched["id"]], event=event, client_identifier="c-9")
    await listed(platform, [matched["id"]], event=event, since=later["created_at"])
    await listed(platform, [unmatched["id"]], event=event, until=later["created_at"])

    assert detail.pop("data") == {"n": 1}
    assert detail == later
    by_webhook = {item["webhook_id"]: item["id"] for item in later["deliveries"]}
    assert by_webhook == {webhook["id"]: f"{matched['id']}~{webhook['id']}" for webhook in webhooks}
    assert (later["owner_id"], later["occurred_at"], later["unmatched"]) == ("o-1", "2026-01-02T03:04:05Z", None)
    assert (earlier["deliveries"], earlier["unmatched"]) == ([], "no webhook is subscribed")
    assert (await platform.get(f"/v1/occurrences/{unmatched['id']}"))["data"] == {"n": 0}


async def test_pages_hold_every_occurrence_once(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """Also if the deliveries of an occurrence lie on different pages of rows."""
    event = await platform.event()
    for n in range(3):
        await platform.webhook(event, receiver.url(f"{path}/{n}"))
    ids = [(await platform.publish(event, {"n": n}))["id"] for n in range(5)]
    ids.reverse()
    await receiver.wait_for(f"{path}/0", 5)
    await listed(platform, ids, event=event)
    seen: list[str] = []
    query: dict[str, Any] = {"event": event, "limit": 2}
    while "cursor" not in query or query["cursor"]:
        page = await platform.get("/v1/occurrences", **query)
        assert len(page["items"]) <= 2
        seen += [item["id"] for item in page["items"]]
        query["cursor"] = page["next_cursor"]

    assert seen == ids


async def test_an_occurrence_that_was_sent_again_is_still_found(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """Two of its deliveries have a second run each. A replay to a new webhook finds it, too."""
    event = await platform.event()
    for n in range(2):
        await platform.webhook(event, receiver.url(f"{path}/{n}"))
    published = [await platform.publish(event) for _ in range(3)]
    for each in published:
        for delivery in each["deliveries"]:
            await platform.wait(delivery["id"], "delivered")
    for delivery in published[1]["deliveries"]:
        await platform.post(f"/v1/deliveries/{delivery['id']}/resend", {"force": True}, expect=202)
        await platform.wait(delivery["id"], lambda shown: shown["attempt_count"] == 2 and shown["closed_at"])
    new = await platform.webhook(event, receiver.url(f"{path}/new"))

    async def resent_runs_are_listed() -> bool:
        page = await platform.get("/v1/deliveries", event=event)
        return sorted(item["attempt_count"] for item in page["items"]) == [1, 1, 1, 1, 2, 2]

    await until(resent_runs_are_listed, timeout=15, what="both resends")
    listed = await platform.get("/v1/occurrences", event=event)
    alone = await platform.get("/v1/occurrences", id=published[1]["id"])
    since = {"since": "2020-01-01T00:00:00Z", "only_missing": True}
    await platform.post(f"/v1/webhooks/{new['id']}/replay", since, expect=202)
    got = await receiver.wait_for(f"{path}/new", 3)

    ids = [each["id"] for each in published]
    assert [item["id"] for item in listed["items"]] == ids[::-1]
    assert [item["id"] for item in alone["items"]] == [ids[1]]
    assert sorted(request.headers["webhook-id"].partition("~")[0] for request in got) == sorted(ids)
