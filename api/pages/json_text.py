"""JSON with line breaks, of a text that somebody sent. Pure.

Only white space is added. Numbers keep their digits, members their order, and a name that occurs twice stays twice: a
person looks for what was really sent.
"""

import json
import re
from functools import partial

MAX_CHARACTERS = 256 * 1024
"""A longer text is not laid out."""
_MAX_GROWTH = 8
"""How many times as long as the text its layout may become: nested lists can make one of many megabytes."""
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|[{}\[\],:]|[^\s{}\[\],:"]++')
_INDENT = "  "
_check = partial(json.loads, parse_int=len, parse_float=len)
"""Numbers are not read: Python reads none of more than 4,300 digits."""


def laid_out(text: str) -> str | None:
    """Return the JSON with line breaks; None if the text is no JSON, or too large to be laid out."""
    if len(text) > MAX_CHARACTERS:
        return None
    try:
        _check(text)
    except (ValueError, RecursionError):
        return None
    parts: list[str] = []
    level, length, opened = 0, 0, False
    for token in _TOKEN.findall(text):
        closes = token in ("}", "]")
        level -= closes
        broken = opened != closes  # a line break, but not between the brackets of an empty list or object
        match token:
            case ",":
                part = "," + _line(level)
            case ":":
                part = ": "
            case _:
                part = (_line(level) if broken else "") + _readable(token)
        opened = token in ("{", "[")
        level += opened
        length += len(part)
        if length > _MAX_GROWTH * len(text) + 1024:
            return None
        parts.append(part)
    return "".join(parts)


def _line(level: int) -> str:
    return "\n" + _INDENT * level


def _readable(token: str) -> str:
    """Return a string with its letters instead of their escapes. Escapes of what cannot be seen stay."""
    if "\\u" not in token:
        return token
    text: str = json.loads(token)
    return json.dumps(text, ensure_ascii=False) if text.isprintable() else token
