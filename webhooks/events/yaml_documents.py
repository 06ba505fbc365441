"""Reading a JSON or YAML file. Only values that JSON has are allowed.

Nulls, booleans and numbers are those of YAML 1.2's core schema: `on`, `no` and dates are text. Keys are text. Tags and
aliases are refused: with aliases, a small file can become unlimited data. Values are built from the parser's events,
because PyYAML's own composer recurses in C, as deep as the file is nested.
"""

import math
import re
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

import yaml

from webhooks import characters
from webhooks.json_documents import MAX_LEVELS, DocumentError, MalformedJsonError, check, decode, object_of, parse
from webhooks.json_numbers import MAX_NUMBER_LENGTH

_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_TAG_DIRECTIVE = re.compile(r"(?:\A|[\r\n\x85\u2028\u2029])%TAG\b")


def read(content: bytes) -> Any:
    """Return the JSON value in the file. Raises DocumentError."""
    text = decode(content)
    try:
        return parse(text)
    except MalformedJsonError as error:
        not_json = error
    try:
        document = _yaml(text)
    except yaml.MarkedYAMLError as error:
        not_yaml = _with_line(error.problem or "malformed", error.problem_mark)
    except yaml.reader.ReaderError as error:
        character = chr(error.character)
        line = text.count("\n", 0, text.find(character)) + 1
        not_yaml = f"{characters.name_of(character)} is not allowed, line {line}"
    except (yaml.YAMLError, UnicodeDecodeError):  # the bytes that a tag escapes may not be UTF-8
        not_yaml = "a character that is not allowed"
    else:
        check(document)
        return document
    raise DocumentError(f"neither JSON ({not_json}) nor YAML ({not_yaml})")


def _yaml(text: str) -> object:
    if _TAG_DIRECTIVE.search(text):  # the parser's time is quadratic in the number of these
        raise DocumentError("YAML tags are not supported")
    events = yaml.parse(text, Loader=yaml.CSafeLoader)
    next(events)
    if isinstance(next(events), yaml.StreamEndEvent):
        raise DocumentError("the file is empty")
    value = _yaml_value(next(events), events, 0)
    next(events)
    if not isinstance(next(events), yaml.StreamEndEvent):
        raise DocumentError("several YAML documents in one file are not supported")
    return value


def _yaml_value(event: yaml.Event, events: Iterator[yaml.Event], level: int) -> object:
    _check_plain(event)
    if level > MAX_LEVELS:
        raise DocumentError(_with_line("nested too deep", event.start_mark))
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event.value) if event.implicit[0] else event.value
    inner = takewhile(lambda event: not isinstance(event, yaml.CollectionEndEvent), events)
    if isinstance(event, yaml.SequenceStartEvent):
        return [_yaml_value(item, events, level + 1) for item in inner]
    return object_of([(_yaml_key(key), _yaml_value(next(events), events, level + 1)) for key in inner])


def _yaml_key(event: yaml.Event) -> str:
    _check_plain(event)
    if not isinstance(event, yaml.ScalarEvent):
        raise DocumentError(_with_line("a key must be text", event.start_mark))
    return event.value  # as text, however it looks: `on:`, or `200:` in responses


def _check_plain(event: yaml.Event) -> None:
    if isinstance(event, yaml.AliasEvent):
        raise DocumentError(_with_line("YAML aliases are not supported", event.start_mark))
    if getattr(event, "tag", None) is not None:
        raise DocumentError(_with_line("YAML tags are not supported", event.start_mark))


def _with_line(message: str, mark: Any) -> str:
    return f"{message}, line {mark.line + 1}" if mark else message


def _scalar(text: str) -> object:
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > MAX_NUMBER_LENGTH and (_INTEGER.fullmatch(text) or _FLOAT.fullmatch(text)):
        return math.inf  # which is then refused
    if _INTEGER.fullmatch(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if _FLOAT.fullmatch(text):
        return float(text)
    return math.nan if _NOT_FINITE.fullmatch(text) else text
