"""What the URL of a destination may look like, before any name is looked up. Pure."""

import re
from ipaddress import ip_address

MAX_URL = 2_048
_URL = re.compile(
    r"https?://(?P<authority>[^/?#]*@[^/?#]*|(?:\[[0-9A-Fa-f:.]+\]|[^/?#@:%\[\].]+(?:\.[^/?#@:%\[\].]+)*\.?)"
    r"(?::(?P<port>[0-9]{1,5}))?)(?:[/?#]|$)",
    re.ASCII | re.IGNORECASE,
)
"""Host names have no empty label and no percent sign; addresses in brackets have no scope."""
_BAD_PORTS = frozenset(
    (
        1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
        110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530,
        531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190,
        5060, 5061, 6000, 6379, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
    )
)  # fmt: skip
"""The Fetch standard's list, and Redis: services that could take a request for something else."""
_ENDS_IN_A_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9a-fA-F]*)")


def problem(text: str) -> str | None:
    """Why no request may go to this URL, or None."""
    if not text.isprintable() or " " in text or "\\" in text:
        return "not a URL"
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
    """Why no request may go to this host, in ASCII and without a dot at its end, or None. What ends in a number and is
    no address (127.1, 0x7f.1, 2130706433) is no name either: resolvers and proxies differ in what they take it for, so
    none is asked."""
    try:
        ip_address(host)
    except ValueError:
        if len(host) > 253 or any(len(label) > 63 for label in host.split(".")):
            return "not a host name"
        return "address not allowed" if _ENDS_IN_A_NUMBER.fullmatch(host) else None
    return None
