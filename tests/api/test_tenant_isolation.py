"""No tenant sees or changes what belongs to another one.

Every call of the OpenAPI document is made by tenant B, which may do everything, with every id of tenant A: in the path,
in the query, in the body and as a cursor. It must be answered as if the id did not exist, and nothing of A may change.
A new call, or a new parameter, fails until it is named here."""

import contextlib
import functools
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.openapi_document import openapi_document
from tests.support.tenants import new_tenant
from webhooks.testing.platform_process import Json, PlatformProcess, until
from webhooks.testing.receiver import Receiver


@functools.cache
def routes() -> dict[str, Json]:
    """Return each call, such as `GET /v1/events`, with its operation."""
    return {
        f"{method.upper()} {path}": operation
        for path, operations in openapi_document()["paths"].items()
        if path.startswith("/v1/")
        for method, operation in operations.items()
    }


def refused() -> set[str]:
    """Return the calls that only the installation's administrator may make."""
    return {route for route in routes() if route.split("/")[2].startswith("tenants")}


OPEN = {"/health/live", "/health/ready", "/codec/decode", "/.well-known/jwks.json"}
"""Other paths. `/codec/decode` has a test of its own, tests/api/test_codec_server.py."""
COUNTED = {
    "GET /v1/statistics",
    "GET /v1/statistics/awaiting-resend",
    "GET /v1/webhooks/health",
    "GET /v1/webhooks/{id}/health",
}
"""They answer with figures that change with time."""
QUERIED = {"GET /v1/webhooks/names": ("webhook_id",)}
"""Query parameters that a call must have."""
NEUTRAL = {"limit", "active", "status", "outcome", "since", "until", "matched", "action", "format", "verdict", "window"}
"""Query parameters that name nothing of a tenant."""
WITHOUT_REFERENCE = {
    "POST /v1/tokens",
    "POST /v1/events",
    "POST /v1/events/import",
    "POST /v1/roles",
    "POST /v1/filters/match",
}
"""Calls with a body in which no member names anything that exists."""
COUNTS = {"POST /v1/deliveries/resend", "POST /v1/deliveries/cancel"}
"""Calls with a filter, as a list has: one that names what is another tenant's finds nothing."""
MINIMAL = {"POST /v1/webhooks/{id}/replay": {"since": "2026-01-01T00:00:00Z", "dry_run": True}}
"""Bodies of calls that take no empty one."""
CREATES = {"PUT /v1/events/{key}"}
"""Creates what the path names if the caller's tenant does not have it."""


@dataclass
class Owned:
    """What a tenant owns. `event`, `occurrence`, `client` and `role` are names that only this one has; those in SHARED
    both have."""

    platform: PlatformProcess
    canary: str
    event: str = ""
    webhook: str = ""
    subscription: str = ""
    key: str = ""
    occurrence: str = ""
    delivery: str = ""
    job: str = ""
    client: str = ""
    role: str = ""
    source: str = ""
    received: str = ""
    url: str = ""
    actor: str = ""

    def ids(self) -> set[str]:
        """Return what must not be in an answer to another tenant."""
        return {
            self.canary,
            self.event,
            self.webhook,
            self.subscription,
            self.key,
            self.occurrence,
            self.client,
            self.source,
            self.job,
        }

    def in_path(self, path: str) -> str:
        """Return the path with the ids of this tenant."""
        return re.sub(r"\{\w+\}", lambda _: self.by_resource()[path.split("/")[2]], path)

    def by_resource(self) -> dict[str, str]:
        return {
            "webhooks": self.webhook,
            "subscriptions": self.subscription,
            "api-keys": self.key,
            "occurrences": self.occurrence,
            "deliveries": self.delivery,
            "jobs": self.job,
            "events": self.event,
            "roles": self.role,
            "sources": self.source,
            "received": self.received,
        }

    def in_query(self) -> dict[str, str]:
        """Return a value for each query parameter that names something."""
        return {
            "webhook_id": self.webhook,
            "event": self.event,
            "occurrence_id": self.occurrence,
            "id": self.occurrence,
            "search": self.event,
            "client_identifier": self.client,
            "url": self.url,
            "actor": self.actor,
            "resource": self.webhook,
            "source": self.source,
        }


SHARED = {"event": "Shared-event", "occurrence": "shared-occurrence", "client": "shared-client", "role": "shared-role"}


async def furnish(platform: PlatformProcess, receiver: Receiver) -> Owned:
    """Give a tenant one of everything, by names of its own and by names that the other one has as well."""
    mark = uuid4().hex[:8]
    [first_key] = (await platform.get("/v1/api-keys"))["items"]
    owned = Owned(platform, f"canary-{mark}", url=receiver.url(f"/canary-{mark}"), actor=f"key:{first_key['id']}")
    for own, names in ((False, SHARED), (True, {name: f"{value}-{mark}" for name, value in SHARED.items()})):
        await platform.event()
        event = await platform.event(key=names["event"], description=owned.canary)
        webhook = await platform.webhook(
            event, owned.url, allowedClientIdentifiers=[names["client"]], description=owned.canary
        )
        await platform.post(
            "/v1/roles", {"name": names["role"], "description": owned.canary, "permissions": ["event:list"]}, expect=201
        )
        key = await platform.post("/v1/api-keys", {"name": owned.canary, "role": names["role"]}, expect=201)
        published = await platform.publish(
            event, {"text": owned.canary}, id=names["occurrence"], client_identifier=names["client"]
        )
        if own:
            owned.event, owned.client, owned.role = event, names["client"], names["role"]
            source = await platform.post(
                "/v1/sources", {"name": owned.canary, "event": event, "verification": {"type": "none"}}, expect=201
            )
            owned.source = source["id"]
            sent = await platform.http.post(source["url"], json={"text": owned.canary}, headers={"authorization": ""})
            assert sent.status_code == 200
            owned.webhook, owned.key, owned.occurrence = webhook["id"], key["id"], names["occurrence"]
            owned.delivery = await platform.delivery(published)
            [subscription] = (await platform.get("/v1/subscriptions", webhook_id=webhook["id"]))["items"]
            owned.subscription = subscription["id"]
        await platform.wait(await platform.delivery(published), "delivered")

    async def listed() -> bool:
        return len((await platform.get("/v1/occurrences"))["items"]) == 3

    await until(listed, timeout=20, what="the occurrences in the list")
    [received] = (await platform.get("/v1/received"))["items"]
    owned.received = received["id"]
    chosen = {"webhook_id": [owned.webhook], "client_identifier": [owned.client], "occurrence_id": [owned.occurrence]}
    owned.job = (await platform.post("/v1/deliveries/resend", {"filter": chosen}, expect=202))["job"]["id"]

    async def done() -> bool:
        return [job["state"] for job in (await platform.get("/v1/jobs"))["items"]] == ["done"]

    await until(done, timeout=20, what="the end of the job in the list")
    return owned


@pytest.fixture
async def both(platform: PlatformProcess, receiver: Receiver) -> AsyncIterator[tuple[Owned, Owned]]:
    async with contextlib.AsyncExitStack() as stack:
        _, a = await stack.enter_async_context(new_tenant(platform))
        _, b = await stack.enter_async_context(new_tenant(platform))
        yield await furnish(a, receiver), await furnish(b, receiver)


async def everything(owner: Owned) -> str:
    """Return all that a tenant has, as its administrator sees it."""
    seen: dict[str, Any] = {}
    for route in routes().keys() - refused() - COUNTED:
        method, path = route.split(" ")
        if method == "GET":
            query = {name: owner.in_query()[name] for name in QUERIED.get(route, ())}
            answer = await owner.platform.http.get(owner.in_path(path), params=query)
            assert answer.status_code == 200, route
            seen[path] = answer.json()
    for path, name in (("events", "event"), ("occurrences", "occurrence"), ("roles", "role")):
        seen[f"shared {name}"] = await owner.platform.get(f"/v1/{path}/{SHARED[name]}")
    for item in [*seen["/v1/api-keys"]["items"], seen["/v1/api-keys/{id}"]]:
        del item["last_used_at"]
    return json.dumps(seen, sort_keys=True)


def parameters(route: str) -> Iterator[str]:
    for parameter in routes()[route].get("parameters", ()):
        if parameter["in"] == "query":
            yield parameter["name"]


def bodies(owned: Owned, caller: Owned) -> dict[str, list[Json]]:
    """Return, for each call with a body that names something, bodies that name what is owned. The path is the
    caller's."""
    policy = {"url": caller.url, "allowedClientIdentifiers": []}
    return {
        "POST /v1/webhooks": [{**policy, "event": owned.event}, {**policy, "events": [owned.event]}],
        "PATCH /v1/webhooks/{id}": [{"event": owned.event}, {"events": [caller.event, owned.event]}],
        "POST /v1/webhooks/{id}/test": [{"event": owned.event}],
        "POST /v1/webhooks/{id}/rotate-secret": [],
        "POST /v1/subscriptions": [
            {"event": SHARED["event"], "webhook_id": owned.webhook},
            {"event": owned.event, "webhook_id": caller.webhook},
        ],
        "PATCH /v1/subscriptions/{id}": [{"event": owned.event}, {"webhook_id": owned.webhook}],
        "POST /v1/occurrences": [{"event": owned.event, "data": {}}],
        "POST /v1/api-keys": [{"name": "n", "role": owned.role}],
        "PUT /v1/events/{key}": [],
        "PATCH /v1/events/{key}": [],
        "POST /v1/events/{key}/preview": [],
        "POST /v1/events/preview": [],
        "PATCH /v1/roles/{name}": [],
        "POST /v1/deliveries/{id}/resend": [],
        "POST /v1/sources": [
            {"name": "n", "event": owned.event, "verification": {"type": "none"}},
            {
                "name": "n",
                "event": caller.event,
                "events_by_type": {"push": owned.event},
                "verification": {"type": "none"},
            },
        ],
        "PATCH /v1/sources/{id}": [{"event": owned.event}],
        "POST /v1/sources/{id}/rotate-secret": [],
        "POST /v1/webhooks/{id}/replay": [],
        **{
            route: [
                {"filter": {name: [value]}, "dry_run": True}
                for name, value in owned.in_query().items()
                if name in ("webhook_id", "event", "occurrence_id", "client_identifier")
            ]
            for route in COUNTS
        },
    }


FIGURES = ("delivered", "failed", "waiting")
NOTHING = Owned(
    None,  # type: ignore[arg-type]
    "none",
    **dict.fromkeys(
        ("event", "subscription", "key", "occurrence", "client", "role", "url", "actor", "received"), "none"
    ),
    webhook=str(uuid4()),
    source=str(uuid4()),
    job=str(uuid4()),
    delivery=f"none~{uuid4()}",
)
"""Ids that no tenant has."""


async def call(caller: Owned, route: str, path: str, body: object = None, **query: str) -> httpx.Response:
    method = route.split(" ", maxsplit=1)[0]
    if "requestBody" in routes()[route] and body is None:
        body = MINIMAL.get(route, {})
    headers = {"content-type": "application/merge-patch+json"} if method == "PATCH" else {}
    content = None if body is None else json.dumps(body)
    headers = headers or ({"content-type": "application/json"} if content else {})
    return await caller.platform.http.request(method, path, content=content, headers=headers, params=query)


async def test_no_call_reaches_another_tenant(both: tuple[Owned, Owned]) -> None:
    a, b = both
    before = await everything(a)
    wrong = []
    for route in sorted(routes()):
        path = route.split(" ")[1]
        checks = [check async for check in _calls(a, b, route, path)]
        for what, answer, right in checks:
            leaked = [id for id in a.ids() if id in answer.text]
            if not right or leaked:
                wrong.append(f"{route}, {what}: {answer.status_code} {answer.text[:200]} {leaked}")

    assert not wrong, "\n".join(wrong)
    assert await everything(a) == before


async def _calls(a: Owned, b: Owned, route: str, path: str) -> AsyncIterator[tuple[str, httpx.Response, bool]]:
    """Make the calls of a route. Yield what was tried, the answer, and whether its status is right."""
    if route in refused():
        answer = await call(b, route, path.replace("{id}", "default"))
        yield "tenants", answer, answer.status_code == 403
        return
    if "{" in path and route not in CREATES:
        answer, unknown = await call(b, route, a.in_path(path)), await call(b, route, NOTHING.in_path(path))
        yield "path", answer, answer.status_code == 404 and answer.json() == unknown.json()
    for name in parameters(route):
        if name == "cursor":
            first = await call(a, route, a.in_path(path), limit="1")
            if cursor := first.json()["next_cursor"]:
                answer = await call(b, route, b.in_path(path), cursor=cursor)
                yield "cursor", answer, answer.status_code == 200
        elif name not in NEUTRAL:
            value = a.in_query()[name]
            if route == "GET /v1/statistics":
                own, answer = await call(a, route, path, **{name: value}), await call(b, route, path, **{name: value})
                assert sum(map(own.json().get, FIGURES)) > 0, f"{route}: {name} finds nothing of A"
                yield name, answer, answer.status_code == 200 and not sum(map(answer.json().get, FIGURES))
                continue
            assert (await call(a, route, path, **{name: value})).json()["items"], f"{route}: {name} finds nothing of A"
            answer = await call(b, route, path, **{name: value})
            yield name, answer, answer.status_code == 200 and answer.json()["items"] == []
    if "requestBody" in routes()[route] and route not in WITHOUT_REFERENCE:
        for body, with_nothing in zip(bodies(a, b)[route], bodies(NOTHING, b)[route], strict=True):
            answer = await call(b, route, b.in_path(path), body)
            unknown = await call(b, route, b.in_path(path), with_nothing)
            right = answer.status_code == 422
            if route in COUNTS:
                right = answer.status_code == 202 and answer.json()["dry_run"]["count"] == 0
            yield f"body {[*body]}", answer, right and answer.json() == unknown.json()


async def test_equal_names_are_each_tenant_s_own(both: tuple[Owned, Owned], receiver: Receiver) -> None:
    a, b = both
    before = await everything(a)
    event, occurrence = SHARED["event"], SHARED["occurrence"]
    [delivery] = (deliveries := await b.platform.get("/v1/deliveries", occurrence_id=occurrence))["items"]
    webhooks = await b.platform.get("/v1/webhooks", event=event, client_identifier=SHARED["client"])
    [webhook] = webhooks["items"]
    found = [
        deliveries,
        webhooks,
        await b.platform.get(f"/v1/events/{event}"),
        await b.platform.get(f"/v1/roles/{SHARED['role']}"),
        await b.platform.get(f"/v1/occurrences/{occurrence}"),
        subscriptions := await b.platform.get("/v1/subscriptions", event=event),
    ]
    await b.platform.post(f"/v1/deliveries/{delivery['id']}/resend", {"force": True}, expect=202)
    await b.platform.publish(SHARED["event"], {"text": b.canary}, id="another", client_identifier=SHARED["client"])
    await receiver.wait_for(f"/{b.canary}", 4)
    await b.platform.call("DELETE", f"/v1/webhooks/{webhook['id']}", expect=204)
    await b.platform.call("DELETE", f"/v1/events/{SHARED['event']}", expect=204)
    got = receiver.got(f"/{a.canary}")

    assert a.canary not in json.dumps(found)
    assert json.dumps(found).count(b.canary) >= 4
    assert len(subscriptions["items"]) == 1
    assert all(b.canary.encode() not in request.body for request in got)
    assert len(got) == 2
    assert await everything(a) == before


def test_each_call_and_each_parameter_is_tried() -> None:
    beside = {path for path in openapi_document()["paths"] if not path.startswith("/v1/")}
    with_body = {route for route, operation in routes().items() if "requestBody" in operation} - refused()
    known = {*NEUTRAL, "cursor", *NOTHING.in_query()}

    assert beside == OPEN
    assert with_body == WITHOUT_REFERENCE | bodies(NOTHING, NOTHING).keys()
    assert {name for route in routes().keys() - refused() for name in parameters(route)} <= known
    assert {route.split("/")[2] for route in routes() if "{" in route} - {"tenants"} == NOTHING.by_resource().keys()
