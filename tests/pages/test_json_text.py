"""What was sent is laid out, and nothing of it is changed."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.pages.json_text import MAX_CHARACTERS, laid_out

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
@given(VALUES, st.booleans())
def test_it_means_the_same(value: object, in_ascii: bool) -> None:
    text = laid_out(json.dumps(value, ensure_ascii=in_ascii))

    assert text is not None
    assert json.loads(text) == value
    assert laid_out(text) == text


def test_lines_and_indentation_are_those_of_python() -> None:
    value = {"account": {"id": 10045, "tags": ["a", "b"]}, "empty": [{}, []], "text": 'a "b", {c}: [d]'}

    assert laid_out(json.dumps(value)) == json.dumps(value, indent=2)


@pytest.mark.parametrize("number", ["10.00", "1E5", "-0", "0.1234567890123456789", "9" * 5_000, "1e999"])
def test_numbers_keep_their_digits(number: str) -> None:
    assert laid_out(f'{{"n":{number}}}') == f'{{\n  "n": {number}\n}}'


def test_a_member_that_is_there_twice_is_shown_twice() -> None:
    assert laid_out('{"a":1,"a":2}') == '{\n  "a": 1,\n  "a": 2\n}'


def test_letters_are_shown_instead_of_escapes_but_nothing_that_cannot_be_seen() -> None:
    assert laid_out(r'"\u5c71\ud83d\ude00"') == '"山😀"'
    for escaped in (r'"\ud800"', r'"\u202e"', r'"\u0000"'):
        assert laid_out(escaped) == escaped


@pytest.mark.parametrize(
    "text", ["", "no JSON", "{", '{"a":1', "a=1&b=2", "[" * 90_000, "[" * 400 + "1," * 7_500 + "1" + "]" * 400]
)
def test_what_is_no_json_or_would_grow_without_bounds_is_not_laid_out(text: str) -> None:
    assert laid_out(text) is None


def test_the_largest_is_laid_out_and_a_larger_one_is_not() -> None:
    largest = '"' + "x" * (MAX_CHARACTERS - 2) + '"'

    assert laid_out(largest) == largest
    assert laid_out(largest + " ") is None
