import json
import re
import tracemalloc
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from webhooks.contracts import Occurrence
from webhooks.rendering import MAX_BODY_BYTES, NotRenderedError, render

DATA: JsonValue = {
    "id": "producer-7",
    "event": "producer's own",
    "account": {"id": 42, "name": "Grüße 世界 🎉", "active": True, "balance": -1.5, "closed": None, "is-vip": False},
    "items": [{"sku": "A"}, {"sku": "B"}],
    "numbered": {"0": "zero", "-1": "minus"},
    "empty": {},
    "none": [],
    "braces": "{id} {{x}}",
    "keys": "a field named as a method",
}


def occurrence(data: JsonValue = DATA, client: str | None = None) -> Occurrence:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    return Occurrence(id="o-1", event="OrderCreated", client_identifier=client, occurred_at=at, data=data)


def rendered(template: JsonValue, data: JsonValue = DATA) -> object:
    return json.loads(render(template, occurrence(data)))


def test_without_a_template_the_occurrence_itself_is_sent_compact_and_in_order() -> None:
    text = render(None, occurrence({"b": ["ü", None, 1.5], "a": True}, client="c-1"))
    expected = (
        '{"id":"o-1","event":"OrderCreated","occurred_at":"2026-01-02T03:04:05Z","data":{"b":["ü",null,1.5],"a":true}}'
    )

    assert expected == text


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        # the occurrence's own fields come first, data.x is always the producer's
        ("{id}", "o-1"),
        ("{event}", "OrderCreated"),
        ("{occurred_at}", "2026-01-02T03:04:05Z"),
        ("{client_identifier}", None),
        ("{data.id}", "producer-7"),
        ("{data.event}", "producer's own"),
        ("{data}", DATA),
        # LogiSense's names
        ("{eventName}", "OrderCreated"),
        ("{currentDateTime}", "2026-01-02T03:04:05Z"),
        ("{data.eventName}", None),
        # a lone placeholder keeps the type
        ("{account.id}", 42),
        ("{account.balance}", -1.5),
        ("{account.active}", True),
        ("{account.closed}", None),
        ("{account.is-vip}", False),
        ("{account.name}", "Grüße 世界 🎉"),
        ("{items}", [{"sku": "A"}, {"sku": "B"}]),
        ("{empty}", {}),
        # within text it is written out
        ("#{account.id}", "#42"),
        ("{account.id}{account.id}", "4242"),
        (" {account.id}", " 42"),
        ("{account.id}\n", "42\n"),
        ("on: {account.active}, off: {account.is-vip}", "on: true, off: false"),
        ("<{account.closed}|{nowhere}>", "<|>"),
        ("<{items.0}>", '<{"sku":"A"}>'),
        ("<{none}{empty}>", "<[]{}>"),
        ("an {eventName} of {account.name}", "an OrderCreated of Grüße 世界 🎉"),
        # list indexes
        ("{items.0.sku}", "A"),
        ("{items.1.sku}", "B"),
        ("{items.2.sku}", None),
        ("{items.-1}", None),
        ("{items.sku}", None),
        ("{items.0.sku.0}", None),
        ("{numbered.0}", "zero"),
        ("{numbered.-1}", "minus"),
        # missing
        ("{nowhere}", None),
        ("{account.nowhere.deeper}", None),
        ("{account.id.deeper}", None),
        # escapes, and what is no placeholder
        ("{{account.id}}", "{account.id}"),
        ("{{{account.id}}}", "{42}"),
        ("{{}}", "{}"),
        ("}}{{", "}{"),
        ("{", "{"),
        ("{}", "{}"),
        ("{ id }", "{ id }"),
        ("{id", "{id"),
        ("{0}", "{0}"),
        ("{id.}", "{id.}"),
        ("{.id}", "{.id}"),
        ("{ïd}", "{ïd}"),
        ("{idï}", "{idï}"),
        # a value is never read as a template
        ("{braces}", "{id} {{x}}"),
        ("<{braces}>", "<{id} {{x}}>"),
        # only strings are filled, at any depth, and no keys
        ({"{id}": [{"a": "{account.id}"}, 1, None, True, 0.5]}, {"{id}": [{"a": 42}, 1, None, True, 0.5]}),
        ([], []),
    ],
)
def test_a_template_is_filled(template: JsonValue, expected: JsonValue) -> None:
    actual = rendered(template)

    assert expected == actual
    assert type(expected) is type(actual)  # 1 == True


@pytest.mark.parametrize(
    ("data", "template", "expected"),
    [
        ([[1], "x"], ["{data.0.0}", "{data.1}", "{x}"], [1, "x", None]),
        ("text", ["{data}", "{data.0}", "{length}"], ["text", None, None]),
        (7, ["{data}", "{data.real}"], [7, None]),
        (None, ["{data}", "<{data}>"], [None, "<>"]),
        ({"data": {"id": 1}}, ["{data.id}", "{data.data.id}"], [None, 1]),
    ],
)
def test_data_of_any_json_type_can_be_looked_into(data: JsonValue, template: JsonValue, expected: JsonValue) -> None:
    assert expected == rendered(template, data)


@pytest.mark.parametrize(
    "path",
    [
        "__class__", "id.__class__", "data.__class__.__mro__", "data.items.__class__", "account.keys", "account.get",
        "account.__len__", "items.append", "items.0.values", "occurred_at.year", "id.upper", "model_dump", "__init__",
    ],
)  # fmt: skip
def test_a_path_never_reaches_an_attribute(path: str) -> None:
    assert rendered([f"{{{path}}}", f"<{{{path}}}>"]) == [None, "<>"]


@pytest.mark.parametrize("text", ["{id!r}", "{id:>1000000000}", "{items[0]}", "{account['id']}", "{id|upper}", "{1+1}"])
def test_no_format_or_expression_language_is_understood(text: str) -> None:
    assert text == rendered(text)


@pytest.mark.parametrize(
    ("template", "bytes_over"),
    [
        ("a" * (MAX_BODY_BYTES - 6), 0),  # quotes around it, and quotes and two escaped ones around those
        ("a" * (MAX_BODY_BYTES - 5), 1),
        ("é" * (MAX_BODY_BYTES // 2), 2),
        ('"' * (MAX_BODY_BYTES // 3), 1),  # each recorded as four
    ],
    ids=["at the limit", "one byte over", "two-byte letters", "quotes"],
)
def test_a_body_over_the_limit_in_bytes_is_refused(template: str, bytes_over: int) -> None:
    if bytes_over:
        with pytest.raises(NotRenderedError, match="over 1048576 bytes"):
            render(template, occurrence())
    else:
        assert len(json.dumps(render(template, occurrence()))) == MAX_BODY_BYTES


def test_a_template_that_multiplies_its_data_is_refused() -> None:
    """Before it is built: a thousandfold of a quarter of a megabyte would take the process with it."""
    tracemalloc.start()
    templates: list[JsonValue] = [["{data}"] * 1_000, {"a": "{data}" * 1_000}]
    for template in templates:
        with pytest.raises(NotRenderedError, match="over 1048576 bytes"):
            render(template, occurrence("x" * 250_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 20 * MAX_BODY_BYTES


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("template", [None, "{a}", {"b": ["{data}"]}])
def test_a_number_that_json_does_not_have_is_refused(number: float, template: JsonValue) -> None:
    with pytest.raises(NotRenderedError, match="not JSON compliant"):
        render(template, occurrence({"a": number}))


PLACEHOLDER = st.sampled_from(["{id}", "{data}", "{data.a.0}", "{a}", "{b.c}", "{eventName}", "{nowhere.x}"])
STRINGS = st.text(max_size=20) | PLACEHOLDER | st.lists(PLACEHOLDER | st.text("{}a.0 \n", max_size=5)).map("".join)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | STRINGS
KEYS = st.sampled_from("abc") | st.text(max_size=5)


def json_values() -> st.SearchStrategy[JsonValue]:
    return st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
    )


def has_shape(template: JsonValue, actual: JsonValue) -> bool:
    match template:
        case dict():
            return (
                isinstance(actual, dict)
                and list(template) == list(actual)
                and all(has_shape(template[key], actual[key]) for key in template)
            )
        case list():
            return isinstance(actual, list) and [True] * len(template) == [*map(has_shape, template, actual)]
        case str() if "{" not in template and "}" not in template:
            return template == actual
        case str():
            return isinstance(actual, str) or re.fullmatch(r"\{[^{}]+\}", template) is not None
        case _:
            return type(template) is type(actual) and template == actual


@given(json_values().filter(lambda template: template is not None), json_values())
@settings(deadline=None)
def test_what_is_rendered_is_valid_json_of_the_template_s_shape(template: JsonValue, data: JsonValue) -> None:
    text = render(template, occurrence(data))

    assert has_shape(template, json.loads(text))
    assert text.encode().decode() == text


@given(json_values())
@settings(deadline=None)
def test_data_passes_unchanged(data: JsonValue) -> None:
    assert json.loads(render({"x": "{data}"}, occurrence(data))) == {"x": data}
    assert json.loads(render(None, occurrence(data)))["data"] == data


@given(st.text())
@settings(deadline=None)
def test_text_with_doubled_braces_comes_out_as_it_was(text: str) -> None:
    escaped = text.replace("{", "{{").replace("}", "}}")

    assert text == rendered(escaped)
