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
"""A template may repeat its occurrence; the result must stay well inside Temporal's 2 MiB for one payload."""

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
            body = _fill(template, fields)
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        size = len(text.encode())
    except (ValueError, RecursionError) as error:  # what no JSON can say, or too deep
        raise NotRenderedError(str(error)) from None
    if size > MAX_BODY_BYTES:
        raise NotRenderedError(f"the rendered body is over {MAX_BODY_BYTES} bytes")
    return text


def _fill(template: JsonValue, fields: dict[str, JsonValue]) -> JsonValue:
    match template:
        case dict():
            return {key: _fill(value, fields) for key, value in template.items()}
        case list():
            return [_fill(value, fields) for value in template]
        case str():
            if whole := _PLACEHOLDER.fullmatch(template):
                return _look_up(whole[1], fields)
            return _TOKEN.sub(lambda token: _as_text(token, fields), template)
        case _:
            return template


def _as_text(token: re.Match[str], fields: dict[str, JsonValue]) -> str:
    if token[1] is None:
        return token[0][0]
    match _look_up(token[1], fields):
        case None:
            return ""
        case str() as text:
            return text
        case value:
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
