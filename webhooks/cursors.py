"""Pages of a list: a cursor names the last row of the page before (keyset paging)."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

from webhooks.errors import WebhooksError

Row = TypeVar("Row")


class BadCursorError(WebhooksError, ValueError):
    """The cursor does not come from this list."""


def encode(last: str) -> str:
    """Return the cursor of the page that follows the row named `last`."""
    return base64.urlsafe_b64encode(last.encode()).decode().rstrip("=")


def decode(cursor: str) -> str:
    """Return the name of the last row that was seen. Raises BadCursorError."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        if "\x00" in text:
            raise ValueError("no name has a NUL character")
        return text
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise BadCursorError("not a cursor of this list") from None


def page(rows: Sequence[Row], limit: int, name: Callable[[Row], str]) -> tuple[list[Row], str | None]:
    """Cut a page of `limit` rows from `limit` + 1 fetched ones.

    Return the page and the cursor of the next one; None on the last page. `name` names a row in a cursor."""
    cut = list(rows[:limit])
    return cut, encode(name(cut[-1])) if len(rows) > limit else None
