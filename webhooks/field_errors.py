"""What is wrong with a field, in words for the person who wrote it, instead of pydantic's. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

from webhooks import characters

_WHOLE_NUMBER = "must be a whole number"
_NUMBER = "must be a number"
_BOOLEAN = "must be true or false"
_OBJECT = "must be an object"
_LIST = "must be a list"
_QUOTE = "'"

_WORDS = {
    "missing": "is required",
    "extra_forbidden": "there is no such field, or it cannot be changed",
    "string_type": "must be a string",
    "int_type": _WHOLE_NUMBER,
    "int_parsing": _WHOLE_NUMBER,
    "int_from_float": _WHOLE_NUMBER,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "bool_type": _BOOLEAN,
    "bool_parsing": _BOOLEAN,
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "none_required": "must be null",
    "union_tag_not_found": "`type` is required",
}
"""By pydantic's type of error."""


def _at_least(number: int, noun: str) -> str:
    return "must not be empty" if number == 1 else f"must have at least {number} {noun}"


_BOUNDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "string_too_short": lambda bound: _at_least(bound["min_length"], "characters"),
    "string_too_long": lambda bound: f"must have at most {bound['max_length']} characters",
    "too_short": lambda bound: _at_least(bound["min_length"], "items"),
    "too_long": lambda bound: f"must have at most {bound['max_length']} items",
    "greater_than": lambda bound: f"must be greater than {_written(bound['gt'])}",
    "greater_than_equal": lambda bound: f"must be at least {_written(bound['ge'])}",
    "less_than": lambda bound: f"must be less than {_written(bound['lt'])}",
    "less_than_equal": lambda bound: f"must be at most {_written(bound['le'])}",
    "enum": lambda bound: f"must be {bound['expected']}",
    "union_tag_invalid": lambda bound: f"the type must be one of: {bound['expected_tags'].replace(_QUOTE, '')}",
    "literal_error": lambda bound: f"must be {bound['expected']}",
}


def told(error: Mapping[str, Any]) -> str:
    """Return what is wrong, of an error as pydantic tells it. It does not repeat the input, which may be a secret."""
    type, bound = error.get("type", ""), error.get("ctx", {})
    if type == "string_pattern_mismatch":
        return characters.mismatch(bound["pattern"], error["input"])
    if type in _BOUNDS:
        return _BOUNDS[type](bound)
    return _WORDS.get(type) or str(error["msg"]).removeprefix("Value error, ").replace("Input should", "must")


def _written(number: float) -> str:
    return str(number).removesuffix(".0")
