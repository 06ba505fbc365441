"""An estimate of the steps that checking data against a JSON Schema takes, without checking it. Pure.

With a schema that branches at every level of a recursion, the time at least doubles with each level of the data. The
estimate looks at each pair of a subschema and a value once, however often the check would, so it stays fast.
"""

import functools
from collections.abc import Iterator
from urllib.parse import urldefrag, urljoin

from pydantic import JsonValue

from webhooks.errors import WebhooksError
from webhooks.json_pointer import key_of, steps_of

MAX_STEPS = 300_000
"""Evaluations of subschemas that find whether a value is valid: tens of nanoseconds each."""
MAX_REASONS = 50_000
"""Further evaluations that find why each of several alternatives is not valid: tens of microseconds each."""
_MAX_PAIRS = 30_000
"""Pairs of a subschema and a value."""

_NAMED = {"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"}
_STANDARD = ("https://json-schema.org/", "http://json-schema.org/")
_BRANCHES = ("anyOf", "oneOf")
_IN_PLACE = ("not", "if", "then", "else")
_OF_EACH_ITEM = ("items", "contains", "unevaluatedItems")
_OF_EACH_MEMBER = ("additionalProperties", "unevaluatedProperties")
_APPLIES = {*_BRANCHES, *_IN_PLACE, *_OF_EACH_ITEM, *_OF_EACH_MEMBER, "$ref", "$dynamicRef", "allOf", "prefixItems"}
_APPLIES |= {"dependentSchemas", "properties", "patternProperties", "propertyNames"}


class UnknownReferenceError(WebhooksError):
    """A reference names no schema of this document. `path` is its path in the schema."""

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.path = path


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


def check_references(schema: JsonValue) -> None:
    """Raise UnknownReferenceError for a reference whose steps cannot be estimated. The schema must be valid: all that
    is left then is a reference that is written in another way than the `$id` that it names, and an `$id` that occurs
    twice."""
    _Resources(schema).check()


class _Count:
    """The count of evaluations for one schema and one value."""

    def __init__(self, root: JsonValue) -> None:
        self._root = root
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
            if isinstance(schema.get(keyword), str):
                for target in self._resources.targets(schema, keyword):
                    yield target, data, False
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

    @functools.cached_property
    def _resources(self) -> "_Resources":
        return _Resources(self._root)


class _Resources:
    """The schemas in a document that have a URI, and those that have an anchor. `$id` gives a schema a URI, to which
    the references and anchors inside it are relative."""

    def __init__(self, root: JsonValue) -> None:
        self._root = root
        self._bases: dict[int, str] = {}
        """The URI of each subschema that is an object, by its `id()`."""
        self._places: dict[int, tuple[str | int, ...]] = {}
        self._references: list[tuple[dict[str, JsonValue], str]] = []
        self._by_uri: dict[str, JsonValue] = {"": root}
        self._anchors: dict[tuple[str, str], JsonValue] = {}
        self._dynamic: dict[str, list[JsonValue]] = {}
        self._twice: list[tuple[str | int, ...]] = []
        """Paths of each `$id` that occurs again."""
        self._add(root, "", ())

    def check(self) -> None:
        for path in self._twice:
            raise UnknownReferenceError(path, "another schema of this document has the same $id")
        for schema, keyword in self._references:
            uri, _ = self._split(schema, keyword)
            if not self._knows(uri):
                path = (*self._places[id(schema)], keyword)
                raise UnknownReferenceError(path, "no schema of this document has this $id; write both in the same way")

    def targets(self, schema: dict[str, JsonValue], keyword: str) -> list[JsonValue]:
        """Return the schemas that the reference may point to; the root for one to the standard's own schemas, which
        take no more steps. Raises TooCostlyError if it names no schema."""
        uri, fragment = self._split(schema, keyword)
        if not self._knows(uri):
            raise TooCostlyError
        if fragment and not fragment.startswith("/"):
            found = [self._anchors.get((uri, fragment), self._root)]
            others = self._dynamic.get(fragment, []) if keyword == "$dynamicRef" else []
            return found + [other for other in others if other is not found[0]]
        target = self._by_uri.get(uri, self._root)
        for step in steps_of(fragment):
            match key_of(step, target), target:
                case str() as name, dict():
                    target = target[name]
                case int() as index, list():
                    target = target[index]
                case _:
                    return [self._root]
        if isinstance(target, dict) and id(target) not in self._bases:  # within a keyword that is not the standard's
            self._add(target, uri, ())
        return [target]

    def _knows(self, uri: str) -> bool:
        return uri in self._by_uri or uri.startswith(_STANDARD)

    def _split(self, schema: dict[str, JsonValue], keyword: str) -> tuple[str, str]:
        """Return the URI and the fragment that a reference means."""
        uri, fragment = urldefrag(_joined(self._bases.get(id(schema), ""), str(schema[keyword])))
        return uri, fragment

    def _add(self, schema: JsonValue, base: str, path: tuple[str | int, ...], *, named: bool = False) -> None:
        """Add the schemas in this part of the document. `named`: its members have names, which are no keywords."""
        if isinstance(schema, dict) and not named:
            if isinstance(own := schema.get("$id"), str):
                base = urldefrag(_joined(base, own))[0]
                if base in self._by_uri and self._by_uri[base] is not schema:
                    self._twice.append((*path, "$id"))
                self._by_uri[base] = schema
            self._bases[id(schema)] = base
            self._places[id(schema)] = path
            for keyword in ("$ref", "$dynamicRef"):
                if isinstance(schema.get(keyword), str):
                    self._references.append((schema, keyword))
            for keyword in ("$anchor", "$dynamicAnchor"):
                if isinstance(name := schema.get(keyword), str):
                    self._anchors[base, name] = schema
                    if keyword == "$dynamicAnchor":
                        self._dynamic.setdefault(name, []).append(schema)
        inner = schema.items() if isinstance(schema, dict) else enumerate(schema) if isinstance(schema, list) else ()
        for step, part in inner:
            if isinstance(part, dict | list) and (named or isinstance(schema, list) or step in _APPLIES | _NAMED):
                self._add(part, base, (*path, step), named=not named and step in _NAMED)


def _joined(base: str, reference: str) -> str:
    if reference.startswith("#"):  # urljoin() knows no fragments of urn:
        return base + reference
    try:
        return urljoin(base, reference)
    except ValueError:
        return reference


def _listed(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _named(value: JsonValue) -> dict[str, JsonValue]:
    return value if isinstance(value, dict) else {}
