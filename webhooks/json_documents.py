"""Reading JSON (RFC 8259): the one parser for the bodies of our API and for the catalogue import, which reads YAML by
the same rules (`events/yaml_documents.py`). Pure.

A byte order mark is ignored. Refused, each with its place: a member name that occurs twice, a number that is not finite
or has more than 1000 characters, half of a surrogate pair, and more than MAX_LEVELS levels.
"""

import json
import math
import re
from collections import Counter
from typing import Any

from webhooks.errors import WebhooksError
from webhooks.json_numbers import read_float, read_integer
from webhooks.json_pointer import json_pointer

MAX_LEVELS = 100
"""Steps from the root to the deepest value."""
_MAX_POINTER = 500
"""Characters of a JSON pointer in an error."""
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[][{}]')
_TWICE = object()
"""The value of a repeated key, until `check` refuses it with its path."""

Path = tuple[str | int, ...]


class DocumentError(WebhooksError, ValueError):
    """The document cannot be read. `pointer` is a JSON pointer to the place, '' for the root; it is cut if too long."""

    def __init__(self, message: str, path: Path = ()) -> None:
        super().__init__(message)
        while len(json_pointer(path)) > _MAX_POINTER:
            path = path[:-1]
        self.pointer = json_pointer(path)


class MalformedJsonError(DocumentError):
    """The text is not JSON at all."""


def decode(content: bytes) -> str:
    """Return the text without its byte order mark. Raises DocumentError."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError(f"not UTF-8: byte {error.start + 1} of {len(content)} is wrong") from None


def parse(text: str) -> Any:
    """Return the JSON value that the text holds. Numbers keep their digits: json_numbers.py. Raises DocumentError."""
    try:
        document = json.loads(text, object_pairs_hook=object_of, parse_int=read_integer, parse_float=read_float)
    except json.JSONDecodeError as error:
        raise MalformedJsonError(f"{error.msg}, line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise DocumentError(f"nested too deep: more than {MAX_LEVELS} levels, {_too_deep_at(text)}") from None
    # Only an escape makes a surrogate. Most documents are sound, and `check` takes ten times as long to see it.
    if "\\ud" in text or "\\uD" in text or not _is_sound(document):
        check(document)
    return document


def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object with these members. `check` refuses it if two have the same name."""
    found = dict(pairs)
    if len(found) < len(pairs):
        found |= {key: _TWICE for key, times in Counter(key for key, _ in pairs).items() if times > 1}
    return found


def check(value: object, path: Path = ()) -> None:
    """Raise DocumentError if the document contains anything that is refused."""
    if len(path) > MAX_LEVELS:
        raise DocumentError(f"nested too deep: more than {MAX_LEVELS} levels", path)
    match value:
        case dict():
            for key, inner in value.items():
                check(key, path)
                check(inner, (*path, key))
        case list():
            for index, inner in enumerate(value):
                check(inner, (*path, index))
        case float() if not math.isfinite(value):
            raise DocumentError("the number is too large, infinite or not a number", path)
        case str() if half := _SURROGATE.search(value):
            found = f"\\u{ord(half[0]):x}, character {half.start() + 1}"
            raise DocumentError(f"the text contains a lone surrogate, half of a pair: {found}", path)
        case _ if value is _TWICE:
            raise DocumentError("the key occurs twice in its object", path)


def _is_sound(document: object) -> bool:
    """Return whether `check` would find nothing, surrogates aside."""
    level = [document]
    for _ in range(MAX_LEVELS + 1):
        deeper: list[object] = []
        for value in level:
            if isinstance(value, dict):
                deeper.extend(value.values())
            elif isinstance(value, list):
                deeper.extend(value)
            elif value is _TWICE or (isinstance(value, float) and not math.isfinite(value)):
                return False
        if not deeper:
            return True
        level = deeper
    return False


def _too_deep_at(text: str) -> str:
    level = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        if found[0] in "[{":
            level += 1
        elif found[0] in "]}":
            level -= 1
        if level > MAX_LEVELS:
            line = text.count("\n", 0, found.start()) + 1
            return f"line {line}, column {found.start() - text.rfind(chr(10), 0, found.start())}"
    raise AssertionError("the text is not nested that deep")
