"""Which field of a webhook's form a fault of the API belongs to."""

from collections.abc import Mapping
from typing import Any

from api.pages.webhook_form import Faults, Fields

_FIELDS = {"allowedClientIdentifiers": "clients", "event": "events", "client_certificate": "certificate"}
_OF_AUTHENTICATION = {"name": "pair_name", "value": "pair_value", "in": "pair_in", "type": "auth"}


def by_field(errors: Mapping[str, str], fields: Fields) -> Faults:
    """Return what is wrong in each field, by its name; by the empty name what belongs to no field."""
    faults: Faults = {}
    for pointer, detail in errors.items():
        name = _field_of(pointer, fields)
        faults[name] = f"{faults[name]}; {detail}" if name in faults else detail
    return faults


def _field_of(pointer: str, fields: Fields) -> str:
    name: Any = ""
    match [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]:
        case ["headers", key] | ["authentication", "parameters", key]:
            rows = "headers" if pointer.startswith("/headers") else "parameters"
            numbers = [number for number, (name, _) in enumerate(fields[rows]) if name == key]
            return f"{rows}_{numbers[0]}" if numbers else rows
        case ["authentication", member, *_]:
            name = _OF_AUTHENTICATION.get(member, member)
        case ["authentication"]:
            name = "auth"
        case ["client_certificate", part]:
            name = part
        case ["retry_policy", member, *_]:
            name = f"retry_{member}"
        case ["retry_policy"]:
            name = "retry"
        case [first, *_]:
            name = _FIELDS.get(first, first)
    return str(name) if name in fields else ""
