import json
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, JsonValue

from webhooks.events import catalogue
from webhooks.events.catalogue import MAX_EVENTS
from webhooks.events.json_schema import MAX_SCHEMA_BYTES, check_schema, violations
from webhooks.json_documents import DocumentError


def read(content: bytes) -> list[dict[str, JsonValue]]:
    """The events without their places."""
    return [event for _, event in catalogue.read(content)]


PETSTORE = """
openapi: 3.1.0
info: {title: Pet store, version: 1.0.0}
paths:
  /pets:
    get:
      responses:
        200: {description: Pets}
        default: {$ref: "errors.yaml#/Problem"}  # none of a webhook's business
webhooks:
  pet.created:
    post:
      summary: A pet was born
      description: |
        A pet was born, or bought.
      requestBody:
        content:
          application/x-www-form-urlencoded: {schema: {type: string}}
          application/json:
            schema: {$ref: "#/components/schemas/Pet"}
            examples:
              elsewhere: {externalValue: https://example.com/pet.json}
              rex: {$ref: "#/components/examples/Rex"}
              tom: {value: {id: 2, name: Tom}}
      responses:
        200: {description: Thank you}
        4XX: {description: Try again}
  pet.sold:
    summary: A pet was sold
    put:
      deprecated: true
      requestBody: {$ref: "#/components/requestBodies/Sale"}
  pet.lost: {$ref: "#/components/pathItems/Lost"}
  pet.fed:
    post: {}
components:
  pathItems:
    Lost:
      description: A pet ran away
      post:
        requestBody:
          content:
            application/json; charset=utf-8:
              schema:
                type: object
                properties:
                  pet: {$ref: "#/components/schemas/Pet/properties/name", maxLength: 9}
                  seen: {type: string, format: date, examples: [2026-01-02]}
                examples: [{pet: Rex, seen: 2026-01-02}, {}]
  requestBodies:
    Sale:
      content:
        application/vnd.petstore+json:
          schema: {$ref: "#/components/schemas/Sale"}
  examples:
    Rex: {summary: A dog, value: {id: 1, name: Rex, children: [{id: 3, name: Fido, children: []}]}}
  schemas:
    Pet:
      type: object
      required: [id, name]
      properties:
        id: {type: integer}
        name: {$ref: "#/components/schemas/Name"}
        children: {type: array, items: {$ref: "#/components/schemas/Pet"}}
    Name: {type: string, minLength: 1}
    Money/€~1:
      type: object
      required: [amount]
      properties: {amount: {type: string, pattern: '^[0-9]+\\.[0-9]{2}$'}}
    Sale:
      allOf:
        - {$ref: "#/components/schemas/Pet"}
        - properties: {price: {$ref: "#/components/schemas/Money~1€~01"}}
      example: {id: 1, name: Rex, price: {amount: "9.50"}}
    Unused: {$ref: "https://example.com/schemas/never-fetched.json"}
"""
PET: JsonValue = {
    "type": "object",
    "required": ["id", "name"],
    "properties": {
        "id": {"type": "integer"},
        "name": {"$ref": "#/$defs/Name"},
        "children": {"type": "array", "items": {"$ref": "#/$defs/Pet"}},
    },
}
NAME: JsonValue = {"type": "string", "minLength": 1}
REX: JsonValue = {"id": 1, "name": "Rex"}


def refused(content: bytes | str) -> tuple[str, str]:
    """Pointer and message."""
    with pytest.raises(DocumentError) as caught:
        read(content if isinstance(content, bytes) else content.encode())
    assert len(str(caught.value)) < 500
    assert len(caught.value.pointer) <= 500
    return caught.value.pointer, str(caught.value)


def openapi(media: JsonValue, **components: JsonValue) -> bytes:
    """A document with one webhook."""
    operation = {"post": {"requestBody": {"content": {"application/json": media}}}}
    return json.dumps({"openapi": "3.1.0", "webhooks": {"it": operation}, "components": components}).encode()


MEDIA = "/webhooks/it/post/requestBody/content/application~1json"


def of_schema(schema: JsonValue, **schemas: JsonValue) -> JsonValue:
    [event] = read(openapi({"schema": schema}, schemas=schemas))
    return event["schema"]


# --- our own form


@pytest.mark.parametrize(
    "content",
    [
        '{"events": [{"key": "a", "active": false}, {"entity": "Order", "action": "On", "preset": "x"}]}',
        '[{"key": "a", "active": false}, {"entity": "Order", "action": "On", "preset": "x"}]',
        "events:\n- key: a\n  active: false\n- {entity: Order, action: On, preset: x}\n",
        "- key: a\n  active: false\n- {entity: Order, action: On, preset: x}\n",
        '\ufeff[{"key": "a", "active": false}, {"entity": "Order", "action": "On", "preset": "x"}]',
        '[{"key": "a", "active": false}, {"entity": "Order", "action": "On", "preset": "x",}] # nearly JSON',
    ],
    ids=["JSON", "JSON list", "YAML", "YAML list", "byte order mark", "trailing comma"],
)
def test_a_list_of_events_is_read_as_it_is(content: str) -> None:
    expected = [{"key": "a", "active": False}, {"entity": "Order", "action": "On", "preset": "x"}]

    assert expected == read(content.encode())


@pytest.mark.parametrize(
    ("content", "pointer", "message"),
    [
        ("", "", "the file is empty"),
        ("# nothing yet", "", "the file is empty"),
        ("---", "", "expected a list of `events`, or an OpenAPI"),
        ("text", "", "expected a list of `events`, or an OpenAPI"),
        ("{}", "", "expected a list of `events`, or an OpenAPI"),
        ("asyncapi: 3.0.0", "", "expected a list of `events`, or an OpenAPI"),
        ("events: {a: {}}", "/events", "expected a list of `events`, or an OpenAPI"),
        ("[]", "", "no events"),
        ("events: []", "/events", "no events"),
        ("events: [{key: a}]\nwebhooks: []", "/webhooks", "only `events` is allowed here"),
        ("[{}, a]", "/1", "an event must be an object"),
        ("events: [{}, []]", "/events/1", "an event must be an object"),
        (json.dumps([{}] * (MAX_EVENTS + 1)), "", "more than 1000 events"),
    ],
    ids=lambda value: value[:40],
)
def test_what_is_no_catalogue_is_refused(content: str, pointer: str, message: str) -> None:
    where, why = refused(content)

    assert pointer == where
    assert message in why


# --- YAML and JSON


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None), ("~", None), ("null", None), ("NULL", None), ("nULL", "nULL"),
        ("true", True), ("False", False), ("TRUE", True), ("tRue", "tRue"),
        ("on", "on"), ("Off", "Off"), ("yes", "yes"), ("NO", "NO"), ("y", "y"),
        ("0", 0), ("-7", -7), ("+7", 7), ("007", 7), ("0o17", 15), ("0x1F", 31), ("0b1", "0b1"), ("1_000", "1_000"),
        ("1.0", 1.0), ("-.5", -0.5), ("1.", 1.0), ("1e3", 1000.0), ("1.5E-1", 0.15), ("1.0.0", "1.0.0"), (".", "."),
        ("12:30:45", "12:30:45"), ("2026-01-02", "2026-01-02"), ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("'true'", "true"), ('"7"', "7"), ("'~'", "~"), ("|-\n    7", "7"), ("=", "="), ("<<", "<<"), ("٣", "٣"),
        ("&anchor 7", 7), ("{200: ok, on: 1, ~: 2, 1.0: 3}", {"200": "ok", "on": 1, "~": 2, "1.0": 3}),
        ("[a, [b], {}]", ["a", ["b"], {}]), ("Grüße 🎉", "Grüße 🎉"),
    ],
)  # fmt: skip
def test_yaml_is_read_by_the_core_schema_of_1_2(text: str, expected: JsonValue) -> None:
    [event] = read(f"- sample: {text}".encode())

    assert expected == event["sample"]
    assert type(expected) is type(event["sample"])  # 1 == True


@pytest.mark.parametrize(
    ("content", "pointer", "message"),
    [
        ("- &a {key: x}\n- *a", "", "YAML aliases are not supported, line 2"),
        ("- &a key: x\n  *a : x", "", "YAML aliases are not supported, line 2"),
        ("- &a {key: x}\n- {<<: *a}", "", "YAML aliases are not supported, line 2"),
        ("- &a [*a]", "", "YAML aliases are not supported, line 1"),
        ("- key: !!python/object/apply:os.system [ls]", "", "YAML tags are not supported, line 1"),
        ("- key: !!str x", "", "YAML tags are not supported, line 1"),
        ("- !!binary key: x", "", "YAML tags are not supported, line 1"),
        ("%TAG ! tag:x,2026:\n---\n- key: x", "", "YAML tags are not supported"),
        ("- !%ed%a0%80 x", "", "nor YAML (a character that is not allowed)"),
        ("- key: a\x07", "", "nor YAML (U+0007 (a control character) is not allowed, line 1)"),
        ("- é: a\n- key: \x80", "", "nor YAML (U+0080 (a control character) is not allowed, line 2)"),
        ("- ? [a]\n  : x", "", "a key must be text, line 1"),
        ("- key: a\n---\n- key: b", "", "several YAML documents"),
        ("- key: a\n  key: b", "/0/key", "occurs twice"),
        ("- {sample: {200: a, '200': b}}", "/0/sample/200", "occurs twice"),
        ('[{"key": "a", "sample": [{"x": 1, "x": 1}]}]', "/0/sample/0/x", "occurs twice"),
        ("- sample: {a: [.inf]}", "/0/sample/a/0", "too large, infinite or not a number"),
        ("- sample: -.INF", "/0/sample", "too large, infinite or not a number"),
        ("- sample: .NaN", "/0/sample", "too large, infinite or not a number"),
        ("- sample: 1e400", "/0/sample", "too large"),
        (f"- sample: {'9' * 5000}", "/0/sample", "too large"),
        (f"- sample: 0x{'f' * 5000}", "/0/sample", "too large"),
        ('[{"sample": NaN}]', "/0/sample", "too large, infinite or not a number"),
        ('[{"sample": -Infinity}]', "/0/sample", "too large, infinite or not a number"),
        (f'[{{"sample": {"9" * 5000}}}]', "/0/sample", "too large"),
        ('[{"sample": "\\ud800"}]', "/0/sample", "a lone surrogate"),
        ('[{"sample": {"\\udfff": 1}}]', "/0/sample", "a lone surrogate"),
        ('- key: "\\ud800"', "", "nor YAML (found invalid Unicode character escape code, line 1)"),
        ("[" * 102 + "]" * 102, "/0" * 101, "nested too deep"),
        ("[" * 100_000, "", "nested too deep"),
        ("[" * 100_000 + "x", "", "nested too deep"),
        ("[x, " * 100_000, "", "nested too deep, line 1"),
        ("- " * 100_000, "", "nested too deep, line 1"),
        ("? " * 100_000, "", "a key must be text, line 1"),
        ('{"events": [}', "", "neither JSON (Expecting value, line 1, column 13) nor YAML (did not find expected node"),
        ("a: b: c", "", "nor YAML (mapping values are not allowed in this context, line 1)"),
        (f'[{{"{"k" * 5000}": {{"a": 1, "a": 2}}}}]', "/0", "occurs twice"),
        (b"- key: \xff", "", "not UTF-8"),
        ("[]".encode("utf-16"), "", "not UTF-8"),
    ],
    ids=lambda value: repr(value)[:40],
)  # fmt: skip
def test_what_json_cannot_say_is_refused_with_where(content: bytes | str, pointer: str, message: str) -> None:
    where, why = refused(content)

    assert pointer == where
    assert message in why


def test_a_hundred_levels_are_read() -> None:
    nested = "[" * 98 + "7" + "]" * 98

    assert read(f"- sample: {nested}".encode()) == read(f'[{{"sample": {nested}}}]'.encode())


# --- OpenAPI


def test_each_webhook_of_an_openapi_document_becomes_an_event() -> None:
    created, sold, lost, fed = read(PETSTORE.encode())

    assert created == {
        "key": "pet.created",
        "description": "A pet was born, or bought.",
        "active": True,
        "template": "{data}",
        "schema": {"$ref": "#/$defs/Pet", "$defs": {"Pet": PET, "Name": NAME}},
        "sample": {"id": 1, "name": "Rex", "children": [{"id": 3, "name": "Fido", "children": []}]},
    }
    assert (sold["description"], sold["active"]) == ("A pet was sold", False)
    assert sold["sample"] == {"id": 1, "name": "Rex", "price": {"amount": "9.50"}}
    assert (lost["key"], lost["description"]) == ("pet.lost", "A pet ran away")
    assert lost["sample"] == {"pet": "Rex", "seen": "2026-01-02"}
    assert fed == {"key": "pet.fed", "description": "", "active": True, "template": "{data}"}


@pytest.mark.parametrize(
    ("key", "data", "wrong"),
    [
        ("pet.created", {"id": 1}, [""]),
        ("pet.created", {"id": 1, "name": "a", "children": [REX, {"id": 2, "name": ""}]}, ["/children/1/name"]),
        ("pet.sold", {"id": "1", "name": "a", "price": {}}, ["/id", "/price"]),
        ("pet.sold", {"id": 1, "name": "a", "price": {"amount": "9.5"}}, ["/price/amount"]),
        ("pet.lost", {"pet": ""}, ["/pet"]),
        ("pet.lost", {"pet": "a long name"}, ["/pet"]),
    ],
)  # fmt: skip
def test_a_schema_brings_along_what_it_refers_to(key: str, data: JsonValue, wrong: list[str]) -> None:
    event = next(event for event in read(PETSTORE.encode()) if event["key"] == key)
    check_schema(event["schema"])

    assert violations(event["schema"], event["sample"]) == []
    assert wrong == sorted(where for where, _ in violations(event["schema"], data))


def test_the_document_that_fastapi_writes_is_read() -> None:
    class Line(BaseModel):
        sku: str
        parts: list["Line"] = []

    class Order(BaseModel):
        id: int
        lines: list[Line]

    app = FastAPI()

    @app.webhooks.post("order-created")
    def order_created(body: Order) -> None:
        """An order was placed."""

    [event] = read(json.dumps(app.openapi()).encode())
    wrong = violations(event["schema"], {"id": 1, "lines": [{"sku": "a", "parts": [{}]}]})

    assert (event["key"], event["description"]) == ("order-created", "An order was placed.")
    assert [where for where, _ in wrong] == ["/lines/0/parts/0"]


@pytest.mark.parametrize(
    ("schema", "schemas", "expected"),
    [
        ({"type": "null"}, {}, {"type": "null"}),
        (True, {}, True),
        ({}, {"Unused": {}}, {}),
        ({"$ref": "#/components/schemas/A"}, {"A": False}, {"$ref": "#/$defs/A", "$defs": {"A": False}}),
        (
            {"$ref": "#/components/schemas/A", "title": "a", "$defs": {"mine": {}}},
            {"A": {"not": {"$ref": "#/components/schemas/B"}}, "B": {}},
            {"$ref": "#/$defs/A", "title": "a", "$defs": {"A": {"not": {"$ref": "#/$defs/B"}}, "B": {}}},
        ),
        (
            {"$ref": "#/components/schemas/A~1b~0c/anyOf/1/properties/x%20y"},
            {"A/b~c": {"anyOf": [{}, {"properties": {"x y": {"type": "null"}}}]}},
            {
                "$ref": "#/$defs/A~1b~0c/anyOf/1/properties/x%20y",
                "$defs": {"A/b~c": {"anyOf": [{}, {"properties": {"x y": {"type": "null"}}}]}},
            },
        ),
        # «» is what Springfox writes
        (
            {"$ref": "#/components/schemas/List«A»"},
            {"List«A»": {"type": "null"}},
            {"$ref": "#/$defs/List%C2%ABA%C2%BB", "$defs": {"List«A»": {"type": "null"}}},
        ),
        # an identity would be the base of the references inside
        (
            {"$id": "https://example.com/it", "$ref": "#/components/schemas/A"},
            {"A": {"$id": "A", "type": "null"}},
            {"$ref": "#/$defs/A", "$defs": {"A": {"type": "null"}}},
        ),
        # what only looks like a reference
        ({"const": {"$ref": "x"}}, {}, {"const": {"$ref": "x"}}),
        ({"examples": [{"$ref": "x", "$id": 1}]}, {}, {"examples": [{"$ref": "x", "$id": 1}]}),
        ({"x-see": {"$ref": "x"}}, {}, {"x-see": {"$ref": "x"}}),
        (
            {"properties": {"$ref": {"type": "null"}, "$id": {}, "default": {"$ref": "#/components/schemas/A"}}},
            {"A": {}},
            {
                "properties": {"$ref": {"type": "null"}, "$id": {}, "default": {"$ref": "#/$defs/A"}},
                "$defs": {"A": {}},
            },
        ),
    ],
    ids=str,
)
def test_a_schema_is_made_self_contained(schema: JsonValue, schemas: dict[str, JsonValue], expected: JsonValue) -> None:
    actual = of_schema(schema, **schemas)
    check_schema(actual)

    assert expected == actual


def test_components_that_refer_to_each_other_are_each_brought_once() -> None:
    ring: dict[str, JsonValue] = {
        f"S{i}": {"properties": {"next": {"$ref": f"#/components/schemas/S{(i + 1) % 50}"}, "n": {"type": "integer"}}}
        for i in range(50)
    }
    schema = of_schema({"$ref": "#/components/schemas/S0"}, **ring)
    check_schema(schema)
    data: JsonValue = {"n": "not a number"}
    for _ in range(80):
        data = {"next": data}

    assert isinstance(schema, dict)
    assert isinstance(schema["$defs"], dict)
    assert ring.keys() == schema["$defs"].keys()
    assert [where for where, _ in violations(schema, data)] == ["/next" * 80 + "/n"]


@pytest.mark.parametrize(
    "schemas", [{"A": {"description": "x" * MAX_SCHEMA_BYTES}}, {"A": {"enum": ["A" * 50] * 2000}}]
)
def test_a_schema_too_large_for_an_event_is_refused(schemas: JsonValue) -> None:
    """So that a thousand webhooks cannot make a thousand copies of a large document."""
    where, why = refused(openapi({"schema": {"$ref": "#/components/schemas/A"}}, schemas=schemas))

    assert f"{MEDIA}/schema" == where
    assert "larger than 65536 bytes" in why


@pytest.mark.parametrize(
    ("media", "expected"),
    [
        ({"example": REX}, REX),
        ({"example": None}, None),
        ({"example": 1, "examples": {"a": {"value": 2}}, "schema": {"example": 3}}, 1),
        ({"examples": {"a": {"value": 2}, "b": {"value": 3}}, "schema": {"example": 4}}, 2),
        ({"examples": {"a": {"externalValue": "https://example.com"}, "b": {"value": 3}}}, 3),
        ({"examples": {}, "schema": {"example": 4, "examples": [5]}}, 4),
        ({"schema": {"examples": [5, 6]}}, 5),
        ({"schema": {"$ref": "#/components/schemas/A"}}, "of A"),
        ({"schema": {"$ref": "#/components/schemas/A", "example": "nearer"}}, "nearer"),
        ({"schema": {"$ref": "#/components/schemas/B"}}, "of A"),
        ({"examples": {"a": {"$ref": "#/components/examples/Rex"}}}, REX),
        ({"examples": {"a": {"$ref": "#/components/examples/Again"}}}, REX),
        ({"example": {"$ref": "#/components/examples/Rex"}}, REX),
        ({"examples": {"a": {"value": {"$ref": "#/components/examples/Rex"}}}}, REX),
        ({"example": {"$ref": "x", "of": "the producer"}}, {"$ref": "x", "of": "the producer"}),
    ],
    ids=str,
)
def test_the_first_sample_is_taken(media: JsonValue, expected: JsonValue) -> None:
    [event] = read(
        openapi(
            media,
            examples={"Rex": {"value": REX}, "Again": {"$ref": "#/components/examples/Rex"}},
            schemas={"A": {"example": "of A"}, "B": {"$ref": "#/components/schemas/A"}},
        )
    )

    assert "sample" in event
    assert expected == event["sample"]


@pytest.mark.parametrize(
    "media", [{}, {"schema": {}}, {"schema": True}, {"schema": {"examples": []}}, {"examples": {}}]
)
def test_without_a_sample_there_is_none(media: JsonValue) -> None:
    [event] = read(openapi(media))

    assert "sample" not in event


@pytest.mark.parametrize("name", ["application/json", "Application/JSON;v=1", "application/hal+json", "foo/bar+json"])
def test_a_json_media_type_is_found(name: str) -> None:
    content = openapi({"example": 1}).replace(b'"application/json"', json.dumps(name).encode())

    assert [event["sample"] for event in read(content)] == [1]


@pytest.mark.parametrize("name", ["text/plain", "application/xml", "application/jsonl", "application/x-json"])
def test_a_body_that_is_not_json_is_not_described(name: str) -> None:
    [event] = read(openapi({"schema": {}, "example": 1}).replace(b'"application/json"', json.dumps(name).encode()))

    assert event.keys() == {"key", "description", "active", "template"}


@pytest.mark.parametrize(
    ("operation", "item", "expected"),
    [
        ({"description": " a \n", "summary": "b"}, {"description": "c", "summary": "d"}, "a"),
        ({"description": "", "summary": "b"}, {"description": "c", "summary": "d"}, "b"),
        ({}, {"description": "c", "summary": "d"}, "c"),
        ({}, {"summary": "d"}, "d"),
        ({"description": 7}, {}, ""),
        ({"description": "ü" * 2001}, {}, "ü" * 2000),
    ],
    ids=lambda value: str(value)[:40],
)
def test_the_nearest_description_is_taken(
    operation: dict[str, JsonValue], item: dict[str, JsonValue], expected: str
) -> None:
    [event] = read(json.dumps({"openapi": "3.1.1", "webhooks": {"it": {"post": operation, **item}}}).encode())

    assert expected == event["description"]


@pytest.mark.parametrize("version", ["3.1.0", "3.1", "'3.1'", "3.1.1", "3.2.0", "3.10.0-rc1"])
def test_a_version_of_openapi_with_webhooks_is_read(version: str) -> None:
    assert len(read(f"openapi: {version}\nwebhooks: {{it: {{post: {{}}}}}}".encode())) == 1


@pytest.mark.parametrize(
    ("head", "pointer", "message"),
    [
        ("swagger: '2.0'", "/swagger", "Swagger 2 has no `webhooks`"),
        ("openapi: 3.0.3", "/openapi", "OpenAPI 3.0.3 has no `webhooks`; use OpenAPI 3.1"),
        ("openapi: 4.0.0", "/openapi", "OpenAPI 4.0.0"),
        ("openapi:", "/openapi", "OpenAPI None"),
        ("openapi: 3.1.0", "", "has no `webhooks`"),
        ("openapi: 3.1.0\nwebhooks:", "/webhooks", "must be an object"),
        ("openapi: 3.1.0\nwebhooks: {}", "/webhooks", "no events"),
        ("openapi: 3.1.0\nwebhooks: {a: x}", "/webhooks/a", "must be an object"),
        ("openapi: 3.1.0\nwebhooks: {a/b: {get: {}}}", "/webhooks/a~1b", "neither `post` nor `put`"),
        (
            "openapi: 3.1.0\nwebhooks: {a: {post: {requestBody: []}}}",
            "/webhooks/a/post/requestBody",
            "must be an object",
        ),
        (
            "openapi: 3.1.0\nwebhooks: {a: {$ref: '#/paths/~1a'}}",
            "/webhooks/a/$ref",
            "points to nothing: #/paths/~1a",
        ),
        ("openapi: 3.1.0\nwebhooks: {a: {$ref: '#/webhooks/a'}}", "/webhooks/a", "in a circle"),
        (
            "openapi: 3.1.0\nwebhooks: {a: {$ref: a.yaml}}",
            "/webhooks/a/$ref",
            "must point into this document: a.yaml",
        ),
        ("openapi: 3.1.0\nwebhooks: {a: {$ref: 7}}", "/webhooks/a/$ref", "the $ref must point into this document: 7"),
    ],
)
def test_an_openapi_document_without_usable_webhooks_is_refused(head: str, pointer: str, message: str) -> None:
    where, why = refused(f"info: {{title: Pets, version: 1.0.0}}\npaths: {{}}\n{head}")

    assert pointer == where
    assert message in why


def test_more_webhooks_than_the_limit_are_refused() -> None:
    webhooks: JsonValue = {f"e{i}": {"post": {}} for i in range(MAX_EVENTS + 1)}

    assert refused(json.dumps({"openapi": "3.1.0", "webhooks": webhooks}))[0] == "/webhooks"


ELSEWHERE = "the $ref must point into this document: "


@pytest.mark.parametrize(
    ("media", "pointer", "message"),
    [
        ({"schema": {"$ref": "pet.yaml"}}, "/schema/$ref", ELSEWHERE + "pet.yaml"),
        ({"schema": {"items": [{"$ref": "http://x/y"}]}}, "/schema/items/0/$ref", ELSEWHERE + "http://x/y"),
        ({"schema": {"$ref": "file:///etc/passwd"}}, "/schema/$ref", ELSEWHERE),
        ({"schema": {"$ref": "#"}}, "/schema/$ref", ELSEWHERE + "#"),
        ({"schema": {"$ref": "#pet"}}, "/schema/$ref", ELSEWHERE + "#pet"),
        ({"schema": {"$ref": None}}, "/schema/$ref", ELSEWHERE),
        ({"schema": {"$ref": "x" * 10_000}}, "/schema/$ref", ELSEWHERE + "x" * 100 + "..."),
        ({"schema": {"$ref": "#/" + "x" * 10_000}}, "/schema/$ref", "the $ref points to nothing"),
        ({"schema": {"$ref": "#/components/schemas/B"}}, "/schema/$ref", "the $ref points to nothing"),
        ({"schema": {"$ref": "#/components/schemas/A/items"}}, "/schema/$ref", "the $ref points to nothing"),
        ({"schema": {"$ref": "#/components/schemas"}}, "/schema/$ref", "must point into #/components/schemas"),
        (
            {"schema": {"$ref": "#/components/examples/A"}},
            "/schema/$ref",
            "must point into #/components/schemas",
        ),
        ({"schema": {"$defs": {"a": {}}, "$ref": "#/$defs/a"}}, "/schema/$ref", "the $ref points to nothing"),
        ({"schema": {"$dynamicRef": "#a"}}, "/schema/$dynamicRef", "$dynamicRef is not supported"),
        ({"schema": []}, "/schema", "must be an object"),
        ({"examples": {"a": {"$ref": "rex.json"}}}, "/examples/a/$ref", ELSEWHERE + "rex.json"),
        ({"examples": {"a": {"value": {"$ref": "rex.json"}}}}, "/examples/a/value/$ref", ELSEWHERE + "rex.json"),
        ({"example": {"$ref": "https://x/rex.json"}}, "/example/$ref", ELSEWHERE),
        ({"example": {"$ref": "#/components/schemas/A"}}, "/example", "the $ref does not point to an example"),
        ({"schema": {"example": {"$ref": "rex.json"}}}, "/schema/example/$ref", ELSEWHERE + "rex.json"),
        ({"examples": [1]}, "/examples", "must be an object"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_reference_that_cannot_be_followed_is_refused_with_where(
    media: JsonValue, pointer: str, message: str
) -> None:
    where, why = refused(openapi(media, schemas={"A": {}}, examples={"A": {}}))

    assert MEDIA + pointer == where
    assert message in why


def test_a_fault_in_a_component_is_shown_there() -> None:
    bad: JsonValue = {"properties": {"x": {"$ref": "other.yaml"}}}

    assert (
        refused(openapi({"schema": {"$ref": "#/components/schemas/A"}}, schemas={"A": bad}))[0]
        == "/components/schemas/A/properties/x/$ref"
    )


# --- whatever is sent


def read_or_refused(content: bytes) -> None:
    try:
        events = read(content)
    except DocumentError as error:
        assert str(error)
        assert error.pointer == "" or error.pointer.startswith("/")
        (str(error) + error.pointer).encode()
    else:
        assert 1 <= len(events) <= MAX_EVENTS
        json.dumps(events, allow_nan=False).encode()


@given(st.binary() | st.text().map(str.encode) | st.text("[]{}:,-?&*!|>'\"#%@` \n\tabn01.~<=e").map(str.encode))
@settings(deadline=None, max_examples=200)
def test_arbitrary_bytes_are_read_or_refused(content: bytes) -> None:
    read_or_refused(content)


WORDS = st.sampled_from("post requestBody content schema value example examples properties it $id $ref".split())
REFS = st.sampled_from(
    """#/components/schemas/A #/components/schemas/B #/components/schemas/B/properties/it #/components/examples/A
    #/components/pathItems/A #/webhooks/it #/ # other.yaml""".split()
)
PARTS: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | REFS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(WORDS, inner, max_size=4)
        | st.fixed_dictionaries({"$ref": REFS})
        | st.fixed_dictionaries({"properties": st.fixed_dictionaries({"it": inner})})
    ),
    max_leaves=20,
)
MEDIA_OBJECTS = st.fixed_dictionaries({"schema": PARTS}, optional={"example": PARTS, "examples": PARTS})


@given(MEDIA_OBJECTS, PARTS, PARTS, PARTS, st.sampled_from(["", "# YAML\n"]))
@settings(deadline=None, max_examples=200)
def test_arbitrary_documents_are_read_or_refused(
    media: JsonValue, a: JsonValue, b: JsonValue, webhook: JsonValue, before: str
) -> None:
    document = {
        "openapi": "3.1.0",
        "webhooks": {"it": {"post": {"requestBody": {"content": {"application/json": media}}}}},
        "components": {"schemas": {"A": a, "B": b}, "pathItems": {"A": webhook}, "examples": {"A": a}},
    }
    read_or_refused(f"{before}{json.dumps(document)}".encode())
    read_or_refused(f"{before}{json.dumps({**document, 'webhooks': {'other': webhook}})}".encode())


def test_a_large_file_is_the_same_in_both_notations() -> None:
    sample = {f"field {i}": ["value", i, None, True, 1.5] for i in range(100)}
    large = json.dumps([{"key": f"e{i}", "sample": sample} for i in range(200)])

    assert read(large.encode()) == read(f"# YAML\n{large}".encode())


@pytest.mark.parametrize(
    ("content", "schemas"),
    [
        ({"application/json": {"schema": {"$ref": "#/components/schemas/S0"}}}, 1_000),
        ({"application/json": {"schema": {"anyOf": [{"$ref": "#/components/schemas/S1000"}] * 2_000}}}, 0),
        ({"application/json": {"schema": {"anyOf": [{}] * 10_000}}}, 0),
        ({f"text/{i}": {} for i in range(50_000)}, 0),
    ],
    ids=["components", "references", "one schema", "media types"],
)
def test_a_small_file_whose_webhooks_share_a_great_deal_ends(content: JsonValue, schemas: int) -> None:
    """Written out for each webhook it would be gigabytes: it is refused, or each part is made once."""
    chain = {f"S{i}": {"not": {"$ref": f"#/components/schemas/S{i + 1}"}} for i in range(schemas)}
    document = {
        "openapi": "3.1.0",
        "webhooks": {f"e{i}": {"$ref": "#/components/pathItems/P"} for i in range(MAX_EVENTS)},
        "components": {
            "pathItems": {"P": {"post": {"requestBody": {"content": content}}}},
            "schemas": {**chain, "S1000": {}},
        },
    }
    read_or_refused(json.dumps(document).encode())
