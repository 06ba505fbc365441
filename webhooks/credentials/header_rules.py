"""Which names and values a configured header may have. Pure."""

import re

from webhooks import characters

_RESERVED = frozenset(
    (
        "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "host",
        "keep-alive", "logto-signature-sha-256", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
        "traceparent", "tracestate", "trailer", "transfer-encoding", "upgrade", "user-agent", "x-hub-signature-256",
    )
)  # fmt: skip
"""Headers that the platform sets itself, and those that belong to one connection."""
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_VALUE_CHARACTER = re.compile(r"[\x20-\x7e\t]*")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]{0,4094}[\x21-\x7e])?")


def check_header(name: str, value: str) -> None:
    """Raise ValueError if a webhook may not have this header. The message does not hold the value."""
    if not _NAME.fullmatch(name):
        raise ValueError("a header name is a token of at most 128 characters")
    if name.lower() in _RESERVED or name.lower().startswith("webhook-"):
        raise ValueError(f"the header {name} is set by the platform")
    ordinary = _VALUE_CHARACTER.match(value)
    if ordinary and ordinary.end() < len(value):
        raise ValueError(f"the value of header {name}: {characters.refusal(value, ordinary.end(), 'printable ASCII')}")
    if not _VALUE.fullmatch(value):
        raise ValueError(f"the value of header {name} must be 1 to 4096 printable ASCII characters")
