"""What was looked up in the database and is kept in memory for some seconds, because every call asks for it."""

import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

SECONDS = 4.0
"""How long a row is kept. What was revoked, ended or changed works for this much longer in other processes."""
_MAX_KEPT = 10_000

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Lookups(Generic[Key, Value]):
    """Keeps what was found, for SECONDS from the moment in which it was asked for."""

    def __init__(self) -> None:
        self._kept: dict[Key, tuple[Value, float]] = {}
        self._forgotten = 0
        """How many times something was forgotten."""

    async def get(self, key: Key, find: Callable[[], Awaitable[Value | None]]) -> Value | None:
        """Return what is kept, or else what `find` returns. None, or what was read while something was forgotten, is
        not kept: the query may have seen the row as it was before."""
        now = time.monotonic()
        if (kept := self._kept.get(key)) and now < kept[1]:
            return kept[0]
        forgotten = self._forgotten
        found = await find()
        if found is None:
            self._kept.pop(key, None)
        elif forgotten == self._forgotten:
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            self._kept[key] = found, now + SECONDS
        return found

    def forget(self, key: Key) -> None:
        """Ask the database again for this key. Call it when the change has been committed."""
        self._forgotten += 1
        self._kept.pop(key, None)

    def forget_all(self) -> None:
        """Ask the database again for every key. Call it when the change has been committed."""
        self._forgotten += 1
        self._kept.clear()
