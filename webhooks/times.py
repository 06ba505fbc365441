"""Times as text (RFC 3339). Pure."""

import re
from datetime import UTC, datetime

_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt _]([0-9]{2}:[0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]+))?)?"
    r"(?:[Zz]|([+-](?:[01][0-9]|2[0-3]))(?::?([0-5][0-9]))?)"
)
_FIRST_YEAR, _LAST_YEAR = 1900, 2200


def parse_time(text: str) -> datetime:
    """Return the time that the text names, with its offset from UTC.

    Digits after the microseconds are cut. A leap second becomes the last microsecond before it, which is on the same
    day. Raises ValueError if the text is no time, has no time zone, or is not between the years 1900 and 2200."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError("must be a time as in RFC 3339 with a time zone, for example 2026-01-31T09:30:00Z")
    day, minute, second, fraction, hours, minutes = found.groups()
    leap = second == "60"
    if leap:
        second, fraction = "59", "999999"
    try:
        moment = datetime.fromisoformat(
            f"{day}T{minute}:{second or '00'}.{(fraction or '')[:6]:0<6}{hours or '+00'}:{minutes or '00'}"
        )
    except ValueError:
        raise ValueError("there is no such date or time") from None
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError(f"must be between the years {_FIRST_YEAR} and {_LAST_YEAR}")
    if leap and (utc := moment.astimezone(UTC)) and (utc.hour, utc.minute) != (23, 59):
        raise ValueError("a second 60 exists only at 23:59:60 UTC")
    return moment


def sortable(moment: datetime) -> str:
    """Return the time in UTC with microseconds. These texts have one length: their order is that of the times."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
