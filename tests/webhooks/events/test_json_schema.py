import socket
import time
from pathlib import Path

import pytest
from pydantic import JsonValue

from webhooks.events.json_schema import MAX_SCHEMA_BYTES, NotASchemaError, check_schema, violations

SECRET = "s3cret-value"


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "objec"}, "at /type: "),
        ({"properties": {"a": {"type": 3}}}, "at /properties/a/type: "),
        ({"properties": {"a/b~c": {"minLength": -1}}}, "at /properties/a~1b~0c/minLength: "),
        ({"allOf": [{}, {"required": "id"}]}, "at /allOf/1/required: "),
        ({"pattern": "("}, "at /pattern: "),
        ({"patternProperties": {"[": {}}}, "at /patternProperties"),
        ({"pattern": "(?=a)"}, "at /pattern: "),
        ({"pattern": r"(a)\1"}, "at /pattern: "),
        ({"pattern": "(a{1000}){50}"}, "at /pattern: "),
        ({"$ref": "#/nowhere"}, "/nowhere"),
        (None, "an object or a boolean"),
        (3, "an object or a boolean"),
        ([], "an object or a boolean"),
        ("string", "an object or a boolean"),
        ({"description": "x" * MAX_SCHEMA_BYTES}, "larger than 65536 bytes"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_usable_schema_is_refused_with_where(schema: JsonValue, message: str) -> None:
    with pytest.raises(NotASchemaError) as caught:
        check_schema(schema)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    "schema",
    [
        True,
        False,
        {},
        {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]},
        {"$defs": {"x": {"type": "string"}}, "$ref": "#/$defs/x"},
        {"$defs": {"tree": {"items": {"$ref": "#/$defs/tree"}}}, "$ref": "#/$defs/tree"},
        {"unknownKeyword": 1},
    ],
    ids=str,
)
def test_a_schema_is_accepted(schema: JsonValue) -> None:
    check_schema(schema)


@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef", "$schema", "$id"])
def test_another_document_is_never_fetched(keyword: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/schema.json"
        schemas: list[JsonValue] = [{keyword: url}, {"properties": {"a": {keyword: url}}}]
        for schema in schemas:
            try:
                check_schema(schema)
                violations(schema, {"a": 1})
            except NotASchemaError:
                assert keyword in ("$ref", "$dynamicRef")
            else:
                assert keyword in ("$schema", "$id")
        listening.setblocking(False)

        with pytest.raises(BlockingIOError):  # nobody waits to be accepted
            listening.accept()


def test_a_file_is_never_read(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text('{"type": "string"}')

    with pytest.raises(NotASchemaError):
        check_schema({"$ref": file.as_uri()})


@pytest.mark.parametrize(
    ("schema", "data", "expected"),
    [
        ({"type": "string"}, "text", []),
        ({"type": "string"}, 1, [("", 'the value is not of type "string"')]),
        ({"required": ["id"]}, {}, [("", '"id" is a required property')]),
        ({"properties": {"a": {"type": "null"}}}, {"a": 1}, [("/a", 'the value is not of type "null"')]),
        ({"items": {"type": "null"}}, [None, 1], [("/1", 'the value is not of type "null"')]),
        (
            {"properties": {"a/b~c": {"items": {"properties": {"~1": {"type": "null"}}}}}},
            {"a/b~c": [{"~1": 1}]},
            [("/a~1b~0c/0/~01", 'the value is not of type "null"')],
        ),
        ({"$defs": {"x": {"type": "null"}}, "$ref": "#/$defs/x"}, 1, [("", 'the value is not of type "null"')]),
        (True, {"a": 1}, []),
    ],
)
def test_a_violation_says_where_and_what(schema: JsonValue, data: JsonValue, expected: list[tuple[str, str]]) -> None:
    assert expected == violations(schema, data)


def test_every_violation_is_told_up_to_twenty() -> None:
    schema: JsonValue = {"items": {"type": "null"}}

    assert [where for where, _ in violations(schema, [1, None, 2, 3])] == ["/0", "/2", "/3"]
    assert len(violations(schema, list(range(1_000)))) == 20


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        ({"type": "integer"}, SECRET),
        ({"type": ["integer", "null"]}, SECRET),
        ({"enum": ["a", "b"]}, SECRET),
        ({"const": "a"}, SECRET),
        ({"pattern": "^x"}, SECRET),
        ({"maxLength": 2}, SECRET),
        ({"minLength": 99}, SECRET),
        ({"not": {"type": "string"}}, SECRET),
        ({"anyOf": [{"type": "integer"}, {"maxLength": 2}]}, SECRET),
        ({"oneOf": [{}, {}]}, SECRET),
        ({"allOf": [{"maxLength": 2}]}, SECRET),
        ({"if": {}, "then": {"maxLength": 2}}, SECRET),
        ({"type": "string"}, {"a": SECRET}),
        ({"type": "object"}, [SECRET]),
        ({"items": {"type": "integer"}}, [SECRET]),
        ({"prefixItems": [{}], "items": False}, [1, SECRET]),
        ({"maxItems": 0}, [SECRET]),
        ({"uniqueItems": True}, [SECRET, SECRET]),
        ({"contains": {"const": 1}}, [SECRET]),
        ({"additionalProperties": False}, {"a": SECRET}),
        ({"additionalProperties": {"type": "null"}}, {"a": SECRET}),
        ({"unevaluatedProperties": False}, {"a": SECRET}),
        ({"unevaluatedItems": False}, [SECRET]),
        ({"patternProperties": {"a": {"type": "null"}}}, {"a": SECRET}),
        ({"required": ["b"]}, {"a": SECRET}),
        ({"dependentRequired": {"a": ["b"]}}, {"a": SECRET}),
        ({"minProperties": 2}, {"a": SECRET}),
        ({"maximum": 1}, 4111111111111111),
        ({"multipleOf": 2}, 4111111111111111),
        (False, SECRET),
    ],
    ids=str,
)
def test_no_message_repeats_a_value(schema: JsonValue, data: JsonValue) -> None:
    found = violations(schema, data)

    assert found
    assert SECRET not in str(found)
    assert "4111111111111111" not in str(found)


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a)*$", "^([a-zA-Z]+)*$", "(.*)*x$"])
def test_a_pattern_that_backtracks_elsewhere_is_linear_here(pattern: str) -> None:
    started = time.process_time()
    found = violations({"pattern": pattern}, "a" * 50_000 + "!")
    seconds = time.process_time() - started

    assert len(found) == 1
    assert seconds < 2


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{"pattern": f"a{n}"} for n in range(51)]},
        {"patternProperties": {f"a{n}": {} for n in range(51)}},
        {"pattern": r"\p{L}{500}"},
        {"pattern": "(a{90}){90}"},
        {"pattern": "((a{10}b){30}){10}"},
        {"pattern": r"\x{61}{9000}"},
        {"allOf": [{"pattern": rf"^\S{{1,{n}}}$"} for n in range(200, 210)]},
    ],
    ids=["many", "many of properties", "large", "nested", "nested in three", "long", "large together"],
)
def test_regular_expressions_that_take_long_are_refused(schema: JsonValue) -> None:
    with pytest.raises(NotASchemaError, match=r"more than|too large"):
        check_schema(schema)


@pytest.mark.parametrize(
    ("pattern", "match", "other"),
    [
        ("^.{1,100}$", "山" * 100, "山" * 101),
        (r"^\S{1,255}$", "é" * 255, "é" * 256),
        (r"^\w{1,64}$", "a_9", "a-9"),
        (r"^\p{L}{1,50}$", "Größe", "Größe1"),
        (r"^[^\s@]{1,64}@[^\s@]{1,255}$", "a@b", "a b@c"),
        (r"^[^<>]{0,1000}$", "", "<"),
        (r"^(\d{3}-){1,40}x$", "123-x", "x"),
        (r"^[A-Z]{2}\d{2}[A-Z0-9]{11,30}$", "DE89370400440532013000", "DE89"),
    ],
)
def test_a_repetition_of_a_usual_size_works(pattern: str, match: str, other: str) -> None:
    schema: JsonValue = {"properties": {"a": {"pattern": pattern}, "b": {"pattern": pattern}}}
    check_schema(schema)

    assert violations(schema, {"a": match}) == []
    assert [pointer for pointer, _ in violations(schema, {"a": other, "b": match})] == ["/a"]


def test_a_large_regular_expression_takes_linear_time() -> None:
    """Not times the size of the expression: 1500 characters are the most."""
    schema: JsonValue = {"pattern": "(a{50}){29}b"}
    check_schema(schema)
    started = time.process_time()

    assert len(violations(schema, "a" * 60_000)) == 1
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(?=a)", "look-around"),
        ("^(?!.*--)[a-z-]{1,63}$", "look-around"),
        ("(?<=a)b", "look-around"),
        ("(?<!a)b", "look-around"),
        (r"(a)\1", "back-references"),
        (r"(?<n>a)\k<n>", "back-references"),
        ("(", "not a regular expression: missing ), unterminated subpattern at position 0"),
        ("*a", "not a regular expression: nothing to repeat at position 0"),
        ("a{2,1}", "not a regular expression: a repetition has a minimum above its maximum"),
        ("[z-a]", "not a regular expression: bad character range z-a"),
        (r"^\p{Foo}$", "not a regular expression"),
        ("(a{1000}){50}", "too large once its repetitions are written out"),
        (r"\d{1,99999}", "too large once its repetitions are written out"),
        (r"^\p{L}{1,9999}$", "too large once its repetitions are written out"),
    ],
)
def test_a_pattern_is_refused_with_the_reason(pattern: str, reason: str) -> None:
    schemas: dict[str, JsonValue] = {
        "at /pattern: ": {"pattern": pattern},
        "at /properties/a/pattern: ": {"properties": {"a": {"pattern": pattern}}},
        "at /patternProperties/": {"patternProperties": {"ok": {}, pattern: {}}},
    }
    for where, schema in schemas.items():
        with pytest.raises(NotASchemaError) as caught:
            check_schema(schema)

        assert str(caught.value).startswith(where)
        assert reason in str(caught.value)


@pytest.mark.parametrize("pattern", [r"\(?=x", "[(?=]", r"\\1", r"[\1]", "(?:a)", "(?<name>a)", "a|b", r"^\/\-$"])
def test_what_only_looks_like_look_around_or_a_back_reference_works(pattern: str) -> None:
    schema: JsonValue = {"const": {"pattern": "(?=not a pattern)"}, "pattern": pattern}
    try:
        check_schema(schema)
    except NotASchemaError as error:
        assert "look-around" not in str(error)
        assert "/pattern" in str(error)


BUNDLE: JsonValue = {
    "$id": "https://example.com/order",
    "$ref": "#/$defs/order",
    "$defs": {
        "order": {"properties": {"lines": {"items": {"$ref": "line"}}, "buyer": {"$ref": "urn:example:person"}}},
        "line": {
            "$id": "line",
            "properties": {"sku": {"$ref": "#/$defs/sku"}, "parts": {"items": {"$ref": "line"}}},
            "$defs": {"sku": {"type": "string"}},
        },
        "person": {
            "$id": "urn:example:person",
            "$ref": "#named",
            "$defs": {"n": {"$anchor": "named", "type": "object"}},
        },
    },
}


def test_a_bundle_of_schemas_with_ids_works() -> None:
    check_schema(BUNDLE)

    assert violations(BUNDLE, {"lines": [{"sku": "A", "parts": [{"sku": "B"}]}], "buyer": {}}) == []
    found = violations(BUNDLE, {"lines": [{"sku": 1, "parts": [{"sku": 2}]}], "buyer": "x"})
    assert {pointer for pointer, _ in found} == {"/lines/0/sku", "/lines/0/parts/0/sku", "/buyer"}


@pytest.mark.parametrize(
    "schema",
    [
        {"const": {"$ref": "x", "$id": "a"}, "$defs": {"a": {"$id": "a"}}, "$ref": "a"},
        {"enum": [{"$ref": "x"}], "default": {"$id": "a"}, "examples": [{"$id": "a", "$dynamicRef": "y"}]},
        {"x-see": {"$ref": "x", "$id": "a"}, "example": {"$ref": "y"}},
        {"properties": {"const": {"$ref": "a"}, "$ref": {"const": {"$ref": "x"}}, "properties": {"$id": "a"}}},
        {"$ref": "https://json-schema.org/draft/2020-12/schema"},
    ],
    ids=str,
)
def test_a_value_that_looks_like_a_schema_is_none(schema: JsonValue) -> None:
    check_schema(schema)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"$defs": {"a": {"$id": "a"}, "b": {"$id": "a"}}}, "at /$defs/b/$id: another schema"),
        ({"$ref": "c", "$defs": {"a": {"$id": "a"}}}, "c"),
        ({"$id": "https://e.com/x", "$ref": "https://e.com/y"}, "https://e.com/y"),
        ({"$ref": "HTTP://E.com/a", "$defs": {"a": {"$id": "http://e.com/a"}}}, "at /$ref: no schema of this document"),
        ({"$ref": "a#/$defs/no", "$defs": {"a": {"$id": "a"}}}, "/$defs/no"),
        ({"$ref": "a", "const": {"$id": "a"}}, "a"),
    ],
    ids=str,
)
def test_a_reference_to_an_id_that_is_not_there_is_refused(schema: JsonValue, message: str) -> None:
    with pytest.raises(NotASchemaError) as caught:
        check_schema(schema)

    assert message in str(caught.value)


def nested(depth: int, names: str = "c") -> JsonValue:
    data: JsonValue = {}
    for _ in range(depth):
        data = dict.fromkeys(names, data)
    return data


NODE: JsonValue = {"$ref": "#/$defs/n"}
CHILD: dict[str, JsonValue] = {"properties": {"c": NODE}}
TREE: JsonValue = {"properties": {"c": {"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}]}}}


@pytest.mark.parametrize(
    "node",
    [
        {"anyOf": [CHILD, CHILD]},
        {"oneOf": [CHILD, CHILD]},
        {"allOf": [CHILD, CHILD]},
        {
            "allOf": [
                {"additionalProperties": {"$ref": "#/$defs/n"}},
                {"patternProperties": {"c": {"$ref": "#/$defs/n"}}},
            ]
        },
        {"not": CHILD, "if": CHILD},
        {**CHILD, "unevaluatedProperties": False, "dependentSchemas": {"c": CHILD}},
        {"$dynamicAnchor": "n", "anyOf": [{"properties": {"c": {"$dynamicRef": "#n"}}}] * 2},
        {
            "$id": "https://e.com/n",
            "anyOf": [{"properties": {"c": {"$ref": "n"}}}, {"properties": {"c": {"$ref": "#"}}}],
        },
        {"$id": "urn:n", "$anchor": "n", "anyOf": [{"properties": {"c": {"$ref": ref}}} for ref in ("#n", "urn:n#n")]},
        {
            "$id": "n",
            "anyOf": [{"properties": {"c": {"$ref": "other"}}}] * 2,
            "$defs": {"o": {"$id": "other", "$dynamicRef": "n#d", "$defs": {"x": {"$dynamicAnchor": "d"}}}},
            "$dynamicAnchor": "d",
        },
    ],
    ids=["anyOf", "oneOf", "allOf", "members", "not and if", "unevaluated", "dynamic", "id", "urn", "dynamic by id"],
)
def test_a_schema_that_branches_at_every_level_is_given_up_before_it_is_checked(
    node: dict[str, JsonValue], monkeypatch: pytest.MonkeyPatch
) -> None:
    schema: JsonValue = {"$defs": {"n": node}, "$ref": "#/$defs/n"}
    check_schema(schema)
    counted = len(violations(schema, nested(3)))
    monkeypatch.setattr("webhooks.events.json_schema._validator", None)  # nothing is checked

    assert violations(schema, nested(60)) == [("", "checking this data against the schema takes too many steps")]
    assert counted <= 20


def test_references_inside_a_keyword_of_another_standard_count_too() -> None:
    branch: JsonValue = [{"properties": {"c": {"$ref": "other"}}}, {"properties": {"c": {"$ref": "other"}}}]
    schema: JsonValue = {
        "$id": "https://e.com/n",
        "$ref": "#/x-schemas/n",
        "x-schemas": {"n": {"anyOf": branch}},
        "$defs": {"o": {"$id": "other", "$ref": "n#/x-schemas/n"}},
    }
    check_schema(schema)

    assert "too many steps" in violations(schema, nested(60))[0][1]


def test_many_subschemas_for_many_values_are_given_up_too() -> None:
    schema: JsonValue = {"items": {"allOf": [{"minimum": n} for n in range(1_000)]}}

    assert "too many steps" in violations(schema, list(range(1_000)))[0][1]


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        ({"$defs": {"n": TREE}, "$ref": "#/$defs/n"}, nested(80)),
        ({"$defs": {"n": {**CHILD, "required": []}}, "$ref": "#/$defs/n"}, nested(80)),
        ({"items": {"type": "integer"}}, list(range(100_000))),
        ({"items": {"type": "object", "properties": {"a": {"type": "integer"}}}}, [{"a": n} for n in range(10_000)]),
    ],
    ids=["nullable tree", "chain", "long list", "long list of objects"],
)
def test_a_schema_as_people_write_them_is_checked_however_deep_or_long_the_data(
    schema: JsonValue, data: JsonValue
) -> None:
    check_schema(schema)

    assert violations(schema, data) == []


def test_what_would_take_long_to_explain_is_refused_without_reasons() -> None:
    """Six thousand reasons that each repeat four thousand values would be gigabytes."""
    schema: JsonValue = {"items": {"enum": [f"value-{n}" for n in range(4_000)]}}

    assert violations(schema, ["value-1"] * 6_000) == []
    assert violations(schema, ["wrong"] * 6_000) == [("", "does not match the schema (too large to say where)")]
    assert violations(schema, ["wrong"])[0][0] == "/0"
