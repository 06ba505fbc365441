"""How a page writes values: times, lengths, sizes, statuses. Everything else is Jinja's, which escapes it."""

import hashlib
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

from markupsafe import Markup

from api.pages.json_text import laid_out
from webhooks.json_numbers import as_written, to_json

_OUTCOMES = {
    "delivered": "delivered",
    "timeout": "timeout",
    "connection_refused": "connection refused",
    "connection_failed": "no connection",
    "connection_reset": "closed without an answer",
    "dns_error": "host not found",
    "tls_error": "TLS error",
    "protocol_error": "not valid HTTP",
    "oauth_failed": "no OAuth token",
    "address_not_allowed": "address not allowed",
    "webhook_deleted": "webhook deleted",
    "webhook_inactive": "webhook disabled",
    "subscription_deleted": "not subscribed any more",
    "subscription_inactive": "subscription disabled",
    "not_rendered": "payload cannot be rendered",
    "unknown": "unknown",
}
_MAX_ADDRESS, _ADDRESS_BEGIN = 40, 20
"""Characters of a URL's host and path that are shown, and how many of them are of its beginning."""
_WAITING = {
    "receiver_in_trouble": "receiver in trouble",
    "room": "waits for room",
    "lifting": "tenant suspended",
    "repair": "platform error, tries again",
    "worker": "waits for a worker",
    "backoff": "",
    "person": "waits for resend",
}


def moment(time: str | None, style: str = "clock") -> Markup:
    """Return a `time` element, which a script writes in the viewer's time zone: `clock`, `ago`, `until`, `full`."""
    if not time:
        return Markup("")
    return Markup('<time datetime="{0}" data-show="{1}" title="{0}">{2}</time>').format(
        time, style, f"{time[:10]} {time[11:19]} UTC" if style != "clock" else time[11:19]
    )


def duration(milliseconds: float | None) -> str:
    """Return a length of time in the units that fit: `84 ms`, `1.5 s`, `11 min 18 s`, `2 h 5 min`, `3 d 4 h`."""
    if milliseconds is None:
        return ""
    if milliseconds < 1:
        return "< 1 ms"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 10:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    for unit, size, smaller, part in (("d", 86_400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def size(number: int | None) -> str:
    """Return a number of bytes: `312 bytes`, `14.2 KiB`."""
    if number is None:
        return ""
    return f"{number} bytes" if number < 1024 else f"{number / 1024:.1f} KiB"


def number(value: int | None) -> str:
    """Return a count with separated thousands; `unknown` if there is none."""
    return "unknown" if value is None else f"{value:,}"


def percent(share: float | None) -> str:
    """Return a share of one as percent. 100 % means all: a share just below is not rounded up to it."""
    if share is None:
        return "none"
    return "100 %" if share >= 1 else f"{min(share * 100, 99.9):.1f} %"


def host(url: str | None) -> str:
    """Return the host of a URL."""
    return (urlsplit(url).netloc.rpartition("@")[2] if url else "") or ""


def address(url: str | None) -> str:
    """Return host and path of a URL, without user, query and fragment. The middle of a long one is left out, because
    URLs of the same receiver often differ at their ends."""
    parts = urlsplit(url or "")
    whole = host(url) + ("" if parts.path == "/" else parts.path)
    return (
        whole
        if len(whole) <= _MAX_ADDRESS
        else f"{whole[:_ADDRESS_BEGIN]}…{whole[_ADDRESS_BEGIN - _MAX_ADDRESS + 1 :]}"
    )


def label(webhook: Mapping[str, Any]) -> str:
    """Return how a webhook is called: by its name, or else its address."""
    return str(webhook["name"] or address(webhook["url"]))


def outcome(name: str | None) -> str:
    """Return an outcome in words: `503 Service Unavailable`, `connection refused`."""
    if not name:
        return ""
    if name.startswith("http_"):
        status = int(name.removeprefix("http_"))
        return f"{status} {HTTPStatus(status).phrase}" if status in _STATUSES else str(status)
    return _OUTCOMES.get(name, name)


def short_outcome(name: str | None) -> str:
    """Return an outcome in a word or two: `503`, `connection refused`."""
    name = name or ""
    return name.removeprefix("http_") if name.startswith("http_") else _OUTCOMES.get(name, name)


def state(delivery: Mapping[str, Any]) -> str:
    """Return the status of a delivery as the pages call it. During an attempt it is `sending`; a pending one before
    that is `waiting`."""
    if delivery["status"] in ("pending", "retrying") and not delivery["waiting_for"]:
        return "sending"
    if delivery["status"] == "pending":
        return "waiting"
    return str(delivery["status"])


def waiting(reason: str | None) -> str:
    """Return what a delivery waits for, in words."""
    return _WAITING.get(reason or "", "")


def pretty(text: str | None) -> str:
    """Return JSON with line breaks; a text that is no JSON, or that is too large to be laid out, as it is."""
    return (laid_out(text) or text) if text else ""


def document(value: Any) -> str:
    """Return a value as JSON with line breaks; an empty text for none."""
    return "" if value is None else pretty(to_json(value, as_written))


def policy(rules: Mapping[str, Any]) -> str:
    """Return a retry policy in words: `10 s x 4, at most 12 h, 10 attempts`."""
    number = rules["maximum_attempts"]
    attempts = f"{number} attempt{'' if number == 1 else 's'}"
    if rules["schedule"]:
        return f"{attempts}, after {', '.join(duration(wait * 1000) for wait in rules['schedule'])}"
    grows = "" if rules["backoff_coefficient"] == 1 else f" \N{MULTIPLICATION SIGN} {rules['backoff_coefficient']:g}"
    most = "" if rules["backoff_coefficient"] == 1 else f", at most {duration(rules['maximum_interval'] * 1000)}"
    return f"{duration(rules['initial_interval'] * 1000)}{grows}{most}, {attempts}"


def plain(value: Any) -> str:
    """Return a value on one line: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else to_json(value, as_written)


def version_of(value: Any) -> str:
    """Return what changes with a value that the API shows."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).hexdigest()


def segment(text: str) -> str:
    """Return a text as a part of a path."""
    return quote(text, safe="~:")


_STATUSES = {status.value for status in HTTPStatus}
FILTERS: dict[str, Callable[..., Any]] = {
    "moment": moment,
    "duration": duration,
    "size": size,
    "number": number,
    "percent": percent,
    "address": address,
    "label": label,
    "outcome": outcome,
    "short_outcome": short_outcome,
    "state": state,
    "waiting": waiting,
    "pretty": pretty,
    "document": document,
    "policy": policy,
    "plain": plain,
    "segment": segment,
    "version": version_of,
}
