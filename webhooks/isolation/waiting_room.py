"""Publications wait for room instead of being refused: briefly, in a fair order, and no more than a set number.

There is room while few publications are on their way into Temporal, and few accepted deliveries wait for a worker. So
what waits, waits here, where tenants take turns, and not behind a flood's deliveries in the worker."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from webhooks.errors import WebhooksError
from webhooks.isolation.backlog import Backlog
from webhooks.isolation.fair_queue import FairQueue, Waiting

_MAX_INSIDE = 32
"""Publications that are on their way into Temporal. Enough to keep its server busy, and few, because turns begin behind
them."""


class TooManyWaitingError(WebhooksError):
    """A publication has waited for too long, or too many of its caller wait already."""


class CallerGoneError(WebhooksError):
    """The caller has closed the connection while it waited."""


class WaitingRoom:
    """One for each process that publishes."""

    def __init__(self, backlog: Backlog, seconds: float, places: int) -> None:
        """`seconds` is how long one waits at most, and `places` how many wait at most."""
        self._backlog = backlog
        self._seconds = seconds
        self._places = places
        self._queue = FairQueue()
        self._inside = 0
        self._closed = False
        backlog.on_room = self._let_in

    def waiting(self) -> int:
        """Return how many wait. Other threads may call this too."""
        return len(self._queue)

    def full(self) -> bool:
        """Return whether one more could wait only in place of another one."""
        return len(self._queue) >= self._places and not self._has_room()

    @contextlib.asynccontextmanager
    async def place(self, tenant: str, caller: str, gone: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """Have a place in the block, after a wait for it if there is no room. `gone` returns when the caller has closed
        the connection. Raises TooManyWaitingError and CallerGoneError; then nobody has the place."""
        if self._queue or not self._has_room():
            await self._wait(Waiting(tenant, caller), gone)
        else:
            self._inside += 1
        try:
            yield
        finally:
            self._leave()

    def close(self) -> None:
        """Refuse all that wait, and whoever would have to wait from now on."""
        self._closed = True
        while self._queue:
            _end(self._queue.next(), TooManyWaitingError())

    async def _wait(self, waiting: Waiting, gone: Callable[[], Awaitable[None]]) -> None:
        if self._closed:
            raise TooManyWaitingError
        self._queue.add(waiting)
        self._let_in()
        if len(self._queue) > self._places:
            _end(most := self._queue.last_of_most(), TooManyWaitingError())
            self._queue.remove(most)
        if waiting.turn.done():
            return waiting.turn.result()
        leaving = asyncio.ensure_future(gone())
        leaving.add_done_callback(lambda _: _end(waiting, CallerGoneError()))
        timer = asyncio.get_running_loop().call_later(self._seconds, _end, waiting, TooManyWaitingError())
        try:
            await waiting.turn
        except asyncio.CancelledError:
            if not waiting.turn.cancelled() and waiting.turn.exception() is None:  # its turn came at the same moment
                self._leave()
            raise
        finally:
            timer.cancel()
            leaving.cancel()
            self._queue.remove(waiting)

    def _let_in(self) -> None:
        while self._queue and self._has_room():
            if not (waiting := self._queue.next()).turn.done():
                self._inside += 1
                waiting.turn.set_result(None)

    def _leave(self) -> None:
        self._inside -= 1
        self._let_in()

    def _has_room(self) -> bool:
        # A publication inside counts twice once its delivery is in the backlog, until it is answered.
        return self._inside < min(_MAX_INSIDE, self._backlog.room())


def _end(waiting: Waiting, error: WebhooksError) -> None:
    if not waiting.turn.done():
        waiting.turn.set_exception(error)
