"""Changing a resource: JSON Merge Patch (RFC 7396), and ETag with If-Match (RFC 9110) against lost updates."""

from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, JsonValue, ValidationError

from api.protocol.problems import ProblemError, invalid
from webhooks.credentials.masking import MASK
from webhooks.json_pointer import json_pointer

_WHOLE = {"schema", "template", "sample", "filter"}
"""Values of their own, in which null has a meaning: merging would change what they say."""

Model = TypeVar("Model", bound=BaseModel)


def document_of(view: BaseModel, body: type[BaseModel]) -> dict[str, Any]:
    """What of the view may be changed: the document that a patch is applied to."""
    shown = view.model_dump(mode="json", by_alias=True)
    return {name: shown[name] for name in _names(body)}


def changes_in(patch: dict[str, JsonValue], view: BaseModel, body: type[BaseModel]) -> dict[str, JsonValue]:
    """The patch for someone who may have sent back all that he read: what cannot be changed may be repeated, and a null
    that is shown says nothing, as for a webhook whose subscriptions differ. Raises ProblemError 422 for null clients,
    which no default can stand for: `[]` is everybody."""
    shown, changeable = view.model_dump(mode="json", by_alias=True), _names(body)

    def says_nothing(name: str, value: JsonValue) -> bool:
        return name in shown and shown[name] == value and (value is None or name not in changeable)

    changes = {name: value for name, value in patch.items() if not says_nothing(name, value)}
    if changes.get("allowedClientIdentifiers", []) is None:
        raise invalid("/allowedClientIdentifiers", "must be a list; [] is every client")
    return changes


def merged(document: JsonValue, patch: JsonValue) -> Any:
    """`patch` applied to `document`, which stays as it is."""
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
    """`document` as sent back by someone who read it masked: a masked value stands for the stored one. Raises
    ProblemError 422 where none is stored."""
    if document == MASK:
        if not isinstance(stored, str):
            raise invalid(json_pointer(path), "a masked value stands for a stored one, and there is none")
        return stored
    if not isinstance(document, dict):
        return document
    known = stored if isinstance(stored, dict) else {}
    return {name: unmasked(value, known.get(name), *path, name) for name, value in document.items()}


def validated(model: type[Model], document: JsonValue, *place: str | int) -> Model:
    """Raises RequestValidationError, as if the document stood at this place of the request's body."""
    try:
        return model.model_validate(document)
    except ProblemError as error:
        errors = [(json_pointer(place) + pointer, detail) for pointer, detail in error.errors]
        raise ProblemError(error.status, error.detail, errors=errors) from None
    except ValidationError as error:
        raise RequestValidationError(
            [
                {**item, "loc": ("body", *place, *item["loc"])}
                for item in error.errors(include_input=False, include_url=False)
            ]
        ) from None


def _names(body: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in body.model_fields.items()]
