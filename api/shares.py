"""How much of something each caller may use at a time."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

from api.protocol.problems import too_much_at_once


class Shares:
    """Lets each user do `concurrent` things at a time; `waiting` more wait for their turn."""

    def __init__(self, concurrent: int, waiting: int) -> None:
        self._concurrent = concurrent
        self._most = concurrent + waiting
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._users: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def one(self, user: str) -> AsyncIterator[None]:
        """Do one thing in the block, when it is the user's turn. Raises ProblemError 503 if too many wait."""
        if self._users[user] >= self._most:
            raise too_much_at_once()
        slots = self._slots.setdefault(user, asyncio.Semaphore(self._concurrent))
        self._users[user] += 1
        try:
            async with slots:
                yield
        finally:
            self._users[user] -= 1
            if not self._users[user]:  # users come and go
                del self._users[user], self._slots[user]
