"""The event catalogue."""

import json
from typing import Any, cast
from urllib.parse import parse_qsl
from uuid import uuid4

import httpx
import pytest

from webhooks.events.presets import PRESETS, Preset
from webhooks.testing.platform_process import Json, PlatformProcess
from webhooks.testing.receiver import Receiver


def key() -> str:
    return f"Event-{uuid4().hex}"


def pointers(problem: Json) -> list[str]:
    return [error["pointer"] for error in problem["errors"]]


async def import_(platform: PlatformProcess, catalogue: object, content_type: str = "") -> httpx.Response:
    """A catalogue as a file: text as it is, anything else as JSON."""
    content = catalogue if isinstance(catalogue, str | bytes) else json.dumps(catalogue)
    headers = {"content-type": content_type} if content_type else {}
    return await platform.http.post("/v1/events/import", content=content, headers=headers)


async def test_an_event_is_created_read_changed_and_deleted(platform: PlatformProcess) -> None:
    name = key()
    body = {
        "key": name,
        "description": "A shipment order was created",
        "schema": {"type": "object", "required": ["order"]},
        "template": {"order": "{order.id}"},
        "sample": {"order": {"id": 1}},
    }
    created = await platform.post("/v1/events", body, expect=201)
    assert created == {
        **body,
        "entity": None,
        "action": None,
        "active": True,
        "owner_required": False,
        "version": 1,
        "operational": False,
        "created_at": created["created_at"],
        "updated_at": created["updated_at"],
    }
    assert await platform.get(f"/v1/events/{name}") == created
    changes = {"active": False, "schema": None, "description": None}
    changed = await platform.call("PATCH", f"/v1/events/{name}", changes)
    assert changed == {**created, **changes, "description": "", "version": 2, "updated_at": changed["updated_at"]}
    assert changed["updated_at"] > created["updated_at"]
    assert await platform.get(f"/v1/events/{name}") == changed
    await platform.call("DELETE", f"/v1/events/{name}", expect=204)
    await platform.get(f"/v1/events/{name}", expect=404)


async def test_entity_and_action_make_the_key(platform: PlatformProcess) -> None:
    entity = f"UserPackage-{uuid4().hex}"
    created = await platform.post("/v1/events", {"entity": entity, "action": "Update"}, expect=201)

    assert created["key"] == f"{entity}.Update"
    assert (created["entity"], created["action"]) == (entity, "Update")


async def test_a_key_is_taken_once(platform: PlatformProcess) -> None:
    name = await platform.event()
    problem = await platform.post("/v1/events", {"key": name}, expect=409)

    assert problem["errors"][0]["pointer"] == "/key"


async def test_entity_and_action_are_a_key_like_any_other(platform: PlatformProcess) -> None:
    entity = f"UserPackage-{uuid4().hex}"
    await platform.post("/v1/events", {"key": f"{entity}.Update"}, expect=201)

    problem = await platform.post("/v1/events", {"entity": entity, "action": "Update"}, expect=409)
    await platform.post("/v1/events", {"entity": entity, "action": "Delete"}, expect=201)

    assert pointers(problem) == ["/entity"]


@pytest.mark.parametrize("preset", Preset)
async def test_a_preset_is_a_product_s_payload(platform: PlatformProcess, preset: Preset) -> None:
    template, sample = PRESETS[preset].template, cast("Json", PRESETS[preset].sample)
    name = {"action": "Paid"}
    created = await platform.post("/v1/events", {"entity": key(), **name, "preset": preset}, expect=201)
    sampled = {"entity": key(), **name, "preset": preset, "sample": {**sample, "own": 1}}
    own = await platform.post("/v1/events", sampled, expect=201)
    replaced = await platform.call("PUT", f"/v1/events/{created['key']}", {})
    again = await platform.call("PUT", f"/v1/events/{created['key']}", {"preset": preset})

    assert "preset" not in created
    assert (created["template"], created["sample"]) == (template, sample)
    assert (own["template"], own["sample"]) == (template, {**sample, "own": 1})
    assert (replaced["template"], replaced["sample"]) == (None, None)
    assert (again["template"], again["sample"], again["version"]) == (template, sample, 3)


@pytest.mark.parametrize("preset", [Preset.SOFTLEDGER, Preset.ENGAGEIP])
async def test_a_payload_of_entity_and_action_needs_an_event_with_both(
    platform: PlatformProcess, preset: Preset
) -> None:
    problem = await platform.post("/v1/events", {"key": key(), "preset": preset}, expect=422)

    assert pointers(problem)[0].startswith("/template/")
    assert "entity" in problem["detail"]


async def test_a_subscribed_event_cannot_be_deleted(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event()
    webhook = await platform.webhook(event, receiver.url(path))
    await platform.call("DELETE", f"/v1/events/{event}", expect=409)
    await platform.call("DELETE", f"/v1/webhooks/{webhook['id']}", expect=204)
    await platform.call("DELETE", f"/v1/events/{event}", expect=204)


async def test_the_list_is_paged_and_filtered(platform: PlatformProcess) -> None:
    prefix = f"0-{uuid4().hex}"  # sorts first
    names = [f"{prefix}-{n}" for n in range(5)]
    for name in names:
        await platform.post("/v1/events", {"key": name, "active": name != names[1]}, expect=201)
    seen: list[str] = []
    cursor = None
    while len(seen) < len(names):
        page = await platform.get("/v1/events", limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [item["key"] for item in page["items"] if item["key"].startswith(prefix)]
        cursor = page["next_cursor"]
        assert cursor
    page = await platform.get("/v1/events", limit=100, active=False)

    assert seen == names
    assert [item["key"] for item in page["items"] if item["key"].startswith(prefix)] == [names[1]]
    assert all(item["active"] is False for item in page["items"])


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"key": "A", "entity": "B", "action": "C"}, ""),
        ({"entity": "OnlyEntity"}, ""),
        ({"key": "has space"}, "/key"),
        ({"key": "a/b"}, "/key"),
        ({"key": ""}, "/key"),
        ({"key": "x" * 129}, "/key"),
        ({"key": "A", "colour": "red"}, "/colour"),
        ({"key": "A", "active": "perhaps"}, "/active"),
        ({"key": "A", "schema": {"type": "objekt"}}, "/schema"),
        ({"key": "A", "schema": [1]}, "/schema"),
        ({"key": "A", "schema": {"$ref": "http://127.0.0.1:1/x"}}, "/schema"),
        ({"key": "A", "schema": {"type": "object"}, "sample": 3}, "/sample"),
        ({"key": "A", "schema": {"required": ["a"]}, "sample": {"b": 1}}, "/sample"),
        ({"key": "A", "schema": {"type": "object", "x": "y" * 70_000}}, "/schema"),
        ({"key": "A", "template": "x" * 70_000}, "/template"),
        ({"key": "A", "entity": "B"}, ""),
        ({"entity": "a.b", "action": "C"}, "/entity"),
        ({"entity": "A", "action": ""}, "/action"),
        ({"entity": "A", "action": "x" * 64}, "/action"),
        ({"key": "A", "preset": "Nonesuch"}, "/preset"),
        ({"key": "A", "preset": "logto"}, "/preset"),
        ({"key": "A", "preset": "Logto", "template": {}}, "/preset"),
        ({"key": "A", "owner_required": 1}, "/owner_required"),
        ({"key": "A", "description": "x" * 2001}, "/description"),
        ({"key": "A", "description": "a\0b"}, "/description"),
        ({"key": "A", "version": 7}, "/version"),
    ],
)
async def test_a_bad_event_is_refused(platform: PlatformProcess, body: dict[str, Any], pointer: str) -> None:
    problem = await platform.post("/v1/events", body, expect=422)

    assert pointer in [error["pointer"] for error in problem["errors"]]


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"template": "{"}, ""),
        ({"template": {"a": ["fine", "lone }"]}}, "/a/1"),
        ({"template": {"a/b": "{order id}"}}, "/a~1b"),
        ({"template": {"~": {"c": "{}"}}}, "/~0/c"),
        ({"template": "{order.id}", "sample": {"shipment": 1}}, ""),
        ({"template": ["{order.id}"], "schema": {"properties": {"shipment": {}}}}, "/0"),
        ({"template": {"a": "{data.order.id}"}, "sample": {"shipment": 1}}, "/a"),
        ({"template": {"a": "#{order}"}, "schema": {"properties": {"b": {}}}, "sample": {"c": 1}}, "/a"),
        ({"template": ["{big}"] * 200, "sample": {"big": "x" * 6_000}}, ""),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "import"])
async def test_a_template_that_cannot_work_is_refused_and_pointed_at(
    platform: PlatformProcess, method: str, fields: Json, where: str
) -> None:
    name = await platform.event()
    if method == "POST":
        problem = await platform.post("/v1/events", {"key": key(), **fields}, expect=422)
    elif method == "import":
        problem = (await import_(platform, {"events": [{"key": key()}, {"key": name, **fields}]})).json()
    else:
        problem = await platform.call(method, f"/v1/events/{name}", fields, expect=422)
    found = await platform.get(f"/v1/events/{name}")

    assert pointers(problem) == [f"{'/events/1' if method == 'import' else ''}/template{where}"]
    assert (found["template"], found["version"]) == (None, 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"template": "{{ {{x}} }}"},
        {"template": "{order.id}"},
        {"template": "{order.id}", "schema": {"type": "object"}},
        {"template": "{order.id} {shipment}", "schema": {"properties": {"order": {}}}, "sample": {"shipment": 1}},
        {"template": "{order.nothing.such}", "sample": {"order": {"id": 1}}},
        {"template": "{data} {data.order}", "sample": {"order": {"id": 1}}},
        {
            "template": "{id} {event} {eventName} {occurred_at} {currentDateTime} {client_identifier} {owner_id} "
            "{user_id} {bulk} {tenant} {webhook_id} {delivery_id}",
            "sample": {"x": 1},
        },
        {"template": [1, None, True, {"{": "keys are text"}]},
        {"template": "{order}", "schema": {"$ref": "#/$defs/A", "$defs": {"A": {}}}, "sample": {"shipment": 1}},
        {"template": "{order}", "schema": {"allOf": [{"properties": {"order": {}}}], "properties": {"shipment": {}}}},
        {"template": "{order}", "schema": {"anyOf": [{"required": ["order"]}, True]}, "sample": {"shipment": 1}},
    ],
)
async def test_a_template_that_can_work_is_taken(platform: PlatformProcess, fields: Json) -> None:
    created = await platform.post("/v1/events", {"key": key(), **fields}, expect=201)

    assert {name: created[name] for name in fields} == fields


async def test_a_change_must_fit_what_is_there(platform: PlatformProcess) -> None:
    """What is checked is the event as it would be, whichever part the patch names."""
    name = await platform.event(template="{order.id}", sample={"order": {"id": 1}})
    path = f"/v1/events/{name}"
    for patch, pointer in (
        ({"sample": {"shipment": {"id": 1}}}, "/template"),
        ({"schema": {"required": ["shipment"]}}, "/sample"),
        ({"schema": {"properties": {"order": {"properties": {"id": {"type": "string"}}}}}}, "/sample/order/id"),
        ({"sample": "text", "schema": {"type": "object"}}, "/sample"),
    ):
        problem = await platform.call("PATCH", path, patch, expect=422)
        assert pointers(problem) == [pointer]

    assert (await platform.get(path))["version"] == 1


async def test_schema_and_template_have_versions(platform: PlatformProcess) -> None:
    name = await platform.event()
    path = f"/v1/events/{name}"
    versions = [(await platform.get(path))["version"]]
    for method, body in (
        ("PATCH", {"template": {"a": "{b}"}}),
        ("PATCH", {"template": {"a": "{b}"}}),
        ("PATCH", {"description": "d", "active": False, "owner_required": True, "sample": {"b": 1}}),
        ("PATCH", {"schema": {"type": "object"}}),
        ("PUT", {"schema": {"type": "object"}, "template": {"a": "{b}"}}),
        ("PUT", {"schema": True, "template": "{c}"}),
        ("PATCH", {"schema": None, "template": None}),
        ("PUT", {}),
    ):
        versions.append((await platform.call(method, path, body, expect=200))["version"])

    assert versions == [1, 2, 2, 2, 3, 3, 4, 5, 5]
    page = await platform.get(f"{path}/versions")
    assert page["next_cursor"] is None
    assert [(item["version"], item["schema"], item["template"]) for item in page["items"]] == [
        (5, None, None),
        (4, True, "{c}"),
        (3, {"type": "object"}, {"a": "{b}"}),
        (2, None, {"a": "{b}"}),
        (1, None, None),
    ]
    times = [item["replaced_at"] for item in page["items"]]
    assert times[0] is None
    assert times[1:] == sorted(times[1:], reverse=True)


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
async def test_versions_are_paged(platform: PlatformProcess, limit: int) -> None:
    name = await platform.event()
    for template in ("{a}", "{b}", "{c}"):
        await platform.call("PATCH", f"/v1/events/{name}", {"template": template})
    seen: list[int] = []
    query: dict[str, Any] = {"limit": limit}
    while True:
        page = await platform.get(f"/v1/events/{name}/versions", **query)
        assert 1 <= len(page["items"]) <= limit
        seen += [item["version"] for item in page["items"]]
        query["cursor"] = page["next_cursor"]
        if query["cursor"] is None:
            break

    assert seen == [4, 3, 2, 1]


async def test_versions_go_with_their_event(platform: PlatformProcess) -> None:
    path = f"/v1/events/{await platform.event()}"
    await platform.call("PATCH", path, {"template": "{a}"})
    await platform.call("DELETE", path, expect=204)
    again = await platform.call("PUT", path, {}, expect=201)
    page = await platform.get(f"{path}/versions")

    assert again["version"] == 1
    assert [item["version"] for item in page["items"]] == [1]


async def test_what_has_no_versions(platform: PlatformProcess) -> None:
    name = await platform.event()

    await platform.get("/v1/events/NoSuchEvent/versions", expect=404)
    await platform.get(f"/v1/events/{name}/versions", expect=422, cursor="bm8")


async def test_put_creates_and_replaces(platform: PlatformProcess) -> None:
    path = f"/v1/events/{key()}"
    body = {
        "description": "d",
        "active": False,
        "owner_required": True,
        "schema": {"type": "object"},
        "template": {"a": "{b}"},
        "sample": {"b": 1},
    }
    defaults = {**dict.fromkeys(body), "description": "", "active": True, "owner_required": False}
    created = await platform.call("PUT", path, body, expect=201)
    same = await platform.call("PUT", path, body, expect=200)
    replaced = await platform.call("PUT", path, {}, expect=200)

    assert {name: created[name] for name in body} == body
    assert same == created
    assert replaced == {**created, **defaults, "version": 2, "updated_at": replaced["updated_at"]}
    assert await platform.get(path) == replaced


async def test_put_leaves_entity_and_action(platform: PlatformProcess) -> None:
    created = await platform.post("/v1/events", {"entity": f"E-{uuid4().hex}", "action": "Update"}, expect=201)
    replaced = await platform.call("PUT", f"/v1/events/{created['key']}", {"description": "d"}, expect=200)

    assert (replaced["entity"], replaced["action"]) == (created["entity"], "Update")


async def test_put_may_name_entity_and_action(platform: PlatformProcess) -> None:
    entity = f"E-{uuid4().hex}"
    path = f"/v1/events/{entity}.Update"
    names = {"entity": entity, "action": "Update"}
    created = await platform.call("PUT", path, names, expect=201)
    plain = await platform.post("/v1/events", {"key": f"{entity}.Delete"}, expect=201)
    named = await platform.call("PUT", f"/v1/events/{entity}.Delete", {**names, "action": "Delete"}, expect=200)

    assert {name: created[name] for name in names} == names
    assert created["key"] == f"{entity}.Update"
    assert (plain["entity"], plain["action"]) == (None, None)
    assert (named["entity"], named["action"], named["version"]) == (entity, "Delete", 1)
    for body, pointer in (
        ({**names, "action": "Delete"}, "/entity"),
        ({**names, "entity": "E"}, "/entity"),
        ({"entity": entity}, "/entity"),
        ({"action": "Update"}, "/action"),
    ):
        assert pointers(await platform.call("PUT", path, body, expect=422)) == [pointer]
    assert await platform.get(path) == created


@pytest.mark.parametrize(
    ("name", "body"), [("None.Update", {"action": "Update"}), ("UserPackage.None", {"entity": "UserPackage"})]
)
async def test_put_needs_entity_and_action_together(platform: PlatformProcess, name: str, body: Json) -> None:
    problem = await platform.call("PUT", f"/v1/events/{name}", body, expect=422)

    assert pointers(problem) == [f"/{field}" for field in body]


@pytest.mark.parametrize("field", ["key", "entity", "action", "id", "version"])
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_name_is_for_good(platform: PlatformProcess, method: str, field: str) -> None:
    name = await platform.event()

    assert pointers(await platform.call(method, f"/v1/events/{name}", {field: "x"}, expect=422)) == [f"/{field}"]


async def test_a_put_needs_a_key_that_is_one(platform: PlatformProcess) -> None:
    problem = await platform.call("PUT", "/v1/events/has%20space", {}, expect=422)

    assert [error["parameter"] for error in problem["errors"]] == ["key"]


@pytest.mark.parametrize(
    ("patch", "shown"),
    [
        ({}, {}),
        ({"schema": None}, {"schema": None}),
        ({"template": None}, {"template": None}),
        ({"schema": {"properties": {"x": {}}}}, {"schema": {"properties": {"x": {}}}}),
        ({"schema": {"not": {"const": None}}}, {"schema": {"not": {"const": None}}}),
        ({"template": {"b": {"c": None, "e": 3}}}, {"template": {"b": {"c": None, "e": 3}}}),
        ({"template": {"a": [None]}}, {"template": {"a": [None]}}),
        ({"template": "{data}"}, {"template": "{data}"}),
        ({"template": {}}, {"template": {}}),
        ({"sample": {"x": None, "z": 3}}, {"sample": {"x": None, "z": 3}}),
        ({"sample": {"y": {"more": 1}}}, {"sample": {"y": {"more": 1}}}),
        ({"sample": None, "description": None, "active": None}, {"sample": None, "description": "", "active": True}),
    ],
)
async def test_a_change_is_a_merge_patch(platform: PlatformProcess, patch: Json, shown: Json) -> None:
    """But schema, template and sample are values of their own, in which null says something."""
    body = {
        "key": key(),
        "description": "d",
        "active": False,
        "schema": {"type": "object"},
        "template": {"a": [1, 2], "b": {"c": 1, "d": 2}},
        "sample": {"x": 1, "y": {"deep": True}},
    }
    created = await platform.post("/v1/events", body, expect=201)
    changed = await platform.call("PATCH", f"/v1/events/{body['key']}", patch)

    assert changed == {**created, **shown, "version": changed["version"], "updated_at": changed["updated_at"]}
    assert changed["version"] == (2 if {"template", "schema"} & patch.keys() else 1)
    assert (changed["updated_at"] > created["updated_at"]) is bool(patch)


TEMPLATE = {"order": "{order.id}", "event": "{eventName}", "client": "{client_identifier}", "text": "no {order.id}!"}
SCHEMA = {"type": "object", "required": ["order"], "properties": {"order": {"properties": {"id": {"type": "integer"}}}}}


async def previewed(platform: PlatformProcess) -> str:
    name = await platform.event(template=TEMPLATE, schema=SCHEMA, sample={"order": {"id": 7}})
    return f"/v1/events/{name}/preview"


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (None, {"order": 7, "event": "EVENT", "client": None, "text": "no 7!"}),
        ({}, {"order": 7, "event": "EVENT", "client": None, "text": "no 7!"}),
        ({"data": {"order": {"id": 8}}}, {"order": 8, "event": "EVENT", "client": None, "text": "no 8!"}),
        ({"client_identifier": "c-1"}, {"order": 7, "event": "EVENT", "client": "c-1", "text": "no 7!"}),
        ({"template": ["{order}"]}, [{"id": 7}]),
        ({"template": "{order.id}", "data": {"order": {"id": [1]}}}, [1]),
        ({"sends_json": False}, {"event": "EVENT", "text": "no !"}),
    ],
)
async def test_a_preview_sends_nothing_and_shows_the_body(
    platform: PlatformProcess, body: Json | None, shown: Any
) -> None:
    path = await previewed(platform)
    preview = await platform.post(path, body, expect=200)

    assert preview["content_type"] == "application/json"
    assert json.loads(preview["body"].replace(path.split("/")[3], "EVENT")) == shown


async def test_a_preview_without_a_template_is_the_occurrence(platform: PlatformProcess) -> None:
    name = await platform.event(sample={"a": 1})
    preview = await platform.post(f"/v1/events/{name}/preview", expect=200)
    overridden = await platform.post(await previewed(platform), {"template": None}, expect=200)

    assert json.loads(preview["body"]) | {"occurred_at": "now"} == {
        "id": "preview",
        "event": name,
        "occurred_at": "now",
        "data": {"a": 1},
    }
    assert json.loads(overridden["body"])["data"] == {"order": {"id": 7}}


async def test_a_preview_as_a_form(platform: PlatformProcess) -> None:
    path = await previewed(platform)
    template = {"order": {"id": "{order.id}", "lines": [1, True]}, "text": "a & b", "none": None}
    body = {"format": "Form URL Encoded", "template": template}
    preview = await platform.post(path, body, expect=200)
    no_form = await platform.post(path, {**body, "template": "{order.id}"}, expect=422)

    assert preview["content_type"] == "application/x-www-form-urlencoded"
    assert parse_qsl(preview["body"], keep_blank_values=True, strict_parsing=True) == [
        ("order[id]", "7"),
        ("order[lines][0]", "1"),
        ("order[lines][1]", "true"),
        ("text", "a & b"),
        ("none", ""),
    ]
    assert pointers(no_form) == ["/format"]


@pytest.mark.parametrize(
    ("data", "where"),
    [
        ({"order": {"id": 1}}, []),
        ({"order": {"id": "canary"}}, ["/data/order/id"]),
        ({}, ["/data"]),
        (None, ["/data"]),
        ("canary", ["/data"]),
    ],
)
async def test_a_preview_tells_what_would_be_refused(platform: PlatformProcess, data: Any, where: list[str]) -> None:
    path = await previewed(platform)
    preview = await platform.post(path, {"data": data}, expect=200)
    published = await platform.http.post("/v1/occurrences", json={"event": path.split("/")[3], "data": data})

    assert [error["pointer"] for error in preview["schema_errors"]] == where
    assert all(error["detail"] for error in preview["schema_errors"])
    assert "canary" not in str(preview["schema_errors"])
    assert (published.status_code == 422) is bool(where)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"template": {"a": "{"}}, "/template/a"),
        ({"template": {"a": ["{shipment}"]}}, "/template/a/0"),
        ({"template": ["{order}"] * 200, "data": {"order": "x" * 6_000}}, "/template"),
        ({"format": "XML"}, "/format"),
        ({"sends_json": "no"}, "/sends_json"),
        ({"client_identifier": ""}, "/client_identifier"),
        ({"colour": "red"}, "/colour"),
    ],
)
async def test_a_bad_preview_is_refused_and_named(platform: PlatformProcess, body: Json, pointer: str) -> None:
    assert pointers(await platform.post(await previewed(platform), body, expect=422)) == [pointer]


async def test_a_preview_checks_placeholders_against_the_data_that_it_renders(platform: PlatformProcess) -> None:
    name = await platform.event(template="{order.id}", sample={"order": {"id": 7}})
    path = f"/v1/events/{name}/preview"
    other = {"shipment": {"id": 8}}
    fits = await platform.post(path, {"data": other, "template": "{shipment.id}"}, expect=200)
    problems = [
        await platform.post(path, body, expect=422) for body in ({"data": other}, {"template": "{shipment.id}"})
    ]
    known = await platform.post(await previewed(platform), {"data": other}, expect=200)  # by the schema

    assert fits["body"] == "8"
    assert [pointers(problem) for problem in problems] == [["/template"]] * 2
    assert json.loads(known["body"])["order"] is None


@pytest.mark.parametrize("named", [{"key": "Unheard"}, {"entity": "Order", "action": "Update"}])
async def test_an_event_can_be_previewed_before_it_exists(platform: PlatformProcess, named: Json) -> None:
    draft = {**named, "template": TEMPLATE, "schema": SCHEMA, "sample": {"order": {"id": "x"}}}
    preview = await platform.post("/v1/events/preview", draft, expect=200)

    assert json.loads(preview["body"])["event"] == (named.get("key") or "Order.Update")
    assert json.loads(preview["body"])["order"] == "x"
    assert [error["pointer"] for error in preview["schema_errors"]] == ["/sample/order/id"]
    await platform.get(f"/v1/events/{named.get('key') or 'Order.Update'}", expect=404)


async def test_a_draft_shows_the_digits_of_its_sample(platform: PlatformProcess) -> None:
    content = b'{"key": "Unheard", "template": {"n": "{n}"}, "sample": {"n": 10.00}}'
    headers = {"content-type": "application/json"}
    preview = await platform.http.post("/v1/events/preview", content=content, headers=headers)

    assert preview.json()["body"] == '{"n":10.00}'


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"template": "{no", "sample": {}}, "/template"),
        ({"template": {"a": "{b}"}, "sample": {"c": 1}}, "/template/a"),
        ({"schema": {"type": 5}}, "/schema"),
        ({"format": "Form URL Encoded", "template": "text"}, "/format"),
        ({"entity": "Order"}, ""),
    ],
)
async def test_a_draft_that_cannot_be_rendered_is_refused(platform: PlatformProcess, wrong: Json, pointer: str) -> None:
    assert pointers(await platform.post("/v1/events/preview", {"key": "Unheard", **wrong}, expect=422)) == [pointer]


async def test_a_search_finds_events_by_a_part_of_key_or_description(platform: PlatformProcess, path: str) -> None:
    mark = path[1:9]
    keys = [f"Found{mark}A", f"found{mark}b", f"Other{mark}"]
    for key, description in zip(keys, ["", "", f"like FOUND{mark} with 100%_"], strict=True):
        await platform.post("/v1/events", {"key": key, "description": description})

    async def found(search: str) -> list[str]:
        return sorted(item["key"] for item in (await platform.get("/v1/events", search=search))["items"])

    assert await found(f"OUND{mark}") == sorted(keys)
    assert await found(f"found{mark}A") == keys[:1]
    assert keys[2] in await found("100%_")
    assert await found(f"{mark}%A") == []


async def test_a_preview_needs_an_event(platform: PlatformProcess) -> None:
    await platform.post("/v1/events/NoSuchEvent/preview", {}, expect=404)


@pytest.mark.parametrize("content_type", ["", "application/json", "application/yaml", "text/plain"])
@pytest.mark.parametrize("form", ["object", "list", "YAML"])
async def test_a_catalogue_is_imported(platform: PlatformProcess, form: str, content_type: str) -> None:
    """In JSON or YAML, whatever it calls itself; again, it changes nothing."""
    name, entity = key(), f"E-{uuid4().hex}"
    events: list[Json] = [
        {"key": name, "description": "on", "schema": {"type": "object"}, "template": {"on": "{n}"}, "sample": {"n": 1}},
        {"entity": entity, "action": "Update", "preset": "EngageIP", "active": False},
    ]
    yaml = f"""
# our events
events:
  - key: {name}
    description: on
    schema: {{type: object}}
    template:
      on: "{{n}}"
    sample: {{n: 1}}
  - {{entity: {entity}, action: Update, preset: EngageIP, active: false}}
"""
    catalogue = {"object": {"events": events}, "list": events, "YAML": yaml}[form]
    first = await import_(platform, catalogue, content_type)
    found = [await platform.get(f"/v1/events/{key}") for key in (name, f"{entity}.Update")]
    second = await import_(platform, catalogue, content_type)

    assert (first.status_code, second.status_code) == (200, 200), f"{first.text} {second.text}"
    for answer, result in ((first, "created"), (second, "unchanged")):
        items = [{"key": item, "result": result} for item in (name, f"{entity}.Update")]
        assert answer.json() == {"items": items, "next_cursor": None}
    assert {field: found[0][field] for field in events[0]} == events[0]
    assert (found[1]["entity"], found[1]["action"], found[1]["active"]) == (entity, "Update", False)
    assert found[1]["template"] == PRESETS[Preset.ENGAGEIP].template
    assert [await platform.get(f"/v1/events/{item['key']}") for item in found] == found


async def test_an_import_replaces_as_put_does(platform: PlatformProcess) -> None:
    new, same = key(), key()
    old = await platform.event(description="old", active=False, template="{a}", sample={"a": 1})
    await platform.post("/v1/events", {"key": same, "template": "{a}"}, expect=201)
    answer = await import_(platform, [{"key": old, "template": "{b}"}, {"key": same, "template": "{a}"}, {"key": new}])
    found = await platform.get(f"/v1/events/{old}")

    assert [item["result"] for item in answer.json()["items"]] == ["changed", "unchanged", "created"]
    assert (found["description"], found["active"], found["template"], found["sample"]) == ("", True, "{b}", None)
    assert found["version"] == 2
    assert (await platform.get(f"/v1/events/{same}"))["version"] == 1


async def test_an_import_may_name_entity_and_action_of_a_key(platform: PlatformProcess) -> None:
    entity = f"E-{uuid4().hex}"
    name = f"{entity}.Update"
    await platform.post("/v1/events", {"key": name}, expect=201)
    answers = [
        await import_(platform, [event])
        for event in ({"entity": entity, "action": "Update"}, {"key": name}, {"entity": entity, "action": "Update"})
    ]
    found = await platform.get(f"/v1/events/{name}")

    assert [answer.json()["items"][0]["result"] for answer in answers] == ["changed", "unchanged", "unchanged"]
    assert (found["entity"], found["action"]) == (entity, "Update")


async def test_an_openapi_document_is_imported(platform: PlatformProcess) -> None:
    created, updated = key(), key()
    order = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Orders", "version": "1"},
        "components": {"schemas": {"Order": order}},
        "webhooks": {
            created: {
                "post": {
                    "summary": "An order was created",
                    "requestBody": {
                        "content": {
                            "application/json": {
                                "schema": {"$ref": "#/components/schemas/Order"},
                                "example": {"id": 4711},
                            }
                        }
                    },
                    "responses": {"200": {"description": "ok"}},
                }
            },
            updated: {"put": {"deprecated": True}},
        },
    }
    answer = await import_(platform, document)
    found = await platform.get(f"/v1/events/{created}")
    fits = await platform.http.post("/v1/occurrences", json={"event": created, "data": {"id": 1}})
    misfits = await platform.post("/v1/occurrences", {"event": created, "data": {"id": "x"}}, expect=422)
    preview = await platform.post(f"/v1/events/{created}/preview", expect=200)

    assert [item["result"] for item in answer.json()["items"]] == ["created", "created"]
    assert found["description"] == "An order was created"
    assert found["sample"] == {"id": 4711}
    assert fits.status_code == 202
    assert pointers(misfits) == ["/data/id"]
    assert json.loads(preview["body"]) == {"id": 4711}
    assert (await platform.get(f"/v1/events/{updated}"))["active"] is False
    assert [item["result"] for item in (await import_(platform, document)).json()["items"]] == ["unchanged"] * 2


@pytest.mark.parametrize(
    ("last", "pointer"),
    [
        ({"key": "has space"}, "/events/2/key"),
        ({"key": "A", "colour": "red"}, "/events/2/colour"),
        ({}, "/events/2"),
        ({"key": "A", "template": {"a": "{"}}, "/events/2/template/a"),
        ({"key": "A", "schema": {"type": "objekt"}}, "/events/2/schema"),
        ({"key": "A", "schema": {"required": ["n"]}, "sample": {}}, "/events/2/sample"),
        ({"key": "EXISTING"}, "/events/2"),
        (5, "/events/2"),
    ],
)
async def test_an_import_is_all_or_nothing(platform: PlatformProcess, last: Any, pointer: str) -> None:
    new, old = key(), await platform.event(description="old")
    before = await platform.get(f"/v1/events/{old}")
    events = [{"key": new}, {"key": old, "description": "new", "template": "{a}"}, last]
    answer = await import_(platform, json.dumps({"events": events}).replace("EXISTING", old))

    assert answer.status_code == 422
    assert pointers(answer.json()) == [pointer]
    assert await platform.get(f"/v1/events/{old}") == before
    await platform.get(f"/v1/events/{new}", expect=404)


@pytest.mark.parametrize(
    ("catalogue", "pointer", "said"),
    [
        ("", "", "the file is empty"),
        ("# nothing but a comment", "", "the file is empty"),
        ("{", "", "neither JSON"),
        ("a: b: c", "", "nor YAML"),
        (b"\xff\xfe", "", "not UTF-8"),
        ("hello", "", "expected a list of `events`, or an OpenAPI"),
        ({"key": "A"}, "", "expected a list of `events`, or an OpenAPI"),
        ([], "", "has no events"),
        ({"events": []}, "/events", "has no events"),
        ({"events": {"key": "A"}}, "/events", "expected a list"),
        ({"events": ["A"]}, "/events/0", "an event must be an object"),
        (["A"], "/0", "an event must be an object"),
        ({"events": [{"key": "A"}], "others": []}, "/others", "only `events` is allowed here"),
        ([{"key": f"E{n}"} for n in range(1001)], "", "more than 1000 events"),
        ('{"events": [{"key": "A", "key": "B"}]}', "/events/0/key", "occurs twice"),
        ("events: [{key: &a A}, {key: *a}]", "", "aliases are not supported"),
        ("events: [{key: !!str A}]", "", "tags are not supported"),
        ("events: [{key: A, active: no}]", "/events/0/active", "must be true or false"),
        ("events: [{key: A, sample: .nan}]", "/events/0/sample", "too large, infinite or not a number"),
        ({"swagger": "2.0"}, "/swagger", "use OpenAPI 3.1"),
        ({"openapi": "3.0.3", "webhooks": {}}, "/openapi", "use OpenAPI 3.1"),
        ({"openapi": "3.1.0"}, "", "has no `webhooks`"),
        ({"openapi": "3.1.0", "webhooks": {}}, "/webhooks", "has no events"),
        ({"openapi": "3.1.0", "webhooks": {"A": {"get": {}}}}, "/webhooks/A", "neither `post` nor `put`"),
    ],
)
async def test_a_bad_file_is_refused_and_pointed_at(
    platform: PlatformProcess, catalogue: object, pointer: str, said: str
) -> None:
    answer = await import_(platform, catalogue)

    assert answer.status_code == 422, answer.text
    [error] = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert said in error["detail"]


@pytest.mark.parametrize(
    ("catalogue", "pointer"),
    [
        ([{"key": "has space"}], "/0/key"),
        ([{"key": "A", "template": ["{"]}], "/0/template/0"),
        ([{"key": "A"}, {"key": "A"}], "/1"),
        ([{"key": "A", "preset": "Logto", "template": {}}], "/0/preset"),
        ({"events": [{"key": "A", "preset": "Logto", "template": {}}]}, "/events/0/preset"),
        ({"events": [{"key": "A", "colour": "red"}]}, "/events/0/colour"),
        ({"openapi": "3.1.0", "webhooks": {"has space": {"post": {}}}}, "/webhooks/has space"),
    ],
)
async def test_a_pointer_leads_into_the_file_as_it_was_sent(
    platform: PlatformProcess, catalogue: object, pointer: str
) -> None:
    answer = await import_(platform, catalogue)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith(pointer)


async def test_a_catalogue_may_be_large_but_not_boundless(platform: PlatformProcess) -> None:
    large = [{"key": key(), "sample": {"n": "x" * 60_000}} for _ in range(20)]
    fits = await import_(platform, large)
    too_large = await import_(platform, large * 2)

    assert fits.status_code == 200, fits.text
    assert too_large.status_code == 413
    assert too_large.headers["content-type"] == "application/problem+json"


async def test_the_api_says_what_an_import_takes(platform: PlatformProcess) -> None:
    operation = (await platform.get("/openapi.json"))["paths"]["/v1/events/import"]["post"]

    assert "application/json" in operation["requestBody"]["content"]
