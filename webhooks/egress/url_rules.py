"""Which URLs a webhook may have, as far as this is known without a lookup. Pure."""

import re
from ipaddress import ip_address

from webhooks import characters

MAX_URL_CHARACTERS = 2_048
"""Longer URLs are refused when a webhook is configured."""
_URL = re.compile(
    r"https?://(?P<authority>[^/?#]*@[^/?#]*|(?:\[[0-9A-Fa-f:.]+\]|[^/?#@:%\[\].]+(?:\.[^/?#@:%\[\].]+)*\.?)"
    r"(?::(?P<port>[0-9]{1,5}))?)(?:[/?#]|$)",
    re.ASCII | re.IGNORECASE,
)
"""An absolute http or https URL. Host names have no empty label and no percent sign; addresses in brackets have no
scope. Credentials before an @ match as well, so that `problem` can name them."""
_BAD_PORTS = frozenset(
    (
        1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
        110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530,
        531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190,
        5060, 5061, 6000, 6379, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
    )
)  # fmt: skip
"""The Fetch standard's blocked ports, and Redis (6379): their services could misread a request as a command."""
_ENDS_IN_A_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9a-fA-F]*)")


def problem(text: str) -> str | None:
    """Return why no request may go to this URL, or None."""
    if not text.isprintable() or " " in text or "\\" in text:
        at = next(at for at, character in enumerate(text) if not character.isprintable() or character in " \\")
        return f"not a URL: {characters.refusal(text, at)}"
    parts = _URL.match(text)
    if parts is None:
        return "not an absolute https URL"
    if "@" in parts["authority"]:
        return "credentials do not belong in a URL"
    if "#" in text:
        return "a fragment is never sent"
    port = int(parts["port"] or 443)
    if not 1 <= port <= 65535 or port in _BAD_PORTS:
        return "port not allowed"
    return None


def host_problem(host: str) -> str | None:
    """Return why no request may go to this host, or None. `host` is in ASCII and without a dot at its end. A host that
    ends in a number and is not an address (127.1, 0x7f.1, 2130706433) is refused: resolvers and proxies read it
    differently."""
    try:
        ip_address(host)
    except ValueError:
        if len(host) > 253 or any(len(label) > 63 for label in host.split(".")):
            return "not a host name"
        return "address not allowed" if _ENDS_IN_A_NUMBER.fullmatch(host) else None
    return None
