"""JSON Schema 2020-12 for the data of occurrences. References to other documents are never fetched. Regular expressions
run in linear time. Data that would take too many steps to validate is refused."""

import functools
import json
from collections.abc import Iterator

import jsonschema_rs
from pydantic import JsonValue

from webhooks.errors import WebhooksError
from webhooks.events import regular_expressions, schema_cost
from webhooks.json_pointer import json_pointer

MAX_SCHEMA_BYTES = 64 * 1024
_MAX_VIOLATIONS = 20
_MAX_TO_EXPLAIN = 1_000_000
"""Values in the data times characters of the schema. Above it, violations are not located."""
_MAX_PATTERNS = 50
"""Regular expressions in a schema: compiling them takes long."""


class NotASchemaError(WebhooksError, ValueError):
    """The schema cannot be used. The message says where and why."""


def check_schema(schema: JsonValue) -> None:
    """Raise NotASchemaError if the schema cannot be used."""
    text = json.dumps(schema)
    if len(text) > MAX_SCHEMA_BYTES:
        raise NotASchemaError(f"the schema is larger than {MAX_SCHEMA_BYTES} bytes")
    patterns = list(_patterns(schema))
    if len(patterns) > _MAX_PATTERNS:
        raise NotASchemaError(f"the schema has more than {_MAX_PATTERNS} regular expressions")
    _validator(text)
    try:
        schema_cost.check_references(schema)
    except schema_cost.UnknownReferenceError as error:
        raise NotASchemaError(f"at {json_pointer(error.path)}: {error}") from None
    size = 0
    for pattern, path in {pattern: path for path, pattern in reversed(patterns)}.items():
        size += regular_expressions.size_of(pattern)
        if size > regular_expressions.MAX_BYTES:
            raise NotASchemaError(f"at {json_pointer(path)}: {regular_expressions.TOO_LARGE}")


def violations(schema: JsonValue, data: JsonValue) -> list[tuple[str, str]]:
    """Return a JSON pointer into `data` and a message for each violation, at most 20. Messages never repeat a value."""
    try:
        schema_cost.check_cost(schema, data)
    except schema_cost.TooCostlyError:
        return [("", "checking this data against the schema takes too many steps")]
    text = json.dumps(schema)
    validator = _validator(text)
    if validator.is_valid(data):
        return []
    if _values(data) * len(text) > _MAX_TO_EXPLAIN:  # iter_errors finds all violations before it yields the first
        return [("", "does not match the schema (too large to say where)")]
    found = []
    for error in validator.iter_errors(data):
        found.append((json_pointer(error.instance_path), error.message))
        if len(found) == _MAX_VIOLATIONS:
            break
    return found


def _validator(schema: str) -> jsonschema_rs.Draft202012Validator:
    return _small_validator(schema) or _large_validator(schema)


@functools.lru_cache(maxsize=256)
def _small_validator(schema: str) -> jsonschema_rs.Draft202012Validator | None:
    """Return None if the schema needs large regular expressions."""
    try:
        return _compiled(schema, regular_expressions.SMALL_BYTES)
    except _PatternError:
        return None


@functools.lru_cache(maxsize=32)
def _large_validator(schema: str) -> jsonschema_rs.Draft202012Validator:
    try:
        return _compiled(schema, regular_expressions.MAX_BYTES)
    except _PatternError as error:
        reason = regular_expressions.refusal(error.pattern) or regular_expressions.TOO_LARGE
        raise NotASchemaError(f"at {error.pointer}: {reason}") from None


class _PatternError(WebhooksError):
    """A regular expression of the schema is none, or too large."""

    def __init__(self, pattern: str, pointer: str) -> None:
        super().__init__(pattern)
        self.pattern = pattern
        self.pointer = pointer


def _compiled(schema: str, pattern_bytes: int) -> jsonschema_rs.Draft202012Validator:
    """Raises NotASchemaError and _PatternError."""
    parsed = json.loads(schema)
    if not isinstance(parsed, dict | bool):
        raise NotASchemaError("a schema must be an object or a boolean")
    try:
        return jsonschema_rs.Draft202012Validator(
            parsed, mask="the value", offline=True, pattern_options=regular_expressions.options(pattern_bytes)
        )
    except jsonschema_rs.ValidationError as error:
        pointer = json_pointer(error.instance_path)
        if error.message.endswith('is not a "regex"') and isinstance(error.instance, str):
            raise _PatternError(error.instance, pointer) from None
        raise NotASchemaError(f"at {pointer or 'the root'}: {error.message}") from None
    except ValueError as error:
        raise NotASchemaError(str(error)) from None


def _values(data: JsonValue) -> int:
    """Return how many values the data has, including objects and lists."""
    if isinstance(data, dict | list):
        return 1 + sum(map(_values, data.values() if isinstance(data, dict) else data))
    return 1


def _patterns(schema: JsonValue, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield the path and the text of each regular expression in the schema."""
    match schema:
        case list():
            for index, inner in enumerate(schema):
                yield from _patterns(inner, (*path, index))
        case dict():
            if isinstance(pattern := schema.get("pattern"), str):
                yield (*path, "pattern"), pattern
            named = schema.get("patternProperties")
            for name in named if isinstance(named, dict) else ():
                yield (*path, "patternProperties", name), name
            for name, inner in schema.items():
                yield from _patterns(inner, (*path, name))
