"""Receiving webhooks: what a sender gets, what is stored, who gets it. Senders sign with their vendors' libraries."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.senders import FIELDS, OTHER_SECRET, SENDERS, STANDARD_SECRET, TIMED, github, message, now, standard
from tests.support.tenants import new_tenant
from webhooks.testing.platform_process import Json, PlatformProcess, until
from webhooks.testing.receiver import Receiver

SIGNED = [style for style in SENDERS if style != "none"]
JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}


async def source(platform: PlatformProcess, style: str, event: str, **fields: Any) -> Json:
    secret = {} if style == "none" else {"secret": STANDARD_SECRET}
    body = {"name": style, "event": event, "verification": {"type": style, **FIELDS.get(style, {})}, **secret}
    return await platform.post("/v1/sources", body | fields, expect=201)


async def send(platform: PlatformProcess, source: Json, body: bytes, headers: dict[str, str]) -> httpx.Response:
    """Send as a stranger does: without an API key."""
    async with httpx.AsyncClient(base_url=platform.http.base_url) as stranger:
        return await stranger.post(source["url"], content=body, headers=headers)


async def listed(platform: PlatformProcess, source: Json, number: int, **query: Any) -> list[Json]:
    """Return what was received, once so much is listed."""
    items: list[Json] = []

    async def enough() -> bool:
        nonlocal items
        items = (await platform.get("/v1/received", source=source["id"], **query))["items"]
        return len(items) >= number

    await until(enough, timeout=20, what=f"{number} received", shown=lambda: str(items))
    return items


@pytest.mark.parametrize("style", SENDERS)
async def test_a_webhook_of_each_style_reaches_a_subscriber(
    platform: PlatformProcess, receiver: Receiver, style: str
) -> None:
    event, path = await platform.event(), f"/received-{uuid4().hex}"
    webhook = await platform.webhook(event, receiver.url(path))
    made = await source(platform, style, event)
    body = message(style)
    answer = await send(platform, made, body, SENDERS[style](STANDARD_SECRET, body, now()))
    [request] = await receiver.wait_for(path, 1)
    [item] = await listed(platform, made, 1)
    detail = await platform.get(f"/v1/received/{item['id']}")

    assert (answer.status_code, answer.content) == (200, b"")
    assert json.loads(request.body)["data"] == json.loads(body)
    assert item["verdict"] == ("unverified" if style == "none" else "verified")
    assert item["source_id"] == made["id"]
    assert [one["webhook_id"] for one in item["deliveries"]] == [webhook["id"]]
    assert base64.b64decode(detail["body_base64"]) == body
    assert detail["body"] == body.decode()
    assert detail["data"] == json.loads(body)
    for secret in (*SENDERS[style](STANDARD_SECRET, body, now()).values(), STANDARD_SECRET):
        assert secret == "application/json" or len(secret) < 40 or secret not in json.dumps(detail)


@pytest.mark.parametrize("style", SIGNED)
async def test_a_wrong_proof_is_refused_and_starts_nothing(platform: PlatformProcess, style: str) -> None:
    made = await source(platform, style, await platform.event())
    body = message(style)
    answers = [await send(platform, made, body, SENDERS[style](OTHER_SECRET, body, now()))]
    answers.append(await send(platform, made, body, JSON))
    if style not in ("key_value", "basic"):
        answers.append(await send(platform, made, body + b" ", SENDERS[style](STANDARD_SECRET, body, now())))
    shown = await listed(platform, made, len(answers))

    for answer in answers:
        assert (answer.status_code, answer.json()["detail"]) == (401, "not verified")
    assert [item["verdict"] for item in shown] == ["refused"] * len(answers)
    assert all(item["reason"] for item in shown)


@pytest.mark.parametrize("style", TIMED)
@pytest.mark.parametrize("shift", [-310, 330])
async def test_a_signed_time_that_is_too_far_away_is_refused(platform: PlatformProcess, style: str, shift: int) -> None:
    made = await source(platform, style, await platform.event())
    body = message(style)
    far = await send(platform, made, body, SENDERS[style](STANDARD_SECRET, body, now() + shift))
    near = await send(platform, made, body, SENDERS[style](STANDARD_SECRET, body, now() + shift * 0.8))

    assert far.status_code == 401
    assert near.status_code == 200


@pytest.mark.parametrize("style", SENDERS)
async def test_a_duplicate_gets_200_and_starts_nothing(platform: PlatformProcess, style: str) -> None:
    made = await source(platform, style, await platform.event())
    body = message(style)
    headers = SENDERS[style](STANDARD_SECRET, body, now())
    first = await send(platform, made, body, headers)
    again = await asyncio.gather(*(send(platform, made, body, headers) for _ in range(3)))
    items = await listed(platform, made, 4)
    stored = [item for item in items if item["verdict"] in ("verified", "unverified")]
    others = [item for item in items if item["verdict"] == "duplicate"]

    assert {answer.status_code for answer in (first, *again)} == {200}
    assert len(stored) == 1
    assert [item["occurrence_id"] for item in others] == [stored[0]["id"]] * 3


async def test_a_sender_s_repetition_with_other_bytes_is_the_same_message(platform: PlatformProcess) -> None:
    made = await source(platform, "stripe", await platform.event())
    for pending in (2, 1):
        body = json.dumps({"id": "evt_1", "type": "x", "pending_webhooks": pending}).encode()
        assert (await send(platform, made, body, SENDERS["stripe"](STANDARD_SECRET, body, now()))).status_code == 200

    assert sorted(item["verdict"] for item in await listed(platform, made, 2)) == ["duplicate", "verified"]


async def test_without_a_window_equal_bodies_are_messages_of_their_own(platform: PlatformProcess) -> None:
    made = await source(platform, "none", await platform.event(), duplicate_window=0)
    for _ in range(2):
        assert (await send(platform, made, b"{}", JSON)).status_code == 200

    assert [item["verdict"] for item in await listed(platform, made, 2)] == ["unverified"] * 2


async def test_both_secrets_are_valid_while_they_overlap(platform: PlatformProcess) -> None:
    made = await source(platform, "github", await platform.event())
    rotate = f"/v1/sources/{made['id']}/rotate-secret"
    rotated = await platform.post(rotate, {"secret": OTHER_SECRET, "overlap": 600})
    statuses = []
    for overlap in (True, False):
        if not overlap:
            await platform.post(rotate, {"secret": OTHER_SECRET, "overlap": 0})
        for secret in (STANDARD_SECRET, OTHER_SECRET):
            body = message("github")
            statuses.append((await send(platform, made, body, github(secret, body))).status_code)
    shown = await platform.get(f"/v1/sources/{made['id']}")

    assert statuses == [200, 200, 401, 200]
    assert rotated["secret"] == OTHER_SECRET
    assert rotated["overlaps_until"]
    assert [secret["expires_at"] for secret in shown["secrets"]] == [None]


BODIES: list[tuple[dict[str, str], bytes, Any]] = [
    (FORM, b"a=1&b=2&b=3&c=", {"a": "1", "b": ["2", "3"], "c": ""}),
    (FORM, b"payload=%7B%22n%22%3A1%7D", {"payload": {"n": 1}}),
    (FORM, "a=ü".encode(), {"body": "a=ü"}),
    ({"content-type": "text/plain; charset=utf-8"}, "Grüße".encode(), {"body": "Grüße"}),
    ({"content-type": "application/xml"}, b"<a>\r\n</a>", {"body": "<a>\r\n</a>"}),
    ({"content-type": "application/octet-stream"}, bytes(range(256)), ...),
    (JSON, b"\x1f\x8b\x08\x00", ...),
    (JSON, b'{"a":1,"a":2}', {"body": '{"a":1,"a":2}'}),
    ({"content-type": "application/vnd.api+json"}, b"[1]", [1]),
    (JSON, b" null ", None),
    ({}, b'{"a": 1}', {"a": 1}),
    ({}, b"", {"body": ""}),
]
"""Of each, the data that it becomes; `...`: its base64."""


@pytest.mark.parametrize(("headers", "body", "data"), BODIES, ids=range(len(BODIES)))
async def test_any_body_is_kept_byte_for_byte(
    platform: PlatformProcess, headers: dict[str, str], body: bytes, data: Any
) -> None:
    made = await source(platform, "none", await platform.event())
    answer = await send(platform, made, body, headers)
    [item] = await listed(platform, made, 1)
    detail = await platform.get(f"/v1/received/{item['id']}")

    assert answer.status_code == 200
    assert base64.b64decode(detail["body_base64"]) == body
    assert detail["data"] == ({"body_base64": detail["body_base64"]} if data is ... else data)


async def test_up_to_256_kib_are_taken(platform: PlatformProcess) -> None:
    made = await source(platform, "none", await platform.event())
    largest = b'"' + b"x" * (256 * 1024 - 2) + b'"'

    async def in_parts() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 100_000

    async with httpx.AsyncClient(base_url=platform.http.base_url) as stranger:
        statuses = [
            (await stranger.post(made["url"], content=content, headers=JSON)).status_code
            for content in (largest, largest + b" ", in_parts())
        ]
    shown = await listed(platform, made, 3)

    assert statuses == [200, 413, 413]
    assert sorted(item["verdict"] for item in shown) == ["refused", "refused", "unverified"]


async def test_challenges_are_answered(platform: PlatformProcess) -> None:
    event = await platform.event()
    slack = await source(platform, "slack", event)
    body = json.dumps({"type": "url_verification", "challenge": "3eZbrw1aB", "token": "x"}).encode()
    of_slack = await send(platform, slack, body, SENDERS["slack"](STANDARD_SECRET, body, now()))
    forged = await send(platform, slack, body, SENDERS["slack"](OTHER_SECRET, body, now()))
    meta = await source(platform, "github", event, verify_token="a-verify-token")
    asked = {"hub.mode": "subscribe", "hub.challenge": "1158201444"}
    async with httpx.AsyncClient(base_url=platform.http.base_url) as stranger:
        right = await stranger.get(meta["url"], params={**asked, "hub.verify_token": "a-verify-token"})
        wrong = await stranger.get(meta["url"], params={**asked, "hub.verify_token": "another-token"})
        other = await stranger.get(slack["url"], params={**asked, "hub.verify_token": ""})
        plain = await stranger.get(meta["url"])

    assert (of_slack.status_code, of_slack.text) == (200, "3eZbrw1aB")
    assert forged.status_code == 401
    assert (right.status_code, right.text) == (200, "1158201444")
    assert right.headers["content-type"].startswith("text/plain")
    assert [answer.status_code for answer in (wrong, other, plain)] == [403, 403, 404]
    assert sorted(item["verdict"] for item in await listed(platform, meta, 3)) == ["challenge", "refused", "refused"]


async def test_a_type_of_the_sender_can_have_an_event_of_its_own(platform: PlatformProcess) -> None:
    event, of_pushes = await platform.event(), await platform.event()
    made = await source(platform, "github", event, events_by_type={"push": of_pushes}, client_identifier="c-1")
    for kind in ("push", "issues"):
        body = message("github")
        await send(platform, made, body, github(STANDARD_SECRET, body, event=kind))
    items = await listed(platform, made, 2)
    occurrence = await platform.get(f"/v1/occurrences/{items[0]['id']}")

    assert {(item["sender_type"], item["event"]) for item in items} == {("push", of_pushes), ("issues", event)}
    assert occurrence["client_identifier"] == "c-1"
    assert [item["event"] for item in await listed(platform, made, 1, event=of_pushes)] == [of_pushes]
    await platform.call("DELETE", f"/v1/events/{of_pushes}", expect=409)


async def test_an_unknown_or_inactive_source_is_a_404_that_tells_nothing(platform: PlatformProcess) -> None:
    made = await source(platform, "none", await platform.event(), active=False)
    paths = [made["url"], f"{made['url'][:-4]}0000", "/in/x", "/in/default"]
    answers = [await send(platform, {"url": path}, b"{}", {}) for path in paths]

    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1


async def test_data_that_does_not_fit_the_schema_is_refused_with_the_reason(platform: PlatformProcess) -> None:
    event = await platform.event(schema={"type": "object", "required": ["order"]})
    made = await source(platform, "none", event)
    answer = await send(platform, made, b"{}", JSON)
    [item] = await listed(platform, made, 1)
    shown = await platform.get(f"/v1/received/{item['id']}")

    assert (answer.status_code, answer.json()["detail"]) == (422, "not accepted")
    assert item["verdict"] == "refused"
    assert "order" in item["reason"]
    assert shown["body_base64"] is None


async def test_what_was_received_is_erased_with_its_occurrence(platform: PlatformProcess) -> None:
    made = await source(platform, "none", await platform.event())
    await send(platform, made, b'"canary"', JSON)
    [item] = await listed(platform, made, 1)
    await platform.call("DELETE", f"/v1/occurrences/{item['id']}", expect=204)

    await platform.get(f"/v1/received/{item['id']}", expect=404)


async def test_the_list_has_filters_and_pages(platform: PlatformProcess) -> None:
    made = await source(platform, "standard", await platform.event())
    for n in range(6):
        body = message("standard")
        await send(platform, made, body, standard(OTHER_SECRET if n % 2 else STANDARD_SECRET, body, now()))
    everything = await listed(platform, made, 6)
    paged: list[Json] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await platform.get("/v1/received", source=made["id"], limit=2, cursor=cursor or None)
        paged, cursor = paged + page["items"], page["next_cursor"]
    refused = await listed(platform, made, 3, verdict="refused")
    verified = await listed(platform, made, 3, verdict="verified")
    middle = everything[3]["received_at"]

    assert [item["verdict"] for item in everything] == ["refused", "verified"] * 3
    assert paged == everything
    assert [*refused, *verified] == [*everything[::2], *everything[1::2]]
    assert await listed(platform, made, 0, verdict="unverified") == []
    assert await listed(platform, made, 4, since=middle) == everything[:4]
    assert await listed(platform, made, 2, until=middle) == everything[4:]


async def test_a_suspended_tenant_receives_nothing(platform: PlatformProcess) -> None:
    async with new_tenant(platform) as (id, tenant):
        made = await source(tenant, "none", await tenant.event())
        await platform.call("PATCH", f"/v1/tenants/{id}", {"suspended": True})
        answer = await send(platform, made, b"{}", JSON)
        [item] = await listed(tenant, made, 1)
        await platform.call("PATCH", f"/v1/tenants/{id}", {"suspended": False})
        later = await send(platform, made, b"{}", JSON)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
    assert (item["verdict"], item["reason"]) == ("refused", "the tenant is suspended")
    assert later.status_code == 200


async def test_a_source_is_changed_and_its_secret_is_never_shown(platform: PlatformProcess) -> None:
    event = await platform.event()
    made = await platform.post(
        "/v1/sources", {"name": "a", "event": event, "verification": {"type": "github"}}, expect=201
    )
    path = f"/v1/sources/{made['id']}"
    shown = await platform.get(path)
    again = await platform.call("PATCH", path, {**shown, "name": "b"})
    changed = await platform.call(
        "PATCH", path, {"verification": {"type": "key_value", "name": "key", "in": "query"}, "secret": "eight-or-more"}
    )
    async with httpx.AsyncClient(base_url=platform.http.base_url) as stranger:
        statuses = [
            (await stranger.post(made["url"], params={"key": key})).status_code for key in ("eight-or-more", "other")
        ]
    [stored] = await listed(platform, made, 1, verdict="verified")
    detail = await platform.get(f"/v1/received/{stored['id']}")
    audit = await platform.get("/v1/audit", resource=made["id"])
    for body in (
        {"event": "missing", "verification": {"type": "none"}},
        {"event": event, "verification": {"type": "basic"}},
        {"event": event, "verification": {"type": "other"}},
        {"event": event, "verification": {"type": "standard"}, "secret": "whsec_not base64"},
    ):
        await platform.post("/v1/sources", {"name": "n", **body}, expect=422)
    await platform.call("DELETE", path, expect=204)
    gone = await send(platform, made, b"{}", JSON)

    assert made["secret"].startswith("whsec_")
    assert "secret" not in shown
    assert again == {**shown, "name": "b", "updated_at": again["updated_at"]}
    assert changed["verification"] == {"type": "key_value", "name": "key", "in": "query", "username": ""}
    assert statuses == [200, 401]
    assert detail["query"] == {"key": "********"}
    assert made["secret"] not in json.dumps([shown, again, changed, audit])
    assert "eight-or-more" not in json.dumps([shown, again, changed, audit, detail])
    assert [entry["action"] for entry in audit["items"]] == ["source.edit", "source.edit", "source.add"]
    assert gone.status_code == 404
