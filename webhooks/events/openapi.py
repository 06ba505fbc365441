"""The `webhooks` of an OpenAPI 3.1 document as events of the catalogue.

The document describes whole bodies, so each event has the template `{data}`: receivers get the body that the document
describes. Each schema is made self-contained: the components that it refers to become its `$defs`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import quote

from pydantic import JsonValue

from webhooks.events.json_schema import MAX_SCHEMA_BYTES
from webhooks.json_documents import DocumentError, Path
from webhooks.json_pointer import json_pointer, key_of, steps_of

_MAX_DESCRIPTION = 2000
"""Characters."""
_MAX_TOTAL_BYTES = 8 * 1024 * 1024
"""Of the schemas of all events."""
_MAX_REFS = 20
"""References that are followed from one place."""
_MAX_MEMBERS = 100
"""Examples or media types that are looked at in one place."""

_VERSION = re.compile(r"3\.[1-9][0-9]*(?:\..*)?")

_COMPONENTS = ("components", "schemas")
_LITERALS = {"const", "default", "dependentRequired", "enum", "example", "examples"}
_NAMED_SCHEMAS = {"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"}


def events(document: dict[str, JsonValue]) -> list[dict[str, JsonValue]]:
    """Return the events as POST /v1/events takes them. They are not validated. Raises DocumentError."""
    if "swagger" in document:
        raise DocumentError("Swagger 2 has no `webhooks`; use OpenAPI 3.1", ("swagger",))
    version = str(document["openapi"])
    if not _VERSION.fullmatch(version):
        raise DocumentError(f"OpenAPI {_short(version)} has no `webhooks`; use OpenAPI 3.1", ("openapi",))
    if "webhooks" not in document:
        raise DocumentError("the OpenAPI document has no `webhooks`")
    webhooks = _Place(document, (), document).child("webhooks")
    if not isinstance(webhooks.value, dict):
        raise webhooks.refusal("must be an object")
    schemas = _Schemas()
    return [_event(name, webhooks.child(name), schemas) for name in webhooks.value]


def _short(text: str) -> str:
    return text if len(text) <= 100 else text[:100] + "..."


@dataclass(frozen=True)
class _Place:
    """A value of the document, with its path."""

    document: JsonValue
    path: Path
    value: Any

    def refusal(self, message: str) -> DocumentError:
        return DocumentError(message, self.path)

    def root(self) -> "_Place":
        return _Place(self.document, (), self.document)

    def child(self, step: str | int) -> "_Place":
        return _Place(self.document, (*self.path, step), self.value[step])

    def target(self) -> "_Place":
        """Return the place that this `$ref` points to."""
        if not isinstance(self.value, str) or not self.value.startswith("#/"):
            raise self.refusal(f"the $ref must point into this document: {_short(str(self.value))}")
        place = self.root()
        for step in steps_of(self.value.removeprefix("#")):
            key = key_of(step, place.value)
            if key is None:
                raise self.refusal(f"the $ref points to nothing: {_short(self.value)}")
            place = place.child(key)
        return place

    def objects(self) -> Iterator["_Place"]:
        """Yield this object and, as long as it has a `$ref`, the object that it points to. Members beside a `$ref`
        come first. End at a boolean, which is a schema too."""
        place = self
        for _ in range(_MAX_REFS):
            if isinstance(place.value, bool):
                return
            if not isinstance(place.value, dict):
                raise place.refusal("must be an object")
            yield place
            if "$ref" not in place.value:
                return
            place = place.child("$ref").target()
        raise self.refusal(f"the $ref leads in a circle, or through more than {_MAX_REFS} others")

    def get(self, name: str) -> "_Place | None":
        return next((place.child(name) for place in self.objects() if name in place.value), None)

    def members(self) -> Iterator["_Place"]:
        """Yield the first members, at most 100: a thousand webhooks may refer to the same long list."""
        return (last.child(name) for last in [*self.objects()][-1:] for name in islice(last.value, _MAX_MEMBERS))


def _event(name: str, webhook: _Place, schemas: "_Schemas") -> dict[str, JsonValue]:
    operation = webhook.get("post") or webhook.get("put")
    if operation is None:
        raise webhook.refusal("the webhook has neither `post` nor `put`")
    deprecated = operation.get("deprecated")
    event: dict[str, JsonValue] = {
        "key": name,
        "description": _description(operation, webhook),
        "active": not (deprecated and deprecated.value is True),
        "template": "{data}",
    }
    if media := _json_media(operation):
        schema = media.get("schema")
        if schema:
            event["schema"] = schemas.self_contained(schema)
        if sample := next(_samples(media, schema), None):
            event["sample"] = sample.value
    return event


def _description(*places: _Place) -> str:
    for place in places:
        for field in ("description", "summary"):
            text = place.get(field)
            if text and isinstance(text.value, str) and text.value.strip():
                return text.value.strip()[:_MAX_DESCRIPTION]
    return ""


def _json_media(operation: _Place) -> _Place | None:
    body = operation.get("requestBody")
    content = body and body.get("content")
    for media in content.members() if content else ():
        name = str(media.path[-1]).partition(";")[0].strip().lower()
        if name == "application/json" or name.endswith("+json"):
            return media
    return None


def _samples(media: _Place, schema: _Place | None) -> Iterator[_Place]:
    if example := media.get("example"):
        yield _literal(example)
    if examples := media.get("examples"):
        for example in examples.members():
            if value := example.get("value"):
                yield _literal(value)
    if schema:
        if example := schema.get("example"):
            yield _literal(example)
        examples = schema.get("examples")
        if examples and isinstance(examples.value, list) and examples.value:
            yield _literal(examples.child(0))


def _literal(sample: _Place) -> _Place:
    if not isinstance(sample.value, dict) or sample.value.keys() != {"$ref"}:
        return sample
    value = sample.get("value")  # OpenAPI allows no $ref here, but documents use it for an Example Object
    if value is None:
        raise sample.refusal("the $ref does not point to an example")
    return value


class _Schemas:
    """The schemas of one document. Rewrites each part once: a thousand webhooks may share them all."""

    def __init__(self) -> None:
        self._total = 0
        self._parts: dict[Path, tuple[JsonValue, list[_Place], int]] = {}

    def self_contained(self, schema: _Place) -> JsonValue:
        """Return the schema with every component that it needs in its `$defs`. Raises DocumentError if too large."""
        made: dict[Path, JsonValue] = {}
        size = 0
        places = [schema]
        for place in places:
            if place.path in made:
                continue
            made[place.path], needed, length = self._part(place)
            places += needed
            size += length
            if size > MAX_SCHEMA_BYTES:
                raise schema.refusal(
                    f"the schema, with everything that it refers to, is larger than {MAX_SCHEMA_BYTES} bytes"
                )
        self._total += size
        if self._total > _MAX_TOTAL_BYTES:
            raise schema.refusal(
                "the schemas of all webhooks, with everything that they refer to, "
                f"are larger than {_MAX_TOTAL_BYTES} bytes together"
            )
        whole = made.pop(schema.path)
        if not isinstance(whole, dict) or not made:
            return whole
        # This may replace `$defs` of the schema: all references are now to components.
        return {**whole, "$defs": {str(path[-1]): definition for path, definition in made.items()}}

    def _part(self, place: _Place) -> tuple[JsonValue, list[_Place], int]:
        """Return the schema with references to `$defs`, the components that they name, and its size in bytes."""
        if place.path not in self._parts:
            needed: dict[Path, _Place] = {}
            rewritten = _rewritten(place, needed)
            self._parts[place.path] = rewritten, [*needed.values()], len(json.dumps(rewritten))
        return self._parts[place.path]


def _rewritten(schema: _Place, needed: dict[Path, _Place]) -> JsonValue:
    value: JsonValue = schema.value
    if isinstance(value, list):
        return [_rewritten(schema.child(index), needed) for index in range(len(value))]
    if isinstance(value, dict):
        # Without `$id`, so that the references inside are relative to the schema that we make.
        return {name: _keyword(name, schema.child(name), needed) for name in value if name != "$id"}
    return value


def _keyword(name: str, place: _Place, needed: dict[Path, _Place]) -> JsonValue:
    value: JsonValue = place.value
    if name == "$ref":
        path = place.target().path
        if path[:2] != _COMPONENTS or len(path) == len(_COMPONENTS):
            raise place.refusal(f"the $ref must point into #/components/schemas: {_short(str(value))}")
        needed[path[:3]] = place.root().child("components").child("schemas").child(path[2])
        return "#" + quote(json_pointer(("$defs", *path[2:])), safe="/~$!&'()*+,;=:@?")
    if name == "$dynamicRef":
        raise place.refusal("$dynamicRef is not supported")
    if name in _LITERALS or name.startswith("x-"):
        return value
    if name in _NAMED_SCHEMAS and isinstance(value, dict):
        return {inner: _rewritten(place.child(inner), needed) for inner in value}
    return _rewritten(place, needed)
