"""How fast all jobs of a process may go together, so that live deliveries do not notice them."""

import asyncio
import time
from collections.abc import Callable


class Pacer:
    """Gives turns, at most `rate` per second, in the order in which they are asked for: each job gets its share.

    No turn is given while `busy` returns true."""

    def __init__(self, rate: float, busy: Callable[[], bool] = lambda: False) -> None:
        self._rate = rate
        self._busy = busy
        self._one_by_one = asyncio.Lock()
        self._next_at = 0.0

    async def turn(self, share: float = 1.0) -> None:
        """Wait for a turn. `share` is how much of one is taken: what only reads takes less."""
        async with self._one_by_one:
            await asyncio.sleep(self._next_at - time.monotonic())
            while self._busy():  # noqa: ASYNC110  nothing signals that it ends
                await asyncio.sleep(1 / self._rate)
            self._next_at = max(self._next_at, time.monotonic()) + share / self._rate
