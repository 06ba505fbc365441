"""The body of a delivery: an event's template filled from an occurrence, or the occurrence itself. Pure.

A template is JSON whose strings may hold placeholders: `{account.id}`, `{items.0.sku}`. A path is looked up among
the delivery's own fields (OWN_FIELDS, as far as they are set) and then inside `data`, so `{data.id}` always means the
producer's field. `{eventName}` and `{currentDateTime}` are LogiSense's names for `event` and `occurred_at`. A string
that is one placeholder and nothing else becomes the value with its JSON type; within other text a value is written
out, a missing one as nothing. `{{` and `}}` are literal braces.

A form is the same document flattened: `account[id]=7&items[0][sku]=x`, with null as the empty string.
"""

import enum
import json
import re
from collections.abc import Collection, Iterator, Mapping
from urllib.parse import urlencode

from pydantic import JsonValue

from webhooks.contracts import Format, Occurrence
from webhooks.ids import delivery_id

MAX_BODY_BYTES = 1024 * 1024
"""Of the body as history records it, well inside Temporal's 2 MiB for one payload."""
_TOO_LARGE = f"the rendered body is over {MAX_BODY_BYTES} bytes"

CONTENT_TYPES = {Format.JSON: "application/json", Format.FORM: "application/x-www-form-urlencoded"}

_PATH = r"[A-Za-z_][\w-]*(?:\.[\w-]+)*"
_PLACEHOLDER = re.compile(r"\{(" + _PATH + r")\}", re.ASCII)
_TOKEN = re.compile(r"\{\{|\}\}|\{(" + _PATH + r")\}", re.ASCII)
_INDEX = re.compile(r"[0-9]{1,9}")
_ALIASES = {"eventName": "event", "currentDateTime": "occurred_at"}
OWN_FIELDS = frozenset(Occurrence.model_fields) | {"entity", "action", "tenant", "webhook_id", "delivery_id"}
_ENVELOPE: JsonValue = {name: f"{{{name}}}" for name in ("id", "event", "occurred_at", "data")}


def own_fields(
    tenant: str, webhook_id: str, occurrence: Occurrence, entity: str | None, action: str | None
) -> Mapping[str, str | None]:
    """Return what a template may name beside the occurrence's fields. `entity` and `action` are the event's."""
    return {
        "tenant": tenant,
        "webhook_id": webhook_id,
        "delivery_id": delivery_id(occurrence.id, webhook_id),
        "entity": entity,
        "action": action,
    }


class NotRenderedError(ValueError):
    """The occurrence cannot be rendered by this template; the message says why."""


class BadTemplateError(ValueError):
    """No occurrence could be rendered as its author meant. `path` leads to the string at fault."""

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.path = path


class _Absent(enum.Enum):
    """What a placeholder stands for whose value is withheld: its member is left out."""

    ABSENT = enum.auto()


_ABSENT = _Absent.ABSENT


def render(
    template: JsonValue | None,
    occurrence: Occurrence,
    own: Mapping[str, str | None],
    *,
    format: Format = Format.JSON,
    sends_json: bool = True,
) -> str:
    """The text to send. `own` holds those of OWN_FIELDS that are no occurrence's. Without `sends_json` (EngageIP's
    name) the producer's data stays at home: what would come from it is left out. Raises NotRenderedError."""
    all_fields: dict[str, JsonValue] = {**occurrence.model_dump(mode="json"), **own}
    fields: dict[str, JsonValue] = {name: value for name, value in all_fields.items() if value is not None}
    data = fields.pop("data", None)
    try:
        body = _Filling(fields, data if sends_json else _ABSENT).fill(_ENVELOPE if template is None else template)
        text = "" if body is _ABSENT else _form(body) if format is Format.FORM else _json(body)
        recorded = len(_json(text).encode())  # history holds the text as a JSON string
    except (ValueError, RecursionError) as error:  # what no JSON can say, or too deep
        raise NotRenderedError(str(error)) from None
    if recorded > MAX_BODY_BYTES:
        raise NotRenderedError(_TOO_LARGE)
    return text


def check_template(template: JsonValue, known: Collection[str] | None, own: Collection[str] = OWN_FIELDS) -> None:
    """Raises BadTemplateError for a brace that belongs to no placeholder, and for a placeholder that no occurrence can
    fill: its first name is none of our `own` fields and not among `known`, the names in `data` (None if any may
    come)."""
    for path, text in _strings(template):
        if {"{", "}"} & set(_TOKEN.sub("", text)):
            raise BadTemplateError(path, "a brace that belongs to no placeholder; write {{ or }} for a brace")
        for token in _TOKEN.finditer(text):
            first, _, rest = (token[1] or "id").partition(".")
            if first == "data" and rest:
                first, ours = rest.partition(".")[0], False
            else:
                ours = _ALIASES.get(first, first) in own
            if not ours and known is not None and first not in known:
                raise BadTemplateError(
                    path, f"no field of ours is called {first}, and nothing in the event's schema or sample"
                )


def _strings(template: JsonValue, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    match template:
        case dict():
            for key, value in template.items():
                yield from _strings(value, (*path, key))
        case list():
            for index, value in enumerate(template):
                yield from _strings(value, (*path, index))
        case str():
            yield path, template


class _Filling:
    """One rendering. Values are measured as they are put in, so that a small template cannot grow without bound."""

    def __init__(self, fields: dict[str, JsonValue], data: JsonValue | _Absent) -> None:
        self._fields = fields
        self._data = data
        self._found: dict[str, tuple[JsonValue | _Absent, str]] = {}
        self._size = 0

    def fill(self, template: JsonValue) -> JsonValue | _Absent:
        match template:
            case dict():
                filled = ((key, self.fill(value)) for key, value in template.items())
                return {key: value for key, value in filled if value is not _ABSENT}
            case list():
                return [value for value in map(self.fill, template) if value is not _ABSENT]
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
            case None | _Absent.ABSENT, _:
                return ""
            case str() as text, _:
                return text
            case _, text:
                return text

    def _value(self, path: str) -> tuple[JsonValue | _Absent, str]:
        """The value at a path, and its JSON."""
        if path not in self._found:
            value = self._look_up(path)
            self._found[path] = value, "" if value is _ABSENT else _json(value)
        self._size += len(self._found[path][1])
        if self._size > MAX_BODY_BYTES:
            raise NotRenderedError(_TOO_LARGE)
        return self._found[path]

    def _look_up(self, path: str) -> JsonValue | _Absent:
        first, *rest = path.split(".")
        first = _ALIASES.get(first, first)
        if first in self._fields:
            return _step_down(self._fields[first], rest)
        if self._data is _ABSENT:
            return _ABSENT
        return _step_down(self._data, rest if first == "data" else [first, *rest])


def _step_down(value: JsonValue, steps: list[str]) -> JsonValue:
    for step in steps:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and _INDEX.fullmatch(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def _json(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _form(document: JsonValue) -> str:
    if not isinstance(document, dict):
        raise NotRenderedError("a form is made of an object, and the body is none")
    pairs, size = [], 0
    for key, member in document.items():
        for name, value in _pairs(member, key):
            size += len(name) + len(value or "")
            if size > MAX_BODY_BYTES:  # names repeat at each leaf: a small document can make a large form
                raise NotRenderedError(_TOO_LARGE)
            if value is not None:
                pairs.append((name, value))
    return urlencode(pairs)


def _pairs(value: JsonValue, name: str) -> Iterator[tuple[str, str | None]]:
    """Name and text of each leaf; an inner node, which a form does not have, has no text."""
    match value:
        case dict():
            yield name, None
            for key, inner in value.items():
                yield from _pairs(inner, f"{name}[{key}]")
        case list():
            yield name, None
            for index, inner in enumerate(value):
                yield from _pairs(inner, f"{name}[{index}]")
        case None:
            yield name, ""
        case str():
            yield name, value
        case _:
            yield name, _json(value)
