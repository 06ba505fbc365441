"""Rendering the body of a delivery from an event's template and an occurrence, or from the occurrence alone. Pure.

A template is JSON. Its strings can contain placeholders: `{account.id}`, `{items.0.sku}`. A path is looked up first in
the delivery's own fields (OWN_FIELDS that are set), then in `data`. `{data.id}` always means the publisher's field.
`{eventName}` and `{currentDateTime}` are LogiSense's names of `event` and `occurred_at`. A name with other characters
than letters, digits, `_` and `-`, or that begins with a digit, is quoted: `{order.'@type'}`, with `''` for one quote. A
string that is exactly one placeholder becomes the value with its JSON type. In other text, the value is inserted as
text; a missing value as nothing. `{{` and `}}` are literal braces.

A form is the same document flattened: `account[id]=7&items[0][sku]=x`. Null is an empty string.

Numbers of the data keep the digits that the publisher wrote (`10.00`). In text and forms, a number without such digits
has no exponent: `10000000000000000`, where Python writes `1e+16`.
"""

import enum
import json
import re
from collections.abc import Collection, Iterator, Mapping
from urllib.parse import urlencode

from pydantic import JsonValue

from webhooks.contracts import NOT_NAMED, OCCURRENCE_FIELDS, Format, Occurrence
from webhooks.errors import WebhooksError
from webhooks.ids import delivery_id
from webhooks.json_numbers import as_written, to_json, with_digits, without_exponent
from webhooks.json_pointer import key_of

MAX_BODY_BYTES = 1024 * 1024
"""Size of the body as history records it. Temporal's limit for one payload is 2 MiB."""
_TOO_LARGE = f"the rendered body is larger than {MAX_BODY_BYTES} bytes"

_CONTENT_TYPES = {Format.JSON: "application/json", Format.FORM: "application/x-www-form-urlencoded"}

_QUOTED = r"'(?:[^']|'')*+'"
_STEP = rf"(?:[\w-]++|{_QUOTED})"
_PATH = rf"(?:[^\W\d][\w-]*+|{_QUOTED})(?:\.{_STEP})*+"
_PLACEHOLDER = re.compile(rf"\{{({_PATH})\}}")
_TOKEN = re.compile(rf"\{{\{{|\}}\}}|\{{({_PATH})\}}")
_TEXT = re.compile(rf"(?:[^{{}}]|\{{\{{|\}}\}}|\{{{_PATH}\}})*+")
"""A string without a brace outside placeholders. Unlike a search for `_TOKEN`, it takes linear time for any string."""
_STEPS = re.compile(_STEP)
_EXPONENT = re.compile(r"[0-9]e[-+][0-9]")
"""In JSON text, how Python writes a float with an exponent. It may also be part of a string."""

_MAX_NAME_SHOWN = 100
"""Characters of a form's name in an error."""

_ALIASES = {"eventName": "event", "currentDateTime": "occurred_at"}
OWN_FIELDS = frozenset(OCCURRENCE_FIELDS) | {"entity", "action", "tenant", "webhook_id", "delivery_id"}
_ENVELOPE: JsonValue = {name: f"{{{name}}}" for name in ("id", "event", "occurred_at", "data")}


def own_fields(
    tenant: str, webhook_id: str, occurrence: Occurrence, entity: str | None, action: str | None
) -> Mapping[str, str | None]:
    """Return the fields that a template can name besides the occurrence's. `entity` and `action` are the event's."""
    return {
        "tenant": tenant,
        "webhook_id": webhook_id,
        "delivery_id": delivery_id(occurrence.id, webhook_id),
        "entity": entity,
        "action": action,
    }


def content_type(format: Format, body: str) -> str:
    """Return the content type of a rendered body. Empty if there is none: an empty body is not JSON."""
    return _CONTENT_TYPES[format] if body or format is Format.FORM else ""


class NotRenderedError(WebhooksError, ValueError):
    """The template cannot render this occurrence. The message says why."""


class BadTemplateError(WebhooksError, ValueError):
    """The template has an error. `path` is the path of the string that contains it."""

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.path = path


class _Absent(enum.Enum):
    """The value of a placeholder that must not be sent: the member that contains it is left out."""

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
    """Return the text of the body. `own` has the delivery's own fields that are not the occurrence's.

    If `sends_json` (EngageIP's name) is false, everything that comes from the occurrence's data is left out. If nothing
    is left then, the body is empty. Raises NotRenderedError."""
    all_fields: dict[str, JsonValue] = {**occurrence.model_dump(mode="json", exclude={*NOT_NAMED}), **own}
    fields: dict[str, JsonValue] = {name: value for name, value in all_fields.items() if value is not None}
    data = fields.pop("data", None)
    exact = occurrence.digits is not None
    try:
        if exact:
            data = with_digits(data, occurrence.digits)
        filling = _Filling(fields, data if sends_json else _ABSENT, exact=exact)
        body = filling.fill(_ENVELOPE if template is None else template)
        text = "" if body is _ABSENT else _form(body) if format is Format.FORM else _json(body, exact=exact)
        recorded = len(_json(text).encode())  # history holds the text as a JSON string
    except (ValueError, RecursionError) as error:  # a value that JSON does not have, or nested too deep
        raise NotRenderedError(str(error)) from None
    if recorded > MAX_BODY_BYTES:
        raise NotRenderedError(_TOO_LARGE)
    return text


def check_template(template: JsonValue, known: Collection[str] | None, own: Collection[str] = OWN_FIELDS) -> None:
    """Raise BadTemplateError for a brace outside placeholders, and for a placeholder that no occurrence can fill: its
    first name is neither in `own`, the delivery's own fields, nor in `known`, the names in `data` (None: any name)."""
    for path, text in _strings(template):
        if not _TEXT.fullmatch(text):
            raise BadTemplateError(
                path,
                "a brace outside a placeholder; write {{ or }} for a literal brace, and quote a name that has other "
                "characters than letters, digits, _ and -, or begins with a digit: {'order no'}",
            )
        for token in _TOKEN.finditer(text):
            first, *rest = _steps(token[1] or "id")
            if first == "data" and rest:
                first, ours = rest[0], False
            else:
                ours = _ALIASES.get(first, first) in own
            if not ours and known is not None and first not in known:
                raise BadTemplateError(
                    path, f"no field is named {first}: neither the delivery, nor the event's schema or sample has it"
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
    """One rendering. Counts the bytes of inserted values, so that a small template cannot make an unlimited body."""

    def __init__(self, fields: dict[str, JsonValue], data: JsonValue | _Absent, *, exact: bool) -> None:
        """`exact`: the data contains ExactNumbers."""
        self._fields = fields
        self._data = data
        self._exact = exact
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
            case value, written:
                text = _as_text(value, written)
                self._count(len(text) - len(written))
                return text

    def _value(self, path: str) -> tuple[JsonValue | _Absent, str]:
        """Return the value at a path, and its JSON text. Raises NotRenderedError if the body becomes too large."""
        if path not in self._found:
            value = self._look_up(path)
            self._found[path] = value, "" if value is _ABSENT else _json(value, exact=self._exact)
        self._count(len(self._found[path][1]))
        return self._found[path]

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > MAX_BODY_BYTES:
            raise NotRenderedError(_TOO_LARGE)

    def _look_up(self, path: str) -> JsonValue | _Absent:
        first, *rest = _steps(path)
        first = _ALIASES.get(first, first)
        if first in self._fields:
            return _step_down(self._fields[first], rest)
        if self._data is _ABSENT:
            return _ABSENT
        return _step_down(self._data, rest if first == "data" else [first, *rest])


def _steps(path: str) -> list[str]:
    """Return the names in the path of a placeholder, without their quotes."""
    steps = path.split(".") if "'" not in path else _STEPS.findall(path)
    return [step[1:-1].replace("''", "'") if step.startswith("'") else step for step in steps]


def _step_down(value: JsonValue, steps: list[str]) -> JsonValue:
    for step in steps:
        match key_of(step, value), value:
            case str() as name, dict():
                value = value[name]
            case int() as index, list():
                value = value[index]
            case _:
                return None
    return value


def _json(value: JsonValue, *, exact: bool = False) -> str:
    if exact:
        return to_json(value, as_written)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _as_text(value: JsonValue, written: str) -> str:
    """Return the text of a value that is no string. `written` is its JSON."""
    return to_json(value, without_exponent) if _EXPONENT.search(written) else written


def _form(document: JsonValue) -> str:
    if not isinstance(document, dict):
        raise NotRenderedError("a form needs an object, and the body is not an object")
    pairs, size = [], 0
    names: set[str] = set()
    for key, member in document.items():
        for name, value in _pairs(member, key):
            size += len(name) + len(value or "")
            if size > MAX_BODY_BYTES:  # each leaf repeats the names above it, so a small document can make a large form
                raise NotRenderedError(_TOO_LARGE)
            if name in names:
                raise NotRenderedError(
                    f"the form would have two parameters {name[:_MAX_NAME_SHOWN]}; rename a member in the template"
                )
            names.add(name)
            if value is not None:
                pairs.append((name, value))
    return urlencode(pairs)


def _pairs(value: JsonValue, name: str) -> Iterator[tuple[str, str | None]]:
    """Yield the name and text of each leaf. Objects and lists have a name and None: a form does not contain them."""
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
            yield name, _as_text(value, _json(value, exact=True))
