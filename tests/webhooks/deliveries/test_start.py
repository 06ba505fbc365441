import hashlib
import json
from datetime import UTC, datetime

import pytest
from pydantic import JsonValue

from webhooks.contracts import Occurrence
from webhooks.deliveries.start import Digest, digest_of
from webhooks.json_numbers import digits_in, read_float, read_integer


def published(text: str, **fields: str) -> Occurrence:
    """An occurrence with this JSON as its data, as the API makes it."""
    data: JsonValue = json.loads(text, parse_float=read_float, parse_int=read_integer)
    plain: JsonValue = json.loads(json.dumps(data))
    at = datetime.now(UTC)
    return Occurrence(id="o-1", event="E", occurred_at=at, data=plain, digits=digits_in(data), **fields)


def digest(text: str) -> Digest:
    return digest_of(published(text))


def is_repetition(first: str, second: str) -> bool:
    memo = digest(first)
    return digest(second).matches(memo.text, memo.exact)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('{"a": 10}', '{"a": 10.0}'),
        ('{"a": 10.0}', '{"a": 10}'),
        ('{"a": 10.00}', '{"a": 1e1}'),
        ('{"a": [0.5, {"b": 1.50}]}', '{"a": [5e-1, {"b": 1.5}]}'),
        ('{"a": 0.123456789012345678}', '{"a": 0.1234567890123456780}'),
        ('{"a": 0, "ü": "ü"}', '{"ü": "\\u00fc", "a": -0}'),
        ('{"n": 1.0, "text": "Größe"}', '{"n": 1, "text": "Größe"}'),
        ('"1.5"', '"1.5"'),
        ("1.5", "1.5"),
    ],
)
def test_numbers_of_the_same_value_are_a_repetition(first: str, second: str) -> None:
    assert is_repetition(first, second)
    assert is_repetition(second, first)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("0.123456789012345678", "0.123456789012345679"),
        ("0.12345678901234568", "0.123456789012345678"),
        ("9007199254740992.0", "9007199254740993.0"),
        ("9007199254740992", "9007199254740993.0"),
        ("1e-400", "0"),
        ('"1.5"', "1.5"),
        ("1", "true"),
        ("1.0", "true"),
        ('{"a": 1.5}', '{"b": 1.5}'),
    ],
)
def test_numbers_of_other_values_are_other_content(first: str, second: str) -> None:
    assert not is_repetition(first, second)
    assert not is_repetition(second, first)


@pytest.mark.parametrize(
    "text",
    ["{}", '{"a": 1.5, "b": "ü"}', "10.00", "0.123456789012345678", '{"a": [1e5, 1e16, 1e-7]}', "12345678901234567890"],
)
def test_what_an_older_version_published_is_a_repetition(text: str) -> None:
    """It knew no digits, and its memo has the digest of JSON as Python writes it."""
    content = {"event": "E", "client_identifier": None, "data": json.loads(text)}
    old = hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    assert digest(text).matches(old, None)
    assert digest(text).text == old  # an older version that runs beside this one still compares


def test_the_digest_of_an_older_version_is_the_one_it_stored() -> None:
    stored = "a87cb3df8b15832b9c3048a32f444244ad11c194f2a861a1842f078eaecf0874"

    assert digest('{"a": 1.5, "b": [1, "\\u00fc"]}').text == stored


@pytest.mark.parametrize("text", ["{}", '{"a": 1}', '{"at": "2026-01-02T03:04:05.678Z", "price": "1.50"}'])
def test_data_without_floats_needs_no_second_digest(text: str) -> None:
    assert digest(text).exact is None


def test_an_occurrence_without_digits_is_compared_by_the_value_of_its_floats() -> None:
    at = datetime.now(UTC)
    one, other = (Occurrence(id="o", event="E", occurred_at=at, data={"a": value}) for value in (10.0, 10))
    memo = digest_of(one)

    assert digest_of(other).matches(memo.text, memo.exact)
