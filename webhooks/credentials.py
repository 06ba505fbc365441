"""Which configured headers are credentials, and how their values are kept out of sight. Pure."""

import json
import re
from collections.abc import Iterable, Mapping

MASK = "********"
_SECRET_NAME = re.compile(
    r"auth|token|secret|key|passw|pwd|cookie|credential|signature|session|jwt|bearer|apikey", re.IGNORECASE
)
_SCHEME = re.compile(r"(?:basic|bearer|digest|token|negotiate|apikey|aws4-hmac-sha256)\s+\S", re.IGNORECASE)
_LONG_RANDOM = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[A-Za-z0-9+/=_.\-]{24,}")
_SHORTEST = 4
"""A shorter value would blot out ordinary words."""


def is_credential(name: str, value: str) -> bool:
    """Whether a header looks like one that grants something to whoever knows it."""
    return bool(_SECRET_NAME.search(name) or _SCHEME.match(value) or _LONG_RANDOM.fullmatch(value))


def masked(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: MASK if is_credential(name, value) else value for name, value in headers.items()}


def unmasked(headers: Mapping[str, str], stored: Mapping[str, str]) -> dict[str, str]:
    """`headers` as sent back by someone who read them masked: a masked value stands for the stored one."""
    known = {name.lower(): value for name, value in stored.items()}
    return {name: known.get(name.lower(), value) if value == MASK else value for name, value in headers.items()}


def secrets_of(headers: Mapping[str, str]) -> list[str]:
    """The values that must not show, with and without their authentication scheme, longest first."""
    values = {value for name, value in headers.items() if is_credential(name, value)}
    values |= {value.split(None, 1)[1] for value in values if _SCHEME.match(value)}
    return sorted((value for value in values if len(value) >= _SHORTEST), key=len, reverse=True)


def blot_out(text: str, secrets: Iterable[str], *, cut: bool = False) -> str:
    """`text` without the given secrets, also where JSON escapes them: a receiver may echo what it was sent. `cut` says
    that the text's end is not the answer's, so that it may hold the beginning of a secret."""
    for secret in secrets:
        for form in {secret, json.dumps(secret)[1:-1]}:
            text = text.replace(form, MASK)
            for length in range(len(form) - 1, _SHORTEST - 1, -1) if cut else ():
                if text.endswith(form[:length]):
                    text = text[:-length] + MASK
                    break
    return text
