"""The fields of a webhook's form, and the API's document that they make."""

import json
import math
import re
from typing import Any

from api.protocol.forms import Form
from api.schemas.webhooks import WebhookIn
from webhooks.contracts import Format
from webhooks.credentials.authentication import MODES
from webhooks.credentials.masking import MASK
from webhooks.credentials.signing import Style
from webhooks.retry import PRESETS

Fields = dict[str, Any]
"""What each field of the form holds, by its name."""
Faults = dict[str, str]
"""What is wrong in a field, by its name."""

NONE, PAIR, CLIENT, PASSWORD = MODES
_OAUTH = ("token_url", "client_id", "client_secret", "client_authentication", "scope", "audience")
_GROWING = ("initial_interval", "backoff_coefficient", "maximum_interval", "maximum_attempts")
_TEXTS = (
    *("name", "description", "url", "method", "format", "clients", "client_identifier", "filter", "timeout"),
    *("auth", "pair_name", "pair_value", "pair_in", *_OAUTH, "username", "password"),
    *("certificate", "private_key", "signing_secret", "retry", "retry_schedule", "retry_non_retryable_statuses"),
    *(f"retry_{name}" for name in _GROWING),
)
_SWITCHES = ("active", "sends_json", "bulk", "retry_only_5xx")
_LISTS = ("events", "signatures")
ROWS = ("headers", "parameters")
_MOST_ROWS = 50
SECTIONS = {
    "selection": ("clients", "client_identifier", "filter", "bulk"),
    "request": ("method", "format", "sends_json", "headers", "timeout"),
    "authentication": (
        *("auth", "pair_name", "pair_value", "pair_in", *_OAUTH, "username", "password", "parameters"),
        *("certificate", "private_key"),
    ),
    "signatures": ("signatures", "signing_secret"),
    "retries": (
        *("retry", "retry_schedule", "retry_non_retryable_statuses", "retry_only_5xx"),
        *(f"retry_{name}" for name in _GROWING),
    ),
    "more": ("description", "active"),
}
"""The fields that not every webhook needs. A section is closed while its fields have their defaults."""
CHOICES = {
    "modes": [(mode, mode) for mode in MODES],
    "formats": [(format.value, format.value) for format in Format],
    "styles": [style.value for style in Style],
}


def new() -> Fields:
    """Return the fields of a webhook that does not exist yet, with the API's defaults."""
    return of({**WebhookIn.model_construct(url="").model_dump(mode="json", by_alias=True), "signing_secret": ""})


def of(webhook: dict[str, Any]) -> Fields:
    """Return the fields that show a webhook."""
    authentication, policy = webhook["authentication"], webhook["retry_policy"]
    is_pair = authentication["type"] == PAIR
    certificate = webhook["client_certificate"] or {}
    preset = next((name for name, rules in PRESETS.items() if rules.model_dump(mode="json") == policy), None)
    return {
        **{name: webhook[name] for name in ("name", "description", "url", "method", "format", "events", "signatures")},
        **{name: webhook[name] for name in ("active", "sends_json", "bulk")},
        "clients": "\n".join(webhook["allowedClientIdentifiers"] or []),
        "client_identifier": webhook["client_identifier"] or "",
        "filter": json.dumps(webhook["filter"], indent=2, ensure_ascii=False) if webhook["filter"] else "",
        "timeout": _text(webhook["timeout"]),
        "auth": authentication["type"],
        "pair_name": authentication["name"] if is_pair else "",
        "pair_value": authentication["value"] if is_pair else "",
        "pair_in": authentication["in"] if is_pair else "header",
        **{name: authentication.get(name, "") for name in (*_OAUTH, "username", "password")},
        "client_authentication": authentication.get("client_authentication", "header"),
        "parameters": [*authentication.get("parameters", {}).items()],
        "headers": [*webhook["headers"].items()],
        "certificate": certificate.get("certificate", ""),
        "private_key": certificate.get("private_key", ""),
        "signing_secret": "",
        "retry": preset or ("schedule" if policy["schedule"] else "growing"),
        **{f"retry_{name}": _text(policy[name]) for name in _GROWING},
        "retry_schedule": ", ".join(map(_text, policy["schedule"])),
        "retry_non_retryable_statuses": ", ".join(map(_text, policy["non_retryable_statuses"])),
        "retry_only_5xx": policy["only_5xx"],
    }


def opened(fields: Fields, faults: Faults) -> set[str]:
    """Return the sections that are open: those that hold a value or a fault."""
    defaults = new()
    wrong = {re.sub(r"_\d+$", "", name) for name in faults}
    return {
        section
        for section, names in SECTIONS.items()
        if any(fields[name] != defaults[name] or name in wrong for name in names)
    }


def typed(form: Form) -> Fields:
    """Return the fields as somebody has filled them in."""
    return {
        **{name: form.get(name) for name in _TEXTS},
        **{name: name in form for name in _SWITCHES},
        **{name: form.all(name) for name in _LISTS},
        **{name: _rows(form, name) for name in ROWS},
    }


def document(fields: Fields, stored: dict[str, Any] | None) -> tuple[dict[str, Any], Faults]:
    """Return the body of the API call that creates the webhook, or changes the stored one, and what is wrong with the
    fields before the API sees them. What is no number stays a text: the API says what is wrong with it."""
    faults: Faults = {}
    body: dict[str, Any] = {
        **{name: fields[name].strip() for name in ("name", "description", "url")},
        **{name: fields[name] for name in ("method", "format", "events", "signatures", "active", "sends_json", "bulk")},
        "timeout": _number(fields["timeout"]),
        "headers": _members("headers", fields, faults),
        "authentication": _authentication(fields, faults),
        "client_certificate": _certificate(fields),
        "retry_policy": _retry_policy(fields, faults),
        "filter": _filter(fields, faults),
    }
    clients = [line.strip() for line in fields["clients"].splitlines() if line.strip()]
    if stored is None:
        body |= {name: fields[name].strip() or None for name in ("client_identifier", "signing_secret")}
        body["allowedClientIdentifiers"] = clients or None
        return _without_nulls(body) | ({"filter": body["filter"]} if body["filter"] is not None else {}), faults
    if not stored["client_identifier"] and (clients or stored["allowedClientIdentifiers"] is not None):
        body["allowedClientIdentifiers"] = clients
    # A merge patch keeps a member that it does not name: name each one that was removed.
    body["headers"] = dict.fromkeys(stored["headers"]) | body["headers"]
    if "parameters" in body["authentication"] and stored["authentication"]["type"] == fields["auth"]:
        body["authentication"]["parameters"] = (
            dict.fromkeys(stored["authentication"]["parameters"]) | body["authentication"]["parameters"]
        )
    return body, faults


def _authentication(fields: Fields, faults: Faults) -> dict[str, Any]:
    mode = fields["auth"]
    if mode == PAIR:
        return {"type": mode, **{name: fields[f"pair_{name}"] for name in ("name", "value", "in")}}
    if mode in (CLIENT, PASSWORD):
        names = (*_OAUTH, "username", "password") if mode == PASSWORD else _OAUTH
        parameters = _members("parameters", fields, faults)
        return {"type": mode, **{name: fields[name] for name in names}, "parameters": parameters}
    return {"type": mode}


def _certificate(fields: Fields) -> dict[str, str] | None:
    given = {name: fields[name].strip() for name in ("certificate", "private_key")}
    if not any(given.values()):
        return None
    return {name: text if text in ("", MASK) else f"{text}\n" for name, text in given.items()}


def _retry_policy(fields: Fields, faults: Faults) -> object:
    kind = fields["retry"]
    if kind in PRESETS:
        return kind
    common = {
        "non_retryable_statuses": _numbers(fields["retry_non_retryable_statuses"]),
        "only_5xx": fields["retry_only_5xx"],
    }
    if kind == "growing":
        return {**{name: _number(fields[f"retry_{name}"]) for name in _GROWING}, "schedule": [], **common}
    waits = _numbers(fields["retry_schedule"])
    if not waits:
        faults["retry_schedule"] = "give at least one wait, in seconds"
    return {"schedule": waits, **common}


def _filter(fields: Fields, faults: Faults) -> Any:
    text = fields["filter"].strip()
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError) as error:
        faults["filter"] = f"this is not JSON: {error}"
        return None


def _members(name: str, fields: Fields, faults: Faults) -> dict[str, str | None]:
    members: dict[str, str | None] = {}
    for index, (key, value) in enumerate(fields[name]):
        if key in members:
            faults[f"{name}_{index}"] = "another row has the same name; remove one"
        members[key] = value
    return members


def _rows(form: Form, name: str) -> list[tuple[str, str]]:
    rows = [(form.get(f"{name}_name_{n}").strip(), form.get(f"{name}_value_{n}")) for n in range(_MOST_ROWS)]
    return [row for row in rows if any(row)]


def _without_nulls(document: Any) -> Any:
    if not isinstance(document, dict):
        return document
    return {name: _without_nulls(value) for name, value in document.items() if value is not None}


def _numbers(text: str) -> list[float | str | None]:
    return [_number(part) for part in re.split(r"[,\s]+", text) if part]


def _number(text: str) -> float | str | None:
    """Return the number; the text if it is none; None if it is empty."""
    try:
        value = float(text)
    except ValueError:
        return text.strip() or None
    if not math.isfinite(value):
        return text
    return int(value) if value.is_integer() else value


def _text(number: float) -> str:
    return str(number).removesuffix(".0")
