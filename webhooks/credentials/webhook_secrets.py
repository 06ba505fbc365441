"""What of a webhook's configuration is secret, and how it is kept out of sight. Pure."""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from html import escape
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from webhooks.credentials.authentication import SECRET_FIELDS, Authentication, NoAuthentication

MASK = "********"
_SECRET_NAME = re.compile(
    r"auth|token|secret|key|passw|pwd|cookie|credential|signature|session|jwt|bearer|apikey", re.IGNORECASE
)
_SCHEME = re.compile(r"(?:basic|bearer|digest|token|negotiate|apikey|aws4-hmac-sha256)\s+\S", re.IGNORECASE)
_LONG_RANDOM = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[A-Za-z0-9+/=_.\-]{24,}")
_SHORTEST = 4
"""A shorter value would blot out ordinary words."""


class SigningKey(BaseModel):
    """What signs deliveries: the shared secret, and the seed of the Ed25519 key (base64 of 32 bytes). One that was
    replaced goes on signing beside its successor until `expires_at`."""

    secret: str = Field(repr=False)
    seed: str = Field(repr=False)
    expires_at: datetime | None = None


class Secrets(BaseModel):
    """All that is secret of one webhook, sealed as one. `headers` and `authentication` are whole here; what the
    webhook's row holds of them is masked. The newest signing key comes first. What is sealed must open for as long as
    it is stored: a rule for `authentication` may be made stricter only together with a migration."""

    model_config = ConfigDict(hide_input_in_errors=True)

    signing: list[SigningKey] = Field(min_length=1)
    headers: dict[str, str] = Field({}, repr=False)
    authentication: Authentication = NoAuthentication()

    def signing_keys(self, now: datetime) -> list[SigningKey]:
        """Those that sign at this moment."""
        return [key for key in self.signing if key.expires_at is None or now < key.expires_at]

    def values(self) -> list[str]:
        """Every secret value, with and without its authentication scheme, longest first."""
        document = self.authentication.model_dump()
        values = {text.removeprefix("whsec_") for key in self.signing for text in (key.secret, key.seed)}
        values |= {value for name, value in document.items() if name in SECRET_FIELDS}
        for headers in (self.headers, document.get("parameters", {})):
            values |= {value for name, value in headers.items() if is_credential(name, value)}
        values |= {value.split(None, 1)[1] for value in values if _SCHEME.match(value)}
        values |= {quote(value, safe="") for value in values}  # as the query string has it
        return sorted((value for value in values if len(value) >= _SHORTEST), key=len, reverse=True)


def is_credential(name: str, value: str) -> bool:
    """Whether a header looks like one that grants something to whoever knows it."""
    return bool(_SECRET_NAME.search(name) or _SCHEME.match(value) or _LONG_RANDOM.fullmatch(value))


def masked(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: MASK if is_credential(name, value) else value for name, value in headers.items()}


def masked_authentication(authentication: Authentication) -> dict[str, Any]:
    """The document as it may be shown."""
    document = authentication.model_dump(by_alias=True)
    if "parameters" in document:
        document["parameters"] = masked(document["parameters"])
    return {name: MASK if name in SECRET_FIELDS else value for name, value in document.items()}


def blot_out(text: str, secrets: Iterable[str], *, cut: bool = False) -> str:
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
    while (start := text.find(form[:_SHORTEST], start)) >= 0:
        if form.startswith(text[start:]):
            return len(text) - start
        start += 1
    return 0
