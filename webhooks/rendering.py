"""The body of a delivery: an event's template filled from an occurrence, or the occurrence itself. Pure.

A template is JSON whose strings may hold placeholders: `{account.id}`, `{items.0.sku}`. A path is looked up among
the occurrence's own fields (`id`, `event`, `client_identifier`, `occurred_at`, `data`) and then inside `data`, so
`{data.id}` always means the producer's field. `{eventName}` and `{currentDateTime}` are LogiSense's names for `event`
and `occurred_at`. A string that is one placeholder and nothing else becomes the value with its JSON type; within
other text a value is written out, a missing one as nothing. `{{` and `}}` are literal braces.
"""

import json
import re

from pydantic import JsonValue

from webhooks.contracts import Occurrence

MAX_BODY_BYTES = 1024 * 1024
"""Of the body as history records it, well inside Temporal's 2 MiB for one payload."""
_TOO_LARGE = f"the rendered body is over {MAX_BODY_BYTES} bytes"

_PATH = r"[A-Za-z_][\w-]*(?:\.[\w-]+)*"
_PLACEHOLDER = re.compile(r"\{(" + _PATH + r")\}", re.ASCII)
_TOKEN = re.compile(r"\{\{|\}\}|\{(" + _PATH + r")\}", re.ASCII)
_INDEX = re.compile(r"[0-9]{1,9}")
_ALIASES = {"eventName": "event", "currentDateTime": "occurred_at"}


class NotRenderedError(ValueError):
    """The occurrence cannot be rendered by this template; the message says why."""


def render(template: JsonValue | None, occurrence: Occurrence) -> str:
    """The JSON text to send. Raises NotRenderedError."""
    fields = occurrence.model_dump(mode="json")
    try:
        if template is None:
            body: JsonValue = {name: fields[name] for name in ("id", "event", "occurred_at", "data")}
        else:
            body = _Filling(fields).fill(template)
        text = _json(body)
        recorded = len(_json(text).encode())  # history holds the text as a JSON string
    except (ValueError, RecursionError) as error:  # what no JSON can say, or too deep
        raise NotRenderedError(str(error)) from None
    if recorded > MAX_BODY_BYTES:
        raise NotRenderedError(_TOO_LARGE)
    return text


class _Filling:
    """One rendering. Values are measured as they are put in, so that a small template cannot grow without bound."""

    def __init__(self, fields: dict[str, JsonValue]) -> None:
        self._fields = fields
        self._found: dict[str, tuple[JsonValue, str]] = {}
        self._size = 0

    def fill(self, template: JsonValue) -> JsonValue:
        match template:
            case dict():
                return {key: self.fill(value) for key, value in template.items()}
            case list():
                return [self.fill(value) for value in template]
            case str():
                if whole := _PLACEHOLDER.fullmatch(template):
                    return self._value(whole[1])[0]
                return _TOKEN.sub(self._text, template)
            case _:
                return template

    def _text(self, token: re.Match[str]) -> str:
        if token[1] is None:
            return token[0][0]
        match self._value(token[1]):
            case None, _:
                return ""
            case str() as text, _:
                return text
            case _, text:
                return text

    def _value(self, path: str) -> tuple[JsonValue, str]:
        """The value at a path, and its JSON."""
        if path not in self._found:
            value = _look_up(path, self._fields)
            self._found[path] = value, _json(value)
        self._size += len(self._found[path][1])
        if self._size > MAX_BODY_BYTES:
            raise NotRenderedError(_TOO_LARGE)
        return self._found[path]


def _json(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _look_up(path: str, fields: dict[str, JsonValue]) -> JsonValue:
    first, *rest = path.split(".")
    first = _ALIASES.get(first, first)
    value: JsonValue = fields if first in fields else fields["data"]
    for step in (first, *rest):
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and _INDEX.fullmatch(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value
