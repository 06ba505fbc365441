"""JSON Schema 2020-12 for the data of occurrences. References to other documents are never fetched. Regular expressions
run in linear time. Data that would take too many steps to validate is refused."""

import functools
import json

import jsonschema_rs
from pydantic import JsonValue

from webhooks.errors import WebhooksError
from webhooks.events import schema_cost
from webhooks.json_pointer import json_pointer

MAX_SCHEMA_BYTES = 64 * 1024
_MAX_VIOLATIONS = 20
_MAX_TO_EXPLAIN = 1_000_000
"""Values in the data times characters of the schema. Above it, violations are not located."""
_MAX_PATTERNS = 50
"""Regular expressions in a schema: compiling them takes long."""
_MAX_PATTERN_BYTES = 50_000
"""Compiled size of each regular expression."""


class NotASchemaError(WebhooksError, ValueError):
    """The schema cannot be used. The message says where and why."""


def check_schema(schema: JsonValue) -> None:
    """Raise NotASchemaError if the schema cannot be used."""
    text = json.dumps(schema)
    if len(text) > MAX_SCHEMA_BYTES:
        raise NotASchemaError(f"the schema is larger than {MAX_SCHEMA_BYTES} bytes")
    if _embedded(schema):
        raise NotASchemaError("$id is allowed only at the root of the schema")
    if _patterns(schema) > _MAX_PATTERNS:
        raise NotASchemaError(f"the schema has more than {_MAX_PATTERNS} regular expressions")
    _validator(text)


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


@functools.lru_cache(maxsize=256)
def _validator(schema: str) -> jsonschema_rs.Draft202012Validator:
    parsed = json.loads(schema)
    if not isinstance(parsed, dict | bool):
        raise NotASchemaError("a schema must be an object or a boolean")
    try:
        return jsonschema_rs.Draft202012Validator(
            parsed,
            mask="the value",
            offline=True,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=_MAX_PATTERN_BYTES),
        )
    except jsonschema_rs.ValidationError as error:
        raise NotASchemaError(f"at {json_pointer(error.instance_path) or 'the root'}: {error.message}") from None
    except ValueError as error:
        raise NotASchemaError(str(error)) from None


def _embedded(schema: JsonValue, *, root: bool = True) -> bool:
    """Return whether a part of the schema has an `$id`. References inside it would be relative to that `$id`."""
    if isinstance(schema, dict):
        own = not root and isinstance(schema.get("$id"), str)
        return own or any(_embedded(each, root=False) for each in schema.values())
    return isinstance(schema, list) and any(_embedded(each, root=False) for each in schema)


def _values(data: JsonValue) -> int:
    """Return how many values the data has, including objects and lists."""
    if isinstance(data, dict | list):
        return 1 + sum(map(_values, data.values() if isinstance(data, dict) else data))
    return 1


def _patterns(schema: JsonValue) -> int:
    """Return how many regular expressions the schema has."""
    match schema:
        case list():
            return sum(map(_patterns, schema))
        case dict():
            named = schema.get("patternProperties")
            here = ("pattern" in schema) + (len(named) if isinstance(named, dict) else 0)
            return here + sum(map(_patterns, schema.values()))
    return 0
