"""JSON Schema 2020-12 for occurrence data. References to other documents are never fetched, regular expressions run in
linear time, and data for which a check would take too many steps is not checked but refused."""

import functools
import json

import jsonschema_rs
from pydantic import JsonValue

from webhooks.events import schema_cost
from webhooks.json_pointer import json_pointer

MAX_SCHEMA_BYTES = 64 * 1024
_MOST_VIOLATIONS = 20
_MOST_TO_EXPLAIN = 1_000_000
"""Values in the data times characters of the schema."""
_MOST_PATTERNS, _PATTERN_BYTES = 50, 50_000
"""Regular expressions in a schema, and what each may compile to: compiling them is what can take long."""


class NotASchemaError(ValueError):
    """The message says where and why."""


def check_schema(schema: JsonValue) -> None:
    """Raises NotASchemaError for what is no usable schema."""
    text = json.dumps(schema)
    if len(text) > MAX_SCHEMA_BYTES:
        raise NotASchemaError(f"the schema is over {MAX_SCHEMA_BYTES} bytes")
    if _embedded(schema):
        raise NotASchemaError("a $id is for the whole schema only")
    if _patterns(schema) > _MOST_PATTERNS:
        raise NotASchemaError(f"the schema has over {_MOST_PATTERNS} regular expressions")
    _validator(text)


def violations(schema: JsonValue, data: JsonValue) -> list[tuple[str, str]]:
    """JSON pointer into `data` and message of each violation, at most 20. Messages repeat no value."""
    try:
        schema_cost.check_cost(schema, data)
    except schema_cost.TooCostlyError:
        return [("", "the schema is too costly to check for this data")]
    text = json.dumps(schema)
    validator = _validator(text)
    if validator.is_valid(data):
        return []
    if _values(data) * len(text) > _MOST_TO_EXPLAIN:  # every reason is found before the first is told
        return [("", "does not fit the schema (too large to say where)")]
    found = []
    for error in validator.iter_errors(data):
        found.append((json_pointer(error.instance_path), error.message))
        if len(found) == _MOST_VIOLATIONS:
            break
    return found


@functools.lru_cache(maxsize=256)
def _validator(schema: str) -> jsonschema_rs.Draft202012Validator:
    parsed = json.loads(schema)
    if not isinstance(parsed, dict | bool):
        raise NotASchemaError("a schema is an object or a boolean")
    try:
        return jsonschema_rs.Draft202012Validator(
            parsed,
            mask="the value",
            offline=True,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=_PATTERN_BYTES),
        )
    except jsonschema_rs.ValidationError as error:
        raise NotASchemaError(f"at {json_pointer(error.instance_path) or 'the root'}: {error.message}") from None
    except ValueError as error:
        raise NotASchemaError(str(error)) from None


def _embedded(schema: JsonValue, *, root: bool = True) -> bool:
    """Whether a part of it has a base of its own, for which references mean something else."""
    if isinstance(schema, dict):
        own = not root and isinstance(schema.get("$id"), str)
        return own or any(_embedded(each, root=False) for each in schema.values())
    return isinstance(schema, list) and any(_embedded(each, root=False) for each in schema)


def _values(data: JsonValue) -> int:
    if isinstance(data, dict | list):
        return 1 + sum(map(_values, data.values() if isinstance(data, dict) else data))
    return 1


def _patterns(schema: JsonValue) -> int:
    match schema:
        case list():
            return sum(map(_patterns, schema))
        case dict():
            named = schema.get("patternProperties")
            here = ("pattern" in schema) + (len(named) if isinstance(named, dict) else 0)
            return here + sum(map(_patterns, schema.values()))
    return 0
