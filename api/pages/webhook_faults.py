"""Which field of a webhook's form a fault of the API belongs to."""

from typing import Any

from api.pages.calls import CallError
from api.pages.fields import Faults, faults_in
from api.pages.webhook_form import ROWS, Fields

_FIELDS = {"allowedClientIdentifiers": "clients", "event": "events", "client_certificate": "certificate"}
_OF_AUTHENTICATION = {"name": "pair_name", "value": "pair_value", "in": "pair_in", "type": "auth"}


def by_field(error: CallError, fields: Fields) -> Faults:
    """Return what is wrong in each field, by its name; by the empty name what belongs to no field."""
    rows = [f"{name}_{number}" for name in ROWS for number in range(len(fields[name]))]
    return faults_in(error, *fields, *rows, place=lambda pointer: (_field_of(pointer, fields), ""))


def _field_of(pointer: str, fields: Fields) -> str:
    name: Any = ""
    match [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]:
        case ["headers" as rows, key] | ["authentication", "parameters" as rows, key]:
            numbers = [number for number, (name, _) in enumerate(fields[rows]) if name == key]
            name = f"{rows}_{numbers[0]}" if numbers else rows
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
    return str(name)
