import json
import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from webhooks import json_numbers
from webhooks.json_numbers import ExactNumber, as_written, by_value, digits_in, has_float, read_float, read_integer

CANONICAL = [
    "0.123456789012345678", "123456789.123456789123456789", "10.00", "1e5", "1E5", "1E+5", "1e-7", "-0", "0.0", "-0.0",
    "0e5", "1.0", "1.10", "9007199254740993.0", "100000000000000000000.0", "1e16", "1e+16", "5e-324", "1e-400", "1.5",
    "12345678901234567890", "0.1", "-17", "1.7976931348623157e308", "0.30000000000000004", "3.141592653589793238462643",
]  # fmt: skip


def parsed(text: str) -> JsonValue:
    value: JsonValue = json.loads(text, parse_float=read_float, parse_int=read_integer)
    return value


def stored(value: JsonValue) -> JsonValue:
    """What Temporal gives back: plain floats."""
    copy: JsonValue = json.loads(json.dumps(value))
    return copy


@pytest.mark.parametrize("text", CANONICAL)
def test_a_number_keeps_its_digits_through_storage(text: str) -> None:
    document = f'{{"a":[1,{{"b":{text}}},"x"],"c":{text}}}'
    value = parsed(document)
    again = json_numbers.with_digits(stored(value), digits_in(value))

    assert json_numbers.to_json(again, as_written) == document


@pytest.mark.parametrize(
    ("document", "digits"),
    [
        ('{"a": 1.5, "b": [1, 2.25, null, "1e5"], "c": 1e+16}', None),
        ("10.00", "10.00"),
        ('{"order": {"total": 10.00, "count": 2}}', {"order": {"total": "10.00"}}),
        ("[1, [2, 1e5, 3], 4]", [None, [None, "1e5"]]),
        ('{"a/b": {"~": 1E0}, "": [-0]}', {"a/b": {"~": "1E0"}, "": ["-0"]}),
    ],
)
def test_digits_are_a_tree_with_the_numbers_that_python_writes_in_another_way(document: str, digits: JsonValue) -> None:
    assert digits_in(parsed(document)) == digits


def test_digits_of_a_long_list_under_a_long_name_stay_small() -> None:
    """A JSON pointer for each number would repeat the name a thousand times."""
    document = json.dumps({"k" * 10_000: [0] * 1_000}).replace("0,", "1e15,")
    digits = digits_in(parsed(document))

    assert len(json.dumps(digits)) < 2 * len(document)


@pytest.mark.parametrize(
    "digits", ["1.0", {"b": "2.0"}, {"a": "2.0"}, {"a": ["2.0", "3.0"]}, ["1.0"], {"a": {"x": "1"}}]
)
def test_digits_that_fit_no_number_change_nothing(digits: JsonValue) -> None:
    value: JsonValue = {"a": ["text"]}

    assert json_numbers.with_digits(value, digits) == value


@pytest.mark.parametrize("digits", [1_000, 1_001, 10_000, 1_000_000])
@pytest.mark.parametrize("shape", ["{}", "0.{}", "-{}", "1.{}e5"])
def test_a_number_of_very_many_digits_is_read_as_infinite_at_no_cost(shape: str, digits: int) -> None:
    text = shape.format("7" * (digits - len(shape) + 2))
    started = time.process_time()
    value = parsed(text)
    seconds = time.process_time() - started

    assert (value == float("inf")) is (digits > 1_000)
    assert seconds < 0.1


@pytest.mark.parametrize("text", ["1e999999", "-1e309", "1e99999999999999999999"])
def test_a_number_that_is_too_large_is_infinite(text: str) -> None:
    assert abs(read_float(text)) == float("inf")


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ("10", "10 10.0 10.00 1e1 1E+1 100e-1 1000.0E-2"),
        ("0", "0 -0 0.0 -0.0 0e999999 0.000e-5"),
        ("-0.5", "-0.5 -0.50 -5e-1 -.5e0".replace("-.5e0", "-0.05e1")),
        ("0.123456789012345678", "0.123456789012345678 123456789012345678e-18 0.1234567890123456780"),
        ("9007199254740993", "9007199254740993 9007199254740993.0 9.007199254740993e15"),
        ("100000000000000000000000", "1e23 100000000000000000000000 1.0e+23"),
        ("1e-999999", "1e-999999 10e-1000000 0.1e-999998"),
    ],
)
def test_numbers_of_one_value_have_one_text(value: str, texts: str) -> None:
    assert {by_value(parsed(text)) for text in texts.split()} == {value}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0.123456789012345678", "0.123456789012345679"),
        ("9007199254740993.0", "9007199254740992.0"),
        ("1e-400", "1e-401"),
        ("1e-400", "0"),
        ("1e5", "-1e5"),
        ("1e-999999", "1e-999998"),
    ],
)
def test_numbers_of_different_values_have_different_texts(one: str, other: str) -> None:
    assert by_value(parsed(one)) != by_value(parsed(other))  # type: ignore[arg-type]


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_the_text_by_value_is_the_value(number: float) -> None:
    assert Decimal(by_value(number)) == Decimal(repr(number))
    assert "e" not in json_numbers.without_exponent(number)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**300), max_value=10**300).map(str))
def test_any_decimal_keeps_its_digits(text: str) -> None:
    value = parsed(text)

    assert as_written(value) == text  # type: ignore[arg-type]
    assert isinstance(value, ExactNumber) or repr(value) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_without_digits_json_is_as_python_writes_it(value: JsonValue) -> None:
    compact = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))

    assert json_numbers.to_json(value, as_written) == compact
    assert json_numbers.to_json(value, as_written, canonical=True) == canonical


@given(JSON)
def test_a_float_is_found_wherever_it_is(value: JsonValue) -> None:
    assert has_float(value) is ("float" in str(type_names(value)))


def type_names(value: JsonValue) -> object:
    match value:
        case dict():
            return [*map(type_names, value.values())]
        case list():
            return [*map(type_names, value)]
    return type(value).__name__
