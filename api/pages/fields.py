"""Forms: the JSON that people write in their fields, and where the API finds a field wrong."""

import json
from collections.abc import Callable
from typing import Any

from api.pages.calls import CallError
from webhooks.json_documents import DocumentError, parse

Faults = dict[str, str]
"""What is wrong, by the name of the form's field; at the name '', what belongs to none."""


def with_json(body: dict[str, Any], **texts: str) -> bytes:
    """Return a body for the API: the JSON of `body`, with members that people wrote as JSON. These stay as they wrote
    them, so that numbers keep their digits; an empty text is null. Raises CallError 422 if one is no JSON."""
    members = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in body.items()]
    errors = []
    for name, text in texts.items():
        members.append(f"{json.dumps(name)}: {text.strip() or 'null'}")
        try:
            parse(text.strip() or "null")
        except DocumentError as error:
            errors.append({"pointer": f"/{name}{error.pointer}", "detail": f"not valid JSON: {error}"})
    if errors:
        raise CallError(422, {"detail": "a field is not valid JSON", "errors": errors})
    return f"{{{', '.join(members)}}}".encode()


def _first_step(pointer: str) -> tuple[str, str]:
    name, _, rest = pointer.removeprefix("/").partition("/")
    return name, rest


def faults_in(error: CallError, *shown: str, place: Callable[[str], tuple[str, str]] = _first_step) -> Faults:
    """Return what the API says of the fields that the form shows. `place` returns the field that a JSON pointer is in,
    and where in its value; by default the first step of the pointer is the field."""
    found: Faults = {}
    for pointer, detail in error.errors.items():
        name, rest = place(pointer)
        if name in shown:
            text = f"at /{rest}: {detail}" if rest else detail
        else:
            name, text = "", f"{pointer}: {detail}" if pointer else detail
        found[name] = f"{found[name]}; {text}" if name in found else text
    return found or {"": error.detail}
