"""An estimate of the steps that checking data against a JSON Schema takes, without checking it. Pure.

With a schema that branches at every level of a recursion, the time at least doubles with each level of the data. The
estimate looks at each pair of a subschema and a value once, however often the check would, so it stays fast.
"""

from collections.abc import Iterator

from pydantic import JsonValue

from webhooks.errors import WebhooksError
from webhooks.json_pointer import key_of, steps_of

MAX_STEPS = 300_000
"""Evaluations of subschemas that find whether a value is valid: tens of nanoseconds each."""
MAX_REASONS = 50_000
"""Further evaluations that find why each of several alternatives is not valid: tens of microseconds each."""
_MAX_PAIRS = 30_000
"""Pairs of a subschema and a value."""

_BRANCHES = ("anyOf", "oneOf")
_IN_PLACE = ("not", "if", "then", "else")
_OF_EACH_ITEM = ("items", "contains", "unevaluatedItems")
_OF_EACH_MEMBER = ("additionalProperties", "unevaluatedProperties")
_APPLIES = {*_BRANCHES, *_IN_PLACE, *_OF_EACH_ITEM, *_OF_EACH_MEMBER, "$ref", "$dynamicRef", "allOf", "prefixItems"}
_APPLIES |= {"dependentSchemas", "properties", "patternProperties", "propertyNames"}


class TooCostlyError(WebhooksError):
    """Checking the data may take more than MAX_STEPS or MAX_REASONS."""


def check_cost(schema: JsonValue, data: JsonValue) -> None:
    """Raise TooCostlyError if checking the data may take more than MAX_STEPS or MAX_REASONS."""
    try:
        valid, wrong = _Count(schema).steps(schema, data)
    except RecursionError:
        raise TooCostlyError from None
    if valid > MAX_STEPS or wrong - valid > MAX_REASONS:
        raise TooCostlyError


class _Count:
    """The count of evaluations for one schema and one value."""

    def __init__(self, root: JsonValue) -> None:
        self._root = root
        self._anchors = dict(_anchors(root))
        self._known: dict[tuple[int, int], tuple[int, int]] = {}

    def steps(self, schema: JsonValue, data: JsonValue) -> tuple[int, int]:
        """Return the evaluations that find whether the value is valid, and those that find what is wrong with it. With
        several alternatives, the check does both: first whether, then why not. Raises TooCostlyError."""
        if not isinstance(schema, dict) or _APPLIES.isdisjoint(schema):
            return 1, 1
        key = id(schema), id(data)
        if key not in self._known:
            if len(self._known) >= _MAX_PAIRS:
                raise TooCostlyError
            self._known[key] = 1, 1  # the count of a reference to itself
            valid = wrong = 1
            for inner, value, branch in self._inner(schema, data):
                one, other = self.steps(inner, value)
                valid += one
                wrong += other + one * branch
                if valid > MAX_STEPS:
                    raise TooCostlyError
            if "unevaluatedProperties" in schema or "unevaluatedItems" in schema:  # evaluates the others once more
                valid, wrong = 2 * valid, wrong + valid
            self._known[key] = valid, wrong
        return self._known[key]

    def _inner(self, schema: dict[str, JsonValue], data: JsonValue) -> Iterator[tuple[JsonValue, JsonValue, bool]]:
        """Yield each subschema, the value that it applies to, and whether it is one of several alternatives."""
        for keyword in ("$ref", "$dynamicRef"):
            if isinstance(reference := schema.get(keyword), str):
                yield self._target(reference), data, False
        for inner in _listed(schema.get("allOf")):
            yield inner, data, False
        for keyword in _BRANCHES:
            for inner in _listed(schema.get(keyword)):
                yield inner, data, True
        for keyword in _IN_PLACE:
            if keyword in schema:
                yield schema[keyword], data, True
        for inner in _named(schema.get("dependentSchemas")).values():
            yield inner, data, False
        if isinstance(data, list):
            for inner, value in zip(_listed(schema.get("prefixItems")), data, strict=False):
                yield inner, value, False
            for keyword in _OF_EACH_ITEM:
                if keyword in schema:
                    for value in data:
                        yield schema[keyword], value, keyword == "contains"
        if isinstance(data, dict):
            members = _named(schema.get("properties"))
            for name in members.keys() & data.keys():
                yield members[name], data[name], False
            for inner in _named(schema.get("patternProperties")).values():
                for value in data.values():
                    yield inner, value, False
            for keyword in _OF_EACH_MEMBER:
                if keyword in schema:
                    for value in data.values():
                        yield schema[keyword], value, False
            if "propertyNames" in schema:
                for name in data:
                    yield schema["propertyNames"], name, False

    def _target(self, reference: str) -> JsonValue:
        """Return the schema that a reference points to, or the root if it is not in this document. Such a reference is
        to the standard's own schemas, which take no more steps."""
        fragment = reference.partition("#")[2]
        if not fragment.startswith("/"):
            return self._anchors.get(fragment, self._root)
        found = self._root
        for step in steps_of(fragment):
            match key_of(step, found), found:
                case str() as name, dict():
                    found = found[name]
                case int() as index, list():
                    found = found[index]
                case _:
                    return self._root
        return found


def _anchors(schema: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    if isinstance(schema, dict):
        for keyword in ("$anchor", "$dynamicAnchor"):
            if isinstance(name := schema.get(keyword), str):
                yield name, schema
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    for each in inner:
        yield from _anchors(each)


def _listed(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _named(value: JsonValue) -> dict[str, JsonValue]:
    return value if isinstance(value, dict) else {}
