"""Numbers of JSON with the digits that their producer wrote. Pure.

Python reads `10.00`, `1e5` and `0.123456789012345678` as floats, and writes a float in its own way. For such numbers
`read_float` and `read_integer`, the hooks of a JSON parser, return an ExactNumber: a float that knows its digits.
pydantic and Temporal make plain floats of them, so `digits_in` collects the digits in a tree that has the shape of the
document: `{"order": {"total": "10.00"}}`, and for a list `[null, "1e5"]`. `with_digits` puts them back.
"""

import json
import math
import re
from collections.abc import Callable

from pydantic import JsonValue

MAX_NUMBER_LENGTH = 1000
"""Characters of a number. A longer one costs time to read, and Python reads no integer of more than 4,300 digits."""

_NUMBER = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([-+]?[0-9]+))?")


class ExactNumber(float):
    """A float that knows the digits that it was read from."""

    __slots__ = ("digits",)
    digits: str

    def __new__(cls, digits: str) -> "ExactNumber":
        number = super().__new__(cls, digits)
        number.digits = digits
        return number


_MAY_BE_EXACT = frozenset((dict, list, ExactNumber))
_MAY_BE_FLOAT = _MAY_BE_EXACT | {float}
"""Types. Every publication is looked through, so it must be fast."""


def read_float(text: str) -> float:
    """Return the number: an ExactNumber if a float would not write the same digits. Hook `parse_float` of `json`.

    Infinity stands for a number that is too long or too large; the caller refuses it."""
    if len(text) > MAX_NUMBER_LENGTH:
        return math.inf
    number = float(text)
    return number if repr(number) == text or math.isinf(number) else ExactNumber(text)


def read_integer(text: str) -> int | float:
    """Return the number. Hook `parse_int` of `json`. Infinity stands for a number that is too long."""
    if len(text) > MAX_NUMBER_LENGTH:
        return math.inf
    return ExactNumber(text) if text == "-0" else int(text)


def digits_in(value: object) -> JsonValue:
    """Return the digits of the exact numbers in a parsed document; None if there are none."""
    if isinstance(value, ExactNumber):
        return value.digits
    if isinstance(value, dict):
        members: dict[str, JsonValue] = {}
        for name, part in value.items():
            if type(part) in _MAY_BE_EXACT and (digits := digits_in(part)) is not None:
                members[name] = digits
        return members or None
    items: list[JsonValue] = []
    if isinstance(value, list):
        for index, part in enumerate(value):
            if type(part) in _MAY_BE_EXACT and (digits := digits_in(part)) is not None:
                items += [None] * (index - len(items))
                items.append(digits)
    return items or None


def with_digits(value: JsonValue, digits: JsonValue) -> JsonValue:
    """Return the value with an ExactNumber wherever there are digits. Parts without digits are not copied."""
    match value, digits:
        case dict(), dict():
            return value | {name: with_digits(value[name], part) for name, part in digits.items() if name in value}
        case list(), list():
            return [*map(with_digits, value, digits), *value[len(digits) :]]
        case ((int() | float()), str()):
            return ExactNumber(digits)
    return value


def to_json(value: JsonValue, number: Callable[[int | float], str], *, canonical: bool = False) -> str:
    """Return the value as compact JSON, with each number written by `number`. `canonical`: in ASCII, and sorted by the
    names of members.

    Slower than `json.dumps`, which cannot write the digits of an ExactNumber. Raises ValueError for a number that JSON
    does not have."""
    match value:
        case dict():
            members = sorted(value.items()) if canonical else value.items()
            inner = (
                f"{json.dumps(name, ensure_ascii=canonical)}:{to_json(part, number, canonical=canonical)}"
                for name, part in members
            )
            return "{" + ",".join(inner) + "}"
        case list():
            return "[" + ",".join(to_json(part, number, canonical=canonical) for part in value) + "]"
        case float() if math.isfinite(value):
            return number(value)
        case int() if not isinstance(value, bool):
            return number(value)
        case _:
            return json.dumps(value, ensure_ascii=canonical, allow_nan=False)


def has_float(value: JsonValue) -> bool:
    """Return whether a float is in the value."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            if type(part) in _MAY_BE_FLOAT and has_float(part):
                return True
        return False
    return isinstance(value, float)


def as_written(number: int | float) -> str:
    """Return the digits that the number was read from; else those that JSON gets from Python."""
    return number.digits if isinstance(number, ExactNumber) else repr(number)


def without_exponent(number: int | float) -> str:
    """Return the digits that the number was read from; else its decimal digits, without Python's exponent (`1e+16`)."""
    if isinstance(number, ExactNumber):
        return number.digits
    text = repr(number)
    return text if "e" not in text else by_value(number)


def by_value(number: int | float) -> str:
    """Return a text that is the same for numbers of the same decimal value: `10`, `10.0` and `1e1` are `10`."""
    parsed = _NUMBER.fullmatch(as_written(number))
    if parsed is None:  # infinite, or not a number
        return repr(number)
    sign, whole, fraction, exponent = parsed.groups(default="")
    all_digits = (whole + fraction).lstrip("0")
    digits = all_digits.rstrip("0")
    power = int(exponent or 0) - len(fraction) + len(all_digits) - len(digits)
    if not digits:
        return "0"
    if abs(power) > MAX_NUMBER_LENGTH:  # written out, a short number could become a very long one
        return f"{sign}{digits}e{power}"
    if power >= 0:
        return sign + digits + "0" * power
    digits = digits.rjust(1 - power, "0")
    return f"{sign}{digits[:power]}.{digits[power:]}"
