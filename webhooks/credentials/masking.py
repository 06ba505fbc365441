"""Hides secrets in what people see: configuration that is read back, and answers that repeat it. Pure."""

import json
import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from webhooks.credentials.authentication import SECRET_FIELDS, Authentication

MASK = "********"
"""Stands for a secret."""

_SECRET_NAME = re.compile(
    r"auth|token|secret|key|passw|pwd|cookie|credential|signature|session|jwt|bearer|apikey", re.IGNORECASE
)
"""Header names that suggest a secret."""

SCHEME = re.compile(r"(?:basic|bearer|digest|token|negotiate|apikey|aws4-hmac-sha256)\s+\S", re.IGNORECASE)
"""A header value that begins with an authentication scheme."""

_CHALLENGES = ("www-authenticate", "proxy-authenticate")
"""Headers of answers that say how to authenticate. They hold no secret, and say why a request was refused."""

_LONG_RANDOM = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[A-Za-z0-9+/=_.\-]{24,}")
"""A value that looks like a key: long, with letters and digits."""

_NEVER_ESCAPED = re.compile(r"[A-Za-z0-9 !#$%()*,.:;=?@^_{|}~\[\]-]*")
"""Neither JSON encoders nor HTML write these characters in another way."""

MIN_REDACTED_CHARACTERS = 4
"""Shorter values are not redacted: they also occur in ordinary words."""


def is_credential(name: str, value: str) -> bool:
    """Return whether a header looks like it holds a secret."""
    return bool(_SECRET_NAME.search(name) or SCHEME.match(value) or _LONG_RANDOM.fullmatch(value))


def is_secret_of_receiver(name: str) -> bool:
    """Return whether a header of an answer may hold a secret, such as a cookie. Its value says nothing: ids of requests
    look like keys."""
    return bool(_SECRET_NAME.search(name)) and name.lower() not in _CHALLENGES


def masked(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers as they may be shown."""
    return {name: MASK if is_credential(name, value) else value for name, value in headers.items()}


def masked_authentication(authentication: Authentication) -> dict[str, Any]:
    """Return the authentication as a document that may be shown."""
    document = authentication.model_dump(by_alias=True)
    if "parameters" in document:
        document["parameters"] = masked(document["parameters"])
    return {name: MASK if name in SECRET_FIELDS else value for name, value in document.items()}


def redact(text: str, secrets: Iterable[str], *, cut: bool = False) -> str:
    """Return `text` with the given secrets redacted, as `Redaction.of` does."""
    return Redaction(secrets).of(text, cut=cut)


class Redaction:
    """Redacts the given secrets, also where JSON or HTML escapes them: a receiver may repeat what it was sent."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._forms = [form for secret in secrets for form in _spellings(secret)]

    def of(self, text: str, *, cut: bool = False) -> str:
        """Return `text` without the secrets. With `cut`, the text is the beginning of a longer one, and may end with a
        part of a secret."""
        for form in self._forms:
            text = text.replace(form, MASK)
        if cut and (end := max((_cut_off_length(text, form) for form in self._forms), default=0)):
            text = text[:-end] + MASK
        return text


def _spellings(secret: str) -> set[str]:
    """Return the secret as JSON encoders and HTML write it."""
    if _NEVER_ESCAPED.fullmatch(secret):
        return {secret}
    in_json = json.dumps(secret)[1:-1]
    dotnet = "".join(f"\\u{ord(char):04X}" if char in "+&<>'\"`" else char for char in secret)
    return {
        secret,
        in_json,
        in_json.replace("/", "\\/"),
        json.dumps(secret, ensure_ascii=False)[1:-1],
        dotnet,
        escape(secret),
    }


def _cut_off_length(text: str, form: str) -> int:
    """Return how many characters at the end of `text` are the beginning of `form`; 0 if they are too few to tell."""
    start = max(len(text) - len(form) + 1, 0)
    while (start := text.find(form[:MIN_REDACTED_CHARACTERS], start)) >= 0:
        if form.startswith(text[start:]):
            return len(text) - start
        start += 1
    return 0
