"""Secrets kept out of what people see: configuration that is read back, and answers that echo it. Pure."""

import json
import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from webhooks.credentials.authentication import SECRET_FIELDS, Authentication

MASK = "********"

_SECRET_NAME = re.compile(
    r"auth|token|secret|key|passw|pwd|cookie|credential|signature|session|jwt|bearer|apikey", re.IGNORECASE
)

SCHEME = re.compile(r"(?:basic|bearer|digest|token|negotiate|apikey|aws4-hmac-sha256)\s+\S", re.IGNORECASE)

_LONG_RANDOM = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[A-Za-z0-9+/=_.\-]{24,}")

SHORTEST = 4
"""A shorter value would blot out ordinary words."""


def is_credential(name: str, value: str) -> bool:
    """Whether a header looks like one that grants something to whoever knows it."""
    return bool(_SECRET_NAME.search(name) or SCHEME.match(value) or _LONG_RANDOM.fullmatch(value))


def masked(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: MASK if is_credential(name, value) else value for name, value in headers.items()}


def masked_authentication(authentication: Authentication) -> dict[str, Any]:
    """The document as it may be shown."""
    document = authentication.model_dump(by_alias=True)
    if "parameters" in document:
        document["parameters"] = masked(document["parameters"])
    return {name: MASK if name in SECRET_FIELDS else value for name, value in document.items()}


def redact(text: str, secrets: Iterable[str], *, cut: bool = False) -> str:
    """`text` without the given secrets, also where JSON or HTML escapes them: a receiver may echo what it was sent.
    `cut` says that the text's end is not the answer's, so that it may hold the beginning of a secret."""
    for secret in secrets:
        for form in _spellings(secret):
            text = text.replace(form, MASK)
            if cut and (end := _begun(text, form)):
                text = text[:-end] + MASK
    return text


def _spellings(secret: str) -> set[str]:
    in_json = json.dumps(secret)[1:-1]
    careful = "".join(f"\\u{ord(char):04X}" if char in "+&<>'\"`" else char for char in secret)  # as .NET has it
    return {
        secret,
        in_json,
        in_json.replace("/", "\\/"),
        json.dumps(secret, ensure_ascii=False)[1:-1],
        careful,
        escape(secret),
    }


def _begun(text: str, form: str) -> int:
    """How much of `form`'s beginning the text ends with; a few characters could be anything."""
    start = max(len(text) - len(form) + 1, 0)
    while (start := text.find(form[:SHORTEST], start)) >= 0:
        if form.startswith(text[start:]):
            return len(text) - start
        start += 1
    return 0
