"""Refusals that are held back: whoever was told when to come again, and comes earlier, is answered late. So a caller
that repeats without a pause does not cost the others what they share with it."""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Hashable

HELD_SECONDS = 2.0
RETRY_AFTER_SECONDS = 1.0
"""Each refusal asks for at least this pause."""
_MAX_HELD = 1_000
"""In a process. One more is answered immediately: to be held must not be an attack on memory."""
_MAX_HELD_PER_CALLER = 500
_MAX_REMEMBERED = 1_000
"""Callers. With one more, the one that was refused longest ago is forgotten."""


class HeldBack:
    """One for each process with an API. A caller is its key, or else its address."""

    def __init__(self) -> None:
        self._refused: OrderedDict[Hashable, float] = OrderedDict()
        """When each caller was refused last, in seconds of the monotonic clock."""
        self._held: Counter[Hashable] = Counter()
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed = False

    def held(self) -> int:
        """Return how many are held back. Other threads may call this too."""
        return len(self._waiting)

    def note(self, caller: Hashable) -> None:
        """Remember that the caller has been refused now."""
        self._refused[caller] = time.monotonic()
        self._refused.move_to_end(caller)
        if len(self._refused) > _MAX_REMEMBERED:
            self._refused.popitem(last=False)

    def ignores_retry_after(self, caller: Hashable) -> bool:
        """Return whether the caller, which is here now, was told to come later."""
        refused = self._refused.get(caller)
        return refused is not None and time.monotonic() < refused + RETRY_AFTER_SECONDS

    async def hold(self, caller: Hashable) -> None:
        """Wait before a refusal, if the caller has come too early. Who closes the connection meanwhile still counts
        as held: to watch the connection would make each refusal dearer."""
        many = len(self._waiting) >= _MAX_HELD or self._held[caller] >= _MAX_HELD_PER_CALLER
        if self._closed or many or not self.ignores_retry_after(caller):
            return
        loop = asyncio.get_running_loop()
        end: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(HELD_SECONDS, end.set_result, None)
        self._held[caller] += 1
        self._waiting.add(end)
        try:
            await end
        finally:
            timer.cancel()
            self._waiting.discard(end)
            self._held[caller] -= 1
            if not self._held[caller]:
                del self._held[caller]

    def close(self) -> None:
        """Answer all that are held back, and hold nobody from now on."""
        self._closed = True
        for end in self._waiting:
            if not end.done():
                end.set_result(None)
