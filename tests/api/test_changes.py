"""Changing what exists: ETag with If-Match against lost updates, and JSON Merge Patch."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest

from webhooks.testing.platform_process import Json, PlatformProcess

URL = "https://api.example.com/webhooks/orders"


async def event(platform: PlatformProcess) -> httpx.Response:
    key = await platform.event()
    return await platform.http.put(f"/v1/events/{key}", json={"template": {"a": "{b}"}})


async def webhook(platform: PlatformProcess) -> httpx.Response:
    return await platform.http.post("/v1/webhooks", json={"url": URL, "events": [await platform.event()]})


async def bare(platform: PlatformProcess) -> httpx.Response:
    """A webhook that nothing is subscribed to."""
    return await platform.http.post("/v1/webhooks", json={"url": URL})


async def subscription(platform: PlatformProcess) -> httpx.Response:
    destination = await platform.post("/v1/webhooks", {"url": URL}, expect=201)
    body = {"event": await platform.event(), "webhook_id": destination["id"]}
    return await platform.http.post("/v1/subscriptions", json=body)


Make = Callable[[PlatformProcess], Awaitable[httpx.Response]]
Change = tuple[Make, Json]
CHANGES: list[Change] = [
    (event, {"description": "new"}),
    (event, {"template": {"a": "{c}"}}),
    (event, {"sample": {"b": 1}}),
    (webhook, {"name": "new"}),
    (webhook, {"url": f"{URL}/new"}),
    (webhook, {"events": []}),
    (webhook, {"filter": {"data": {"n": 1}}}),
    (subscription, {"active": False}),
    (subscription, {"filter": {"data": {"n": 1}}}),
]
RESOURCES = [event, webhook, subscription]


def path_of(answer: httpx.Response) -> str:
    body = answer.json()
    if "url" in body:
        return f"/v1/webhooks/{body['id']}"
    return f"/v1/subscriptions/{body['id']}" if "webhook_id" in body else f"/v1/events/{body['key']}"


@pytest.mark.parametrize(("make", "patch"), CHANGES)
async def test_every_answer_names_the_version_it_shows(platform: PlatformProcess, make: Make, patch: Json) -> None:
    made = await make(platform)
    path = path_of(made)
    first = await platform.http.get(path)
    again = await platform.http.get(path)
    changed = await platform.http.patch(path, json=patch)
    second = await platform.http.get(path)

    assert made.headers["etag"] == first.headers["etag"] == again.headers["etag"]
    assert first.headers["etag"].startswith('"')
    assert changed.headers["etag"] == second.headers["etag"] != first.headers["etag"]


@pytest.mark.parametrize(("make", "patch"), CHANGES)
async def test_a_stale_change_is_refused_and_changes_nothing(
    platform: PlatformProcess, make: Make, patch: Json
) -> None:
    made = await make(platform)
    path, stale = path_of(made), made.headers["etag"]
    current = await platform.http.patch(path, json=patch, headers={"If-Match": stale})
    lost = await platform.http.patch(path, json={"active": False}, headers={"If-Match": stale})
    found = await platform.http.get(path)

    assert current.status_code == 200
    assert lost.status_code == 412
    assert lost.headers["content-type"] == "application/problem+json"
    assert (found.json(), found.headers["etag"]) == (current.json(), current.headers["etag"])


@pytest.mark.parametrize("make", [*RESOURCES, bare])
async def test_whoever_sends_back_all_that_he_read_changes_nothing_else(platform: PlatformProcess, make: Make) -> None:
    path = path_of(await make(platform))
    read = await platform.get(path)
    same = await platform.call("PATCH", path, read)
    changed = await platform.call("PATCH", path, {**same, "active": False})

    assert same == {**read, "updated_at": same["updated_at"]}
    assert changed == {**read, "active": False, "updated_at": changed["updated_at"]}


async def test_what_subscriptions_do_not_share_may_be_sent_back(platform: PlatformProcess) -> None:
    """null is what GET shows for it, and changes nothing."""
    events = [await platform.event() for _ in range(2)]
    made = await platform.post("/v1/webhooks", {"url": URL, "events": events}, expect=201)
    path = f"/v1/webhooks/{made['id']}"
    [one, _] = (await platform.get("/v1/subscriptions", webhook_id=made["id"]))["items"]
    own = {"filter": {"data": {"n": None}}, "allowedClientIdentifiers": ["c-1"]}
    await platform.call("PATCH", f"/v1/subscriptions/{one['id']}", own)
    read = await platform.get(path)
    same = await platform.call("PATCH", path, read)
    kept = await platform.get(f"/v1/subscriptions/{one['id']}")

    assert (read["event"], read["filter"], read["allowedClientIdentifiers"]) == (None, None, None)
    assert same == {**read, "updated_at": same["updated_at"]}
    assert {name: kept[name] for name in own} == own


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (event, "key"),
        (event, "version"),
        (event, "created_at"),
        (event, "colour"),
        (webhook, "id"),
        (webhook, "public_key"),
        (webhook, "deactivated_reason"),
        (webhook, "failing_since"),
        (event, "operational"),
        (webhook, "signing_secret"),
        (subscription, "webhook_id"),
        (subscription, "event"),
        (subscription, "updated_at"),
    ],
)
async def test_what_is_only_read_cannot_be_changed(platform: PlatformProcess, make: Make, field: str) -> None:
    path = path_of(await make(platform))
    read = await platform.get(path)
    problem = await platform.call("PATCH", path, {**read, field: "another"}, expect=422)

    assert problem["errors"] == [{"pointer": f"/{field}", "detail": "there is no such field, or it cannot be changed"}]
    assert await platform.get(path) == read


@pytest.mark.parametrize("make", [webhook, subscription])
async def test_no_clients_is_a_list_too(platform: PlatformProcess, make: Make) -> None:
    path = path_of(await make(platform))
    problem = await platform.call("PATCH", path, {"allowedClientIdentifiers": None}, expect=422)

    assert problem["errors"] == [
        {"pointer": "/allowedClientIdentifiers", "detail": "must be a list; [] means all clients"}
    ]


@pytest.mark.parametrize("make", RESOURCES)
@pytest.mark.parametrize(
    ("if_match", "status"),
    [
        (None, 200),
        ("*", 200),
        ("{etag}", 200),
        ('"other", {etag}', 200),
        ('{etag},"other"', 200),
        ('"other"', 412),
        ('"other", "another"', 412),
        ("W/{etag}", 412),
        ("", 412),
    ],
)
async def test_if_match(platform: PlatformProcess, make: Make, if_match: str | None, status: int) -> None:
    made = await make(platform)
    headers = {} if if_match is None else {"If-Match": if_match.replace("{etag}", made.headers["etag"])}
    answer = await platform.http.patch(path_of(made), json={"active": False}, headers=headers)

    assert answer.status_code == status, answer.text
    assert (await platform.get(path_of(made)))["active"] is (status != 200)


@pytest.mark.parametrize("make", RESOURCES)
async def test_of_many_at_once_one_wins(platform: PlatformProcess, make: Make) -> None:
    made = await make(platform)
    headers = {"If-Match": made.headers["etag"]}
    changes = (platform.http.patch(path_of(made), json={"active": False}, headers=headers) for _ in range(5))
    answers = await asyncio.gather(*changes)

    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412, 412]


@pytest.mark.parametrize("make", RESOURCES)
async def test_a_stale_delete_is_refused(platform: PlatformProcess, make: Make) -> None:
    made = await make(platform)
    path, stale = path_of(made), made.headers["etag"]
    await platform.call("PATCH", path, {"active": False})
    refused = await platform.http.delete(path, headers={"If-Match": stale})
    current = (await platform.http.get(path)).headers["etag"]
    deleted = await platform.http.delete(path, headers={"If-Match": current})

    assert refused.status_code == 412
    assert deleted.status_code == 204
    assert (await platform.http.delete(path, headers={"If-Match": "*"})).status_code == 404


async def test_put_with_if_match(platform: PlatformProcess) -> None:
    made = await event(platform)
    path, stale = path_of(made), made.headers["etag"]
    replaced = await platform.http.put(path, json={"description": "one"}, headers={"If-Match": stale})
    lost = await platform.http.put(path, json={"description": "two"}, headers={"If-Match": stale})
    shown = await platform.http.get(path)

    assert (replaced.status_code, lost.status_code) == (200, 412)
    assert shown.json()["description"] == "one"
    assert shown.headers["etag"] == replaced.headers["etag"]


@pytest.mark.parametrize("if_match", ["*", '"any"'])
async def test_if_match_never_creates(platform: PlatformProcess, path: str, if_match: str) -> None:
    answer = await platform.http.put(f"/v1/events{path}", json={}, headers={"If-Match": if_match})

    assert answer.status_code == 412
    await platform.get(f"/v1/events{path}", expect=404)


async def test_a_put_that_creates_names_the_version_too(platform: PlatformProcess, path: str) -> None:
    created = await platform.http.put(f"/v1/events{path}", json={})

    assert created.status_code == 201
    assert created.headers["etag"] == (await platform.http.get(f"/v1/events{path}")).headers["etag"]


async def test_a_stale_rotation_is_refused(platform: PlatformProcess) -> None:
    made = await webhook(platform)
    path, stale = path_of(made), made.headers["etag"]
    first = await platform.http.post(f"{path}/rotate-secret", headers={"If-Match": stale})
    changed = (await platform.http.get(path)).headers["etag"]
    second = await platform.http.post(f"{path}/rotate-secret", headers={"If-Match": stale})
    unchanged = (await platform.http.get(path)).headers["etag"]

    assert (first.status_code, second.status_code) == (200, 412)
    assert "signing_secret" not in second.text
    assert stale != changed == unchanged == first.headers["etag"]


@pytest.mark.parametrize(
    "patch",
    [
        {"headers": {"X-Token": "another-one"}},
        {"authentication": {"value": "another-one"}},
    ],
)
async def test_a_change_of_a_secret_is_a_change(platform: PlatformProcess, patch: Json) -> None:
    """Although it looks the same: what is shown is masked."""
    pair = {"type": "Key Value Pair", "name": "X-Pair", "value": "one"}
    body = {"url": URL, "headers": {"X-Token": "one"}, "authentication": pair}
    made = await platform.http.post("/v1/webhooks", json=body)
    changed = await platform.http.patch(path_of(made), json=patch)
    lost = await platform.http.patch(path_of(made), json=patch, headers={"If-Match": made.headers["etag"]})

    for name in ("headers", "authentication"):
        assert changed.json()[name] == made.json()[name]
    assert changed.headers["etag"] != made.headers["etag"]
    assert lost.status_code == 412


async def test_a_webhook_s_version_shows_its_subscriptions(platform: PlatformProcess) -> None:
    made = await webhook(platform)
    [subscribed] = (await platform.get("/v1/subscriptions", webhook_id=made.json()["id"]))["items"]
    await platform.call("PATCH", f"/v1/subscriptions/{subscribed['id']}", {"allowedClientIdentifiers": ["c-1"]})
    lost = await platform.http.patch(path_of(made), json={"name": "n"}, headers={"If-Match": made.headers["etag"]})

    assert lost.status_code == 412


@pytest.mark.parametrize("make", RESOURCES)
@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/merge-patch+json", 200),
        ("application/merge-patch+json; charset=utf-8", 200),
        ("Application/JSON", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/yaml", 415),
    ],
)
async def test_what_a_patch_may_be_called(
    platform: PlatformProcess, make: Make, content_type: str, status: int
) -> None:
    path = path_of(await make(platform))
    answer = await platform.http.patch(path, content=b'{"active": false}', headers={"content-type": content_type})

    assert answer.status_code == status, answer.text
    assert (await platform.get(path))["active"] is (status != 200)


@pytest.mark.parametrize("make", RESOURCES)
@pytest.mark.parametrize("patch", [b"[]", b"null", b"5", b'"text"', b"{", b""])
async def test_a_patch_is_an_object(platform: PlatformProcess, make: Make, patch: bytes) -> None:
    made = await make(platform)
    headers = {"content-type": "application/merge-patch+json"}
    answer = await platform.http.patch(path_of(made), content=patch, headers=headers)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == ""
    assert (await platform.http.get(path_of(made))).headers["etag"] == made.headers["etag"]


@pytest.mark.parametrize("path", ["/v1/events/{key}", "/v1/webhooks/{id}", "/v1/subscriptions/{id}"])
async def test_the_api_says_what_a_change_takes(platform: PlatformProcess, path: str) -> None:
    operations = (await platform.get("/openapi.json"))["paths"][path]

    assert list(operations["patch"]["requestBody"]["content"]) == ["application/merge-patch+json"]
    for method in {"patch", "put", "delete"} & operations.keys():
        assert "If-Match" in [parameter["name"] for parameter in operations[method]["parameters"]]
        assert "412" in operations[method]["responses"]
