import json
import re
import time
import tracemalloc
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from webhooks.contracts import NOT_NAMED, OCCURRENCE_FIELDS, Format, Occurrence
from webhooks.events.rendering import (
    MAX_BODY_BYTES,
    OWN_FIELDS,
    BadTemplateError,
    NotRenderedError,
    check_template,
    content_type,
    own_fields,
    render,
)

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
    "Größe": "XL",
    "order no": {"@type": "Order", "a.b": 1, "it's": 2, "{}": 3, "": 4, "0": 5},
    "tenant": "producer's tenant",
    "action": "producer's action",
}
OWN = {"tenant": "t-1", "webhook_id": "w-1", "delivery_id": "o-1~w-1", "entity": "Order", "action": None}


def occurrence(data: JsonValue = DATA, client: str | None = None) -> Occurrence:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    return Occurrence(id="o-1", event="OrderCreated", client_identifier=client, occurred_at=at, data=data)


def rendered(template: JsonValue, data: JsonValue = DATA) -> object:
    return json.loads(render(template, occurrence(data), OWN))


def form(template: JsonValue, data: JsonValue = DATA) -> list[tuple[str, str]]:
    text = render(template, occurrence(data), OWN, format=Format.FORM)
    return parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text))


def test_without_a_template_the_occurrence_itself_is_sent_compact_and_in_order() -> None:
    text = render(None, occurrence({"b": ["ü", None, 1.5], "a": True}, client="c-1"), OWN)
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
        ("{bulk}", False),
        ("{tenant}", "t-1"),
        ("{data.tenant}", "producer's tenant"),
        ("{webhook_id}", "w-1"),
        ("{delivery_id}", "o-1~w-1"),
        ("{entity}", "Order"),
        ("{action}", "producer's action"),  # none of our own
        ("{user_id}", None),
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
        ("{id'}", "{id'}"),
        ("{'id}", "{'id}"),
        ("{'id'x}", "{'id'x}"),
        ("{@type}", "{@type}"),
        # any name can be written
        ("{Größe}", "XL"),
        ("{größe}", None),
        ("{'Größe'}", "XL"),
        ("{data.'Größe'}", "XL"),
        ("{'id'}", "o-1"),
        ("{data.'id'}", "producer-7"),
        ("{'order no'.'@type'}", "Order"),
        ("{data.'order no'.'@type'}", "Order"),
        ("{'order no'.'a.b'}", 1),
        ("{'order no'.'it''s'}", 2),
        ("{'order no'.'{}'}", 3),
        ("{'order no'.''}", 4),
        ("{'order no'.0}{'order no'.'0'}", "55"),
        ("{items.'0'.sku}", "A"),
        ("{{'order no'}}", "{'order no'}"),
        ("a {'order no'.'{}'} b", "a 3 b"),
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
        with pytest.raises(NotRenderedError, match="larger than 1048576 bytes"):
            render(template, occurrence(), OWN)
    else:
        assert len(json.dumps(render(template, occurrence(), OWN))) == MAX_BODY_BYTES


def test_a_template_that_multiplies_its_data_is_refused() -> None:
    """Before it is built: a thousandfold of a quarter of a megabyte would take the process with it."""
    tracemalloc.start()
    templates: list[JsonValue] = [["{data}"] * 1_000, {"a": "{data}" * 1_000}]
    for template in templates:
        with pytest.raises(NotRenderedError, match="larger than 1048576 bytes"):
            render(template, occurrence("x" * 250_000), OWN)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 20 * MAX_BODY_BYTES


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("a" * (MAX_BODY_BYTES - 4), True),  # `x=` before it, and quotes around it in history
        ("a" * (MAX_BODY_BYTES - 3), False),
        ("é" * (MAX_BODY_BYTES // 6 + 1), False),  # each sent as six
    ],
    ids=["at the limit", "one byte over", "escapes"],
)
def test_a_form_over_the_limit_is_refused(text: str, fits: bool) -> None:
    if fits:
        assert form({"x": text}) == [("x", text)]
    else:
        with pytest.raises(NotRenderedError, match="larger than 1048576 bytes"):
            form({"x": text})


def test_a_form_whose_long_name_repeats_at_each_leaf_is_refused() -> None:
    """Before it is built: a document of a quarter of a megabyte would make a form of four gigabytes."""
    tracemalloc.start()
    with pytest.raises(NotRenderedError, match="larger than 1048576 bytes"):
        form("{data}", {"k" * 100_000: [1] * 40_000})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 20 * MAX_BODY_BYTES


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("template", [None, "{a}", {"b": ["{data}"]}])
def test_a_number_that_json_does_not_have_is_refused(number: float, template: JsonValue) -> None:
    with pytest.raises(NotRenderedError, match="not JSON compliant"):
        render(template, occurrence({"a": number}), OWN)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ({"account": {"id": "{account.id}"}, "items": "{items}"}, "account[id]=42 items[0][sku]=A items[1][sku]=B"),
        ({"a": {"b": [[1, 2], {"c": 3}]}}, "a[b][0][0]=1 a[b][0][1]=2 a[b][1][c]=3"),
        ({"t": True, "f": False, "n": None, "d": 0.5, "s": "", "one": "1"}, "t=true f=false n= d=0.5 s= one=1"),
        ({"none": "{none}", "empty": "{empty}", "missing": "{nowhere}"}, "missing="),
        ({"a b": "{data.event}", "ü": "&=+%"}, "a b=producer's own ü=&=+%"),
        ({"{id}": "{id}"}, "{id}=o-1"),
        ({}, ""),
        (None, "id=o-1 event=OrderCreated occurred_at=2026-01-02T03:04:05Z data[x]=1"),
    ],
)
def test_a_form_is_the_document_flattened(template: JsonValue, expected: str) -> None:
    data: JsonValue = {"x": 1} if template is None else DATA
    names_and_values = [f"{name}={value}" for name, value in form(template, data)]

    assert expected == " ".join(names_and_values)


def test_a_form_is_escaped_as_html_forms_are() -> None:
    text = render({"a[b] c": "Grüße & +1%"}, occurrence(), OWN, format=Format.FORM)

    assert text == "a%5Bb%5D+c=Gr%C3%BC%C3%9Fe+%26+%2B1%25"


@pytest.mark.parametrize(
    ("document", "name"),
    [
        ({"a": {"b": 1}, "a[b]": 2}, "a[b]"),
        ({"a[b]": 2, "a": {"b": 1}}, "a[b]"),
        ({"a": [{"b": 1}], "a[0]": {"b": 2}}, "a[0]"),
        ({"a": {"b": {"c": 1}}, "a[b]": 2}, "a[b]"),  # a value and an object with the same name
        ({"x": {"a": {"b": 1}, "a][b": 2}}, "x[a][b]"),
        ({"a": {"b": None}, "a[b]": ""}, "a[b]"),
    ],
)
def test_a_form_with_two_parameters_of_one_name_is_refused(document: JsonValue, name: str) -> None:
    with pytest.raises(NotRenderedError, match=re.escape(f"two parameters {name};")):
        form("{data}", document)


def test_brackets_in_a_name_are_sent_as_long_as_no_other_name_is_the_same() -> None:
    assert form("{data}", {"a": {"c": 1}, "a[b]": 2, "a[": 3}) == [("a[c]", "1"), ("a[b]", "2"), ("a[", "3")]


@pytest.mark.parametrize(
    ("number", "digits", "body", "in_text"),
    [
        (0.12345678901234568, "0.123456789012345678", "0.123456789012345678", "0.123456789012345678"),
        (100000.0, "1e5", "1e5", "1e5"),
        (10.0, "10.00", "10.00", "10.00"),
        (10.0, None, "10.0", "10.0"),
        (1e16, None, "1e+16", "10000000000000000"),
        (1e16, "1e16", "1e16", "1e16"),
        (-2.5e-7, None, "-2.5e-07", "-0.00000025"),
        (1e22, None, "1e+22", "10000000000000000000000"),
        (7, None, "7", "7"),
    ],
)
def test_a_number_has_the_producers_digits_and_in_text_no_exponent_of_pythons(
    number: float, digits: str | None, body: str, in_text: str
) -> None:
    data: JsonValue = {"n": number, "list": ["x", number], "s": "1e+16"}
    happened = occurrence(data).model_copy(update={"digits": digits and {"n": digits, "list": [None, digits]}})
    template: JsonValue = {"n": "{n}", "text": "<{n}>", "list": "<{list}>", "all": "{list}"}
    in_list = f'<[\\"x\\",{in_text}]>'

    assert render("{n}", happened, OWN) == body
    assert (
        render(template, happened, OWN) == f'{{"n":{body},"text":"<{in_text}>","list":"{in_list}","all":["x",{body}]}}'
    )
    assert render(None, happened, OWN).endswith(f'"data":{{"n":{body},"list":["x",{body}],"s":"1e+16"}}}}')
    assert render({"n": "{n}", "l": "{list}"}, happened, OWN, format=Format.FORM).split("&") == [
        f"n={in_text}",
        "l%5B0%5D=x",
        f"l%5B1%5D={in_text}",
    ]


def test_floats_without_exponents_do_not_make_an_unlimited_text() -> None:
    """`1e+300` has six characters, and three hundred digits in text."""
    with pytest.raises(NotRenderedError, match="larger than 1048576 bytes"):
        render({"a": "{data}" * 50}, occurrence([1e300] * 500), OWN)


def test_the_digits_of_data_that_stays_at_home_are_not_sent() -> None:
    happened = occurrence({"n": 10.0}).model_copy(update={"digits": {"n": "10.00"}})

    assert render({"a": "{n}", "b": "<{n}>", "c": "{id}"}, happened, OWN, sends_json=False) == '{"b":"<>","c":"o-1"}'


@pytest.mark.parametrize("template", ["{id}", ["{id}"], 1, "{items}", "{nowhere}"])
def test_only_an_object_makes_a_form(template: JsonValue) -> None:
    with pytest.raises(NotRenderedError, match="object"):
        form(template)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        # EngageIP's payload: the object is left out
        (
            {"entity": "{entity}", "action": "{event}", "object": "{data}"},
            {"entity": "Order", "action": "OrderCreated"},
        ),
        (None, {"id": "o-1", "event": "OrderCreated", "occurred_at": "2026-01-02T03:04:05Z"}),
        ({"a": {"b": "{account.id}", "c": 1}, "d": ["{items}", "{id}", "{items.0}"]}, {"a": {"c": 1}, "d": ["o-1"]}),
        ({"a": "<{account.id}|{id}>"}, {"a": "<|o-1>"}),
        ({"a": "{nowhere}", "b": "{action}", "c": "{client_identifier}"}, {}),  # of ours, none is set
        ({"a": None, "b": "{{data}}"}, {"a": None, "b": "{data}"}),
    ],
)
def test_data_that_stays_at_home_is_left_out(template: JsonValue, expected: JsonValue) -> None:
    assert expected == json.loads(render(template, occurrence(), OWN, sends_json=False))


@pytest.mark.parametrize("format", Format)
@pytest.mark.parametrize("template", ["{data}", "{account}", "{data.id}"])
def test_a_body_that_is_all_data_is_empty_when_data_stays_at_home(template: str, format: Format) -> None:
    body = render(template, occurrence(), OWN, format=format, sends_json=False)

    assert body == ""
    assert content_type(Format.JSON, body) == ""  # nothing is no JSON, but it is an empty form
    assert content_type(Format.FORM, body) == "application/x-www-form-urlencoded"


def test_a_body_has_the_content_type_of_its_format() -> None:
    assert content_type(Format.JSON, "null") == "application/json"
    assert content_type(Format.FORM, "a=1") == "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("template", "known"),
    [
        ("no placeholder", []),
        ("{{braces}} }}{{", []),
        ("{id} {event} {occurred_at} {client_identifier} {owner_id} {user_id} {bulk} {data}", []),
        ("{tenant} {webhook_id} {delivery_id} {entity} {action} {eventName} {currentDateTime}", []),
        ("{{{account.id}}}", ["account"]),
        ("{data.account.id}{account}", ["account"]),
        ("{data.id}", ["id"]),
        ("{id.deeper}", []),  # null, as every path may be that leads nowhere in the end
        ({"{in a key": ["{account}", 1, None, {"a": True}]}, ["account"]),
        ("{anything.at.all} {data.or_this}", None),
        ("{Größe} {'order no'} {data.'@type'.'x y'} {'it''s'}", ["Größe", "order no", "@type", "it's"]),
    ],
)
def test_a_template_that_can_be_filled_is_accepted(template: JsonValue, known: Collection[str] | None) -> None:
    check_template(template, known)


@pytest.mark.parametrize(
    ("template", "path", "message"),
    [
        ("{", (), "brace"),
        ("}", (), "brace"),
        ("{}", (), "brace"),
        ("{ id }", (), "brace"),
        ("{{id}", (), "brace"),
        ("{id}}", (), "brace"),
        ("{0}", (), "brace"),
        ("{id.}", (), "brace"),
        ("{id!r}", (), "brace"),
        ("{order no}", (), "quote a name"),
        ("{@type}", (), "quote a name"),
        ("{'order no}", (), "brace"),
        ("{'order no'", (), "brace"),
        ("{'a'b}", (), "brace"),
        ("{'a''}", (), "brace"),
        ("{'nowhere at all'.x}", (), "named nowhere at all:"),
        ("{data.'a.b'}", (), "named a.b:"),
        ("{items[0]}", (), "brace"),
        ({"a": 1, "b": ["{id}", {"c": "{ id }"}]}, ("b", 1, "c"), "brace"),
        ({"a": ["{id}", "{nowhere.id}"]}, ("a", 1), "named nowhere:"),
        ("{account} and {acount.id}", (), "named acount:"),
        ("{data.nowhere}", (), "named nowhere:"),
        ("{data.eventName}", (), "named eventName:"),
        ("{data.id}", (), "named id:"),
        ("{data.data}", (), "named data:"),
        ("{Id}", (), "named Id:"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused(
    template: JsonValue, path: tuple[str | int, ...], message: str
) -> None:
    with pytest.raises(BadTemplateError, match=message) as caught:
        check_template(template, ["account", "items"])

    assert path == caught.value.path


def test_a_template_of_any_text_is_checked_fast() -> None:
    """Also one in which each brace may begin a name in quotes that the whole rest continues."""
    for text in ("{'", "{''", "{'''", "{'.'.'", "{a.'b'.", "{'a'.", "{{{'", "{'}"):
        started = time.process_time()
        with pytest.raises(BadTemplateError):
            check_template(text * 8_000 + "{", None)

        assert time.process_time() - started < 1


def test_where_no_data_is_known_none_can_be_named() -> None:
    with pytest.raises(BadTemplateError, match="named account:"):
        check_template("{account.id}", [])


def test_our_own_fields_are_the_occurrence_s_and_those_that_a_sender_adds() -> None:
    own = own_fields("t-1", "w-1", occurrence(), None, None)

    assert {*OCCURRENCE_FIELDS, *own} == OWN_FIELDS
    assert Occurrence.model_fields.keys() - OCCURRENCE_FIELDS == NOT_NAMED


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
    text = render(template, occurrence(data), OWN)

    assert has_shape(template, json.loads(text))
    assert text.encode().decode() == text


@given(json_values())
@settings(deadline=None)
def test_data_passes_unchanged(data: JsonValue) -> None:
    assert json.loads(render({"x": "{data}"}, occurrence(data), OWN)) == {"x": data}
    assert json.loads(render(None, occurrence(data), OWN))["data"] == data


@given(st.text() | st.text("{}a"))
@settings(deadline=None)
def test_text_with_doubled_braces_comes_out_as_it_was(text: str) -> None:
    escaped = text.replace("{", "{{").replace("}", "}}")

    check_template(escaped, [])
    assert text == rendered(escaped)


def leaves(value: JsonValue, *path: str | int) -> Iterator[tuple[str, str]]:
    match value:
        case dict():
            for key, inner in value.items():
                yield from leaves(inner, *path, key)
        case list():
            for index, inner in enumerate(value):
                yield from leaves(inner, *path, index)
        case _:
            name = f"{path[0]}" + "".join(f"[{step}]" for step in path[1:])
            yield name, value if isinstance(value, str) else "" if value is None else plain(value)


def plain(value: JsonValue) -> str:
    return f"{Decimal(repr(value)):f}" if isinstance(value, float) else json.dumps(value)


def nodes(value: JsonValue, name: str) -> Iterator[str]:
    yield name
    if isinstance(value, dict | list):
        for step, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from nodes(inner, f"{name}[{step}]")


@given(st.dictionaries(KEYS | st.sampled_from(["a[0]", "a[a]", "b[a]"]), json_values(), max_size=4))
@settings(deadline=None)
def test_a_form_parses_back_into_exactly_the_document_s_leaves(document: dict[str, JsonValue]) -> None:
    names = [name for key, value in document.items() for name in nodes(value, key)]
    if len(names) > len(set(names)):
        with pytest.raises(NotRenderedError, match="two parameters"):
            form("{data}", document)
    else:
        assert list(leaves(document)) == form("{data}", document)


ODD = st.floats() | st.integers(10**4999, 10**5001) | st.text(st.characters(), max_size=3)


@given(
    json_values() | st.dictionaries(KEYS, ODD) | st.lists(ODD),
    json_values() | st.dictionaries(KEYS, ODD) | st.lists(ODD),
    st.sampled_from(Format),
    st.booleans(),
)
@settings(deadline=None)
def test_whatever_it_is_given_it_renders_or_says_why_not(
    template: JsonValue, data: JsonValue, format: Format, sends_json: bool
) -> None:
    try:
        text = render(template, occurrence(data), OWN, format=format, sends_json=sends_json)
    except NotRenderedError as error:
        assert str(error)
    else:
        assert len(text.encode()) <= MAX_BODY_BYTES


@pytest.mark.parametrize("format", Format)
def test_a_template_that_is_too_deep_is_refused(format: Format) -> None:
    template: JsonValue = "{id}"
    for _ in range(5_000):
        template = {"a": template}

    with pytest.raises(NotRenderedError, match="recursion"):
        render(template, occurrence(), OWN, format=format)


@given(json_values(), st.sampled_from(Format))
@settings(deadline=None)
def test_of_data_that_stays_at_home_nothing_is_sent(template: JsonValue, format: Format) -> None:
    data: JsonValue = {"a": ["canary-1"], "b": {"c": "canary-2"}, "action": "canary-3", "nowhere": {"x": "canary-4"}}
    try:
        text = render(template, occurrence(data), OWN, format=format, sends_json=False)
    except NotRenderedError:
        return

    assert "canary" not in text
