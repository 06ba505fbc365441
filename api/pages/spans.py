"""The spans of time that lists can be limited to."""

from datetime import UTC, datetime, timedelta

from starlette.datastructures import QueryParams

SPANS = {
    "1h": ("last hour", timedelta(hours=1)),
    "24h": ("last 24 h", timedelta(hours=24)),
    "7d": ("last 7 days", timedelta(days=7)),
    "30d": ("last 30 days", timedelta(days=30)),
}
NAMES = {name: text for name, (text, _) in SPANS.items()}


def begin(query: QueryParams) -> str | None:
    """Return since when a list is to be shown: the span of the URL, else its `since`."""
    return since(query.get("time")) or query.get("since") or None


def since(name: str | None) -> str | None:
    """Return when the span of this name began, as the API takes it; None if there is no such span."""
    if name not in SPANS:
        return None
    return (datetime.now(UTC) - SPANS[name][1]).isoformat().replace("+00:00", "Z")
