"""Keyset pages: a cursor names the last row that was seen."""

import base64
import binascii
from collections.abc import Sequence
from typing import TypeVar

Row = TypeVar("Row")


class BadCursorError(ValueError):
    """The cursor is none of ours."""


def encode(last: str) -> str:
    return base64.urlsafe_b64encode(last.encode()).decode().rstrip("=")


def decode(cursor: str) -> str:
    """Raises BadCursorError."""
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise BadCursorError("not a cursor of this list") from None


def cut(rows: Sequence[Row], limit: int) -> tuple[list[Row], bool]:
    """The page in `limit` + 1 fetched rows, and whether there is more."""
    return list(rows[:limit]), len(rows) > limit
