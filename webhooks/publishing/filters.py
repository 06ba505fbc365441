"""Filters: a JSON pattern that selects the occurrences that a webhook receives. Pure.

A pattern is an object. All its members must hold. A member's name is a field, and its value is a pattern for the
field's value, or a literal that must equal it: `{"data": {"total": {"$gte": 100}, "country": "TR"}}`. A name that
begins with `$` is an operator on the current value: `$eq`, `$in`, `$exists`, `$prefix`, `$gt`, `$gte`, `$lt`, `$lte`,
`$not`, `$and`, `$or`. So `{}` always holds. A field whose name begins with `$` can be compared only inside the operand
of `$eq` or `$in`.

Equality is that of JSON: 1 equals 1.0 but not true; objects and lists are compared deeply. Numbers are ordered, and
strings are ordered by code point; a range does not hold for any other value. A missing field equals nothing, not even
null. Only `$not` and `{"$exists": false}` hold for it. A value that is not an object has no fields.

`occurred_at` is a time: its operands are times as in RFC 3339, and moments are compared, not texts. Only its `$prefix`
is one of the text in UTC: `2026-01` means January. Times in `data` are text like any other.

A literal, `$eq`, `$in`, `$prefix` or a range holds for a list if it holds for the list itself or for any of its
elements; several conditions may hold for different elements. The fields of one pattern must all hold for the same
element; for an empty list they do not hold. A list inside the list is an element: its own elements are not looked at.
"""

import json
import operator
import re
from collections.abc import Callable
from typing import Any

from pydantic import JsonValue

from webhooks.contracts import NOT_NAMED, OCCURRENCE_FIELDS, Occurrence
from webhooks.errors import WebhooksError
from webhooks.json_pointer import json_pointer
from webhooks.times import parse_time, sortable

MAX_FILTER_BYTES = 16 * 1024
MAX_NESTING = 20
"""Levels of objects and lists, including those of operands and literals."""
MAX_STEPS = 50_000
"""Comparisons for one filter and one occurrence."""
MAX_CONDITIONS = 200
"""Operators, literals, and alternatives of `$in`. Each may be compared with every value of an occurrence."""

_TIME = "occurred_at"
_SORTABLE = "0000-00-00T00:00:00.000000Z"
"""How `sortable` writes a time: a digit for each 0."""

_TOP = (*OCCURRENCE_FIELDS, "$and", "$or", "$not")

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}

_Operand = tuple[str, Callable[[JsonValue], bool]]
_ANYTHING: _Operand = "anything", lambda _: True
_BOOLEAN: _Operand = "true or false", lambda operand: isinstance(operand, bool)
_STRING: _Operand = "a string", lambda operand: isinstance(operand, str)
_ORDERED: _Operand = "a number or a string", lambda operand: isinstance(operand, str) or _is_number(operand)
_LIST: _Operand = "a list that is not empty", lambda operand: isinstance(operand, list) and operand != []
_OPERATORS = {
    "$eq": _ANYTHING,
    "$in": _LIST,
    "$exists": _BOOLEAN,
    "$prefix": _STRING,
    "$gt": _ORDERED,
    "$gte": _ORDERED,
    "$lt": _ORDERED,
    "$lte": _ORDERED,
    "$not": _ANYTHING,
    "$and": _LIST,
    "$or": _LIST,
}


class NotAFilterError(WebhooksError, ValueError):
    """The filter is not valid. The message says why; `pointer` is a JSON pointer into the filter."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(message)
        self.pointer = pointer


def fields_of(occurrence: Occurrence) -> dict[str, JsonValue]:
    """Return the fields that a filter can name."""
    return {**occurrence.model_dump(mode="json", exclude={*NOT_NAMED}), _TIME: sortable(occurrence.occurred_at)}


def check_filter(filter: JsonValue) -> None:
    """Raise NotAFilterError if the filter is not valid or too large."""
    if _nested_deeper(filter, MAX_NESTING):
        raise NotAFilterError("", f"nested more than {MAX_NESTING} levels deep")
    try:
        text = json.dumps(filter, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except ValueError:  # NaN, or a lone surrogate
        raise NotAFilterError("", "not JSON") from None
    if len(text) > MAX_FILTER_BYTES:
        raise NotAFilterError("", f"larger than {MAX_FILTER_BYTES} bytes")
    if _conditions(filter, "", object_only=True, top=True) > MAX_CONDITIONS:
        raise NotAFilterError("", f"more than {MAX_CONDITIONS} conditions")


def mismatch(filter: dict[str, JsonValue], occurrence: dict[str, JsonValue]) -> str | None:
    """Return None if the filter holds, else the JSON pointer to its first condition that does not hold.

    The filter must have passed `check_filter`, and the occurrence must come from `fields_of`. `$or`, `$not`, and a
    pattern of fields on a list count as one condition. A filter that would take more than MAX_STEPS comparisons does
    not hold; the pointer is then empty."""
    return _Evaluation().mismatch(_with_sortable_times(filter), occurrence)


def _conditions(
    pattern: JsonValue, at: str, *, object_only: bool = False, top: bool = False, time: bool = False
) -> int:
    """Return how many conditions the pattern has. `top`: the pattern is for the occurrence itself. `time`: it is for
    the time of the occurrence.

    Raises NotAFilterError."""
    if not isinstance(pattern, dict):
        if object_only:
            raise NotAFilterError(at, "a pattern must be an object")
        if time:
            _check_time(pattern, at)
        return 1
    count = 0
    for key, operand in pattern.items():
        here = at + json_pointer([key])
        if top and key not in _TOP:
            raise NotAFilterError(here, f"an occurrence has no such field; use one of: {', '.join(_TOP)}")
        if not _is_operator(key):
            if time:
                raise NotAFilterError(here, f"{_TIME} is a time, which has no fields")
            count += _conditions(operand, here, time=top and key == _TIME)
            continue
        if key not in _OPERATORS:
            raise NotAFilterError(here, f"the operators are {', '.join(_OPERATORS)}")
        takes, fits = _OPERATORS[key]
        if not fits(operand):
            raise NotAFilterError(here, f"{key} takes {takes}")
        if time and key == "$prefix" and not _begins_a_time(str(operand)):
            raise NotAFilterError(here, "must be the beginning of a time in UTC, for example 2026-01-31T09")
        if time and key in ("$eq", *_ORDER):
            _check_time(operand, here)
        count += 1
        match key, operand:
            case "$in", list():
                count += len(operand)
                for index, alternative in enumerate(operand if time else ()):
                    _check_time(alternative, f"{here}/{index}")
            case "$not", _:
                count += _conditions(operand, here, object_only=top, top=top, time=time)
            case "$and" | "$or", list():
                for index, inner in enumerate(operand):
                    count += _conditions(inner, f"{here}/{index}", object_only=True, top=top, time=time)
    return count


def _check_time(operand: JsonValue, at: str) -> None:
    try:
        parse_time(operand if isinstance(operand, str) else "")
    except ValueError as error:
        raise NotAFilterError(at, str(error)) from None


def _begins_a_time(text: str) -> bool:
    digits = re.sub("[0-9]", "0", text)
    return _SORTABLE.startswith(digits)


def _with_sortable_times(pattern: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the pattern with the operands of `occurred_at` written as `fields_of` writes the time."""
    result: dict[str, JsonValue] = {}
    for key, operand in pattern.items():
        match key, operand:
            case (("$and" | "$or"), list()):
                result[key] = [_with_sortable_times(inner) for inner in operand if isinstance(inner, dict)]
            case "$not", dict():
                result[key] = _with_sortable_times(operand)
            case _:
                result[key] = _sortable_times(operand) if key == _TIME else operand
    return result


def _sortable_times(operand: JsonValue) -> JsonValue:
    if isinstance(operand, dict):
        return {key: inner if key == "$prefix" else _sortable_times(inner) for key, inner in operand.items()}
    if isinstance(operand, list):
        return [_sortable_times(inner) for inner in operand]
    if not isinstance(operand, str):
        return operand
    try:
        return sortable(parse_time(operand))
    except ValueError:  # stored before operands had to be times
        return operand


class _Missing:
    """The value of a field that does not exist."""


_MISSING = _Missing()


class _TooLongError(WebhooksError):
    """The evaluation needs more than MAX_STEPS comparisons."""


class _Evaluation:
    """The evaluation of one filter for one occurrence. Counts comparisons: conditions times values may be millions,
    and other requests wait meanwhile."""

    def __init__(self) -> None:
        self._steps = 0

    def mismatch(self, pattern: JsonValue, found: JsonValue) -> str | None:
        try:
            return self._mismatch(pattern, found)
        except _TooLongError:
            return ""

    def _mismatch(self, pattern: JsonValue, found: JsonValue | _Missing) -> str | None:
        if not isinstance(pattern, dict):
            return None if self._any_holds("$eq", pattern, found) else ""
        if not isinstance(found, list):
            return self._first_mismatch(pattern, found)
        operators = {key: operand for key, operand in pattern.items() if _is_operator(key)}
        fields = {key: inner for key, inner in pattern.items() if not _is_operator(key)}
        if fields and not any(self._first_mismatch(fields, element) is None for element in found):
            return ""
        return self._first_mismatch(operators, found)

    def _first_mismatch(self, members: dict[str, JsonValue], found: JsonValue | _Missing) -> str | None:
        for key, operand in members.items():
            if _is_operator(key):
                where = self._operator_mismatch(key, operand, found)
            else:
                where = self._mismatch(operand, found.get(key, _MISSING) if isinstance(found, dict) else _MISSING)
            if where is not None:
                return json_pointer([key]) + where
        return None

    def _operator_mismatch(self, name: str, operand: JsonValue, found: JsonValue | _Missing) -> str | None:
        match name, operand:
            case "$and", list():
                for index, pattern in enumerate(operand):
                    if (where := self._mismatch(pattern, found)) is not None:
                        return f"/{index}{where}"
                return None
            case "$or", list():
                holds = any(self._mismatch(pattern, found) is None for pattern in operand)
            case "$not", _:
                holds = self._mismatch(operand, found) is not None
            case "$exists", _:
                holds = operand is not isinstance(found, _Missing)
            case _:
                holds = self._any_holds(name, operand, found)
        return None if holds else ""

    def _any_holds(self, name: str, operand: JsonValue, found: JsonValue | _Missing) -> bool:
        if isinstance(found, _Missing):
            return False
        values = 1 + (len(found) if isinstance(found, list) else 0)
        self._steps += values * (len(operand) if name == "$in" and isinstance(operand, list) else 1)
        if self._steps > MAX_STEPS:
            raise _TooLongError
        if _holds(name, operand, found):
            return True
        return isinstance(found, list) and any(_holds(name, operand, element) for element in found)


def _holds(name: str, operand: JsonValue, value: JsonValue) -> bool:
    match name, operand:
        case "$eq", _:
            return _equal(operand, value)
        case "$in", list():
            # Python's `in` is several times as fast and differs only in that true equals 1: it excludes most values.
            return value in operand and any(_equal(alternative, value) for alternative in operand)
        case "$prefix", str():
            return isinstance(value, str) and value.startswith(operand)
        case _, str():
            return isinstance(value, str) and _ORDER[name](value, operand)
        case _:
            return _is_number(value) and _ORDER[name](value, operand)


def _equal(one: JsonValue, other: JsonValue) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return isinstance(one, bool) is isinstance(other, bool) and one == other


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_operator(key: str) -> bool:
    return key.startswith("$")


def _nested_deeper(value: JsonValue, limit: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return limit == 0 or any(_nested_deeper(each, limit - 1) for each in inner)
