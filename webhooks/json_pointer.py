"""JSON pointers (RFC 6901): where something stands in a JSON document. Pure."""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from pydantic import JsonValue

_INDEX = re.compile(r"[0-9]{1,9}")


def json_pointer(path: Sequence[str | int]) -> str:
    """Return the pointer of a path: `("a/b", 0)` is `/a~1b/0`."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def steps_of(fragment: str) -> list[str]:
    """Return the steps of a pointer in a URI fragment: `/a~1b/0` is `["a/b", "0"]`."""
    return [unquote(part).replace("~1", "/").replace("~0", "~") for part in fragment.split("/")[1:]]


def value_at(pointer: str, document: Any) -> Any:
    """Return the value that the pointer leads to; None if there is none."""
    for step in pointer.split("/")[1:]:
        key = key_of(step.replace("~1", "/").replace("~0", "~"), document)
        if key is None:
            return None
        document = document[key]
    return document


def key_of(step: str, value: JsonValue) -> str | int | None:
    """Return the member name or list index that `step` means in `value`; None if there is no such member or element."""
    if isinstance(value, dict):
        return step if step in value else None
    if isinstance(value, list) and _INDEX.fullmatch(step) and int(step) < len(value):
        return int(step)
    return None
