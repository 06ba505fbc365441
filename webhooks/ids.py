"""Identifiers, and the identifiers that are made of them. Pure."""

import re
import secrets
import time
from datetime import datetime

OCCURRENCE_ID = r"[A-Za-z0-9_:-]{1,128}"
"""Pattern of an occurrence's id. A dot is not allowed because dots separate the parts of the signed text, and a `~` is
not because it separates the parts of a delivery's id."""

_OCCURRENCE_ID = re.compile(OCCURRENCE_ID)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DELIVERY_ID = re.compile(rf"{OCCURRENCE_ID}~[0-9a-f-]{{36}}")


def uuid7() -> str:
    """Return a new time-ordered UUID (RFC 9562, version 7)."""
    stamp = time.time_ns() // 1_000_000
    value = stamp << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def uuid7_not_before(at: datetime) -> str:
    """Return the beginning of a UUID of version 7: in the order of text, all that `uuid7` made before `at` come before
    it."""
    digits = f"{int(at.timestamp() * 1000):012x}"
    return f"{digits[:8]}-{digits[8:]}"


def delivery_id(occurrence_id: str, webhook_id: str) -> str:
    """Return the id of an occurrence's delivery to a webhook."""
    return f"{occurrence_id}~{webhook_id}"


def is_occurrence_id(text: str) -> bool:
    """Return whether `text` has the form of an occurrence's id."""
    return _OCCURRENCE_ID.fullmatch(text) is not None


def is_delivery_id(text: str) -> bool:
    """Return whether `text` has the form of a delivery's id."""
    return _DELIVERY_ID.fullmatch(text) is not None


def is_uuid(text: str) -> bool:
    """Return whether `text` has the form of a UUID as `uuid7` writes it."""
    return _UUID.fullmatch(text) is not None


def job_name(id: str) -> str:
    """Return the name of a job's workflow. No occurrence and no delivery can have it."""
    return f"~job~{id}"


def fan_out_name(occurrence_id: str, part: int = 0) -> str:
    """Return the name of the workflow that starts an occurrence's deliveries, or a further part of them. No occurrence
    and no delivery can have it."""
    return f"~fan-out~{occurrence_id}{f'~{part}' if part else ''}"


def workflow_id(tenant: str, name: str) -> str:
    """Return the Temporal workflow id of a tenant's delivery or unmatched occurrence, where `name` is its id; or
    of a job or a fan-out."""
    return f"{tenant}/{name}"


def name_in(tenant: str, workflow: str) -> str:
    """Return the `name` that `workflow_id` was given."""
    return workflow.removeprefix(f"{tenant}/")


def tenant_in(workflow: str) -> str:
    """Return the tenant that `workflow_id` was given; an empty text if it did not make this id."""
    return workflow.rpartition("/")[0]
