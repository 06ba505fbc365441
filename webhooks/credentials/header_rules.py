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
_NOT_IN_NAME = re.compile(r"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
MAX_VALUE_CHARACTERS = 8_192
"""Long enough for a large JWT. Many servers refuse a longer header."""
_NOT_ALLOWED = re.compile(r"[^\x20-\x7e\t]")


def check_header(name: str, value: str) -> None:
    """Raise ValueError if a webhook may not have this header. The message does not hold the value."""
    if not _NAME.fullmatch(name):
        bad = _NOT_IN_NAME.search(name)
        why = f"; {characters.refusal(name, bad.start())}" if bad else ""
        raise ValueError(f"a header name is a token of at most 128 characters{why}")
    if name.lower() in _RESERVED or name.lower().startswith("webhook-"):
        raise ValueError(f"the header {name} is set by the platform")
    if not 1 <= len(value) <= MAX_VALUE_CHARACTERS:
        raise ValueError(
            f"the value of header {name} has {len(value):,} characters; 1 to {MAX_VALUE_CHARACTERS:,} are allowed"
        )
    if bad := _NOT_ALLOWED.search(value):
        why = characters.refusal(value, bad.start(), "printable ASCII characters")
        raise ValueError(f"the value of header {name}: {why}")
    if value != value.strip(" \t"):
        raise ValueError(f"the value of header {name} must not begin or end with a space or tab")
