"""Changing a resource by JSON Merge Patch (RFC 7396)."""

from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, JsonValue, ValidationError

from api.protocol.problems import ProblemError, invalid
from webhooks.credentials.masking import MASK
from webhooks.json_pointer import json_pointer

_WHOLE = {"schema", "template", "sample", "filter"}
"""Fields that a patch replaces as a whole: null inside them has a meaning, and merging would change it."""

Model = TypeVar("Model", bound=BaseModel)


def document_of(view: BaseModel, body: type[BaseModel]) -> dict[str, Any]:
    """Return the fields of the view that can be changed: the document that a patch is applied to."""
    shown = view.model_dump(mode="json", by_alias=True)
    return {name: shown[name] for name in _names(body)}


def changes_in(patch: dict[str, JsonValue], view: BaseModel, body: type[BaseModel]) -> dict[str, JsonValue]:
    """Return the members of the patch that change something.

    A client may send back everything that it read. So ignore unchanged fields that cannot be changed, and fields that
    were shown as null and still are: a webhook shows null for a field in which its subscriptions differ.

    Raises ProblemError 422 if `allowedClientIdentifiers` becomes null: it has no default, and `[]` means all clients.
    """
    shown, changeable = view.model_dump(mode="json", by_alias=True), _names(body)

    def changes_nothing(name: str, value: JsonValue) -> bool:
        return name in shown and shown[name] == value and (value is None or name not in changeable)

    changes = {name: value for name, value in patch.items() if not changes_nothing(name, value)}
    if changes.get("allowedClientIdentifiers", []) is None:
        raise invalid("/allowedClientIdentifiers", "must be a list; [] means all clients")
    return changes


def merged(document: JsonValue, patch: JsonValue) -> Any:
    """Return the result of applying `patch` to `document`. Neither is modified."""
    if not isinstance(patch, dict):
        return patch
    result = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif name in _WHOLE:
            result[name] = value
        else:
            result[name] = merged(result.get(name), value)
    return result


def unmasked(document: JsonValue, stored: JsonValue, *path: str) -> Any:
    """Return `document` with each masked value replaced by the stored one, for a client that sends back what it read.
    Raises ProblemError 422 if a masked value has no stored one."""
    if document == MASK:
        if not isinstance(stored, str):
            raise invalid(json_pointer(path), "the value is masked, and no value is stored; send the whole value")
        return stored
    if not isinstance(document, dict):
        return document
    known = stored if isinstance(stored, dict) else {}
    return {name: unmasked(value, known.get(name), *path, name) for name, value in document.items()}


def validated(model: type[Model], document: JsonValue, *place: str | int) -> Model:
    """Return the document as a model. `place` is the path of the document in the request's body.

    Raises RequestValidationError or ProblemError with pointers from the root of the body."""
    try:
        return model.model_validate(document)
    except ProblemError as error:
        errors = [(json_pointer(place) + pointer, detail) for pointer, detail in error.errors]
        raise ProblemError(error.status, error.detail, errors=errors) from None
    except ValidationError as error:
        raise RequestValidationError(
            [{**item, "loc": ("body", *place, *item["loc"])} for item in error.errors(include_url=False)]
        ) from None


def _names(body: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in body.model_fields.items()]
