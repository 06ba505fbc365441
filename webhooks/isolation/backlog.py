"""Deliveries that are accepted and not yet begun by a worker. When there are too many, publications wait: a workflow
task that begins late would time out, and run a second time."""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from temporalio.client import Client
from temporalio.service import RPCError

from webhooks.temporal.connection import describe_task_queue

MAX_LOCAL = 150
"""Deliveries accepted and not begun by the worker in this process: about two seconds of work for two cores."""
_LOCAL_SECONDS = 30.0
"""After this time another process's worker has it."""
_POLL_SECONDS = 1.0


class Backlog(Protocol):
    """What waits to be begun."""

    on_room: Callable[[], None]
    """Called when there may be room for more."""

    def room(self) -> int:
        """Return how many more should be accepted now; less than 0 if there are too many already."""

    def full(self) -> bool:
        """Return whether no more should be accepted now."""

    def add(self, workflow_id: str) -> None:
        """Count a delivery that this process is about to start."""

    def remove(self, workflow_id: str) -> None:
        """Count it no longer: a worker has begun it, or it was not started."""


class LocalBacklog:
    """What the worker in this process has yet to begin. Counted here, so it is exact."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.on_room = _nobody_waits
        self._clock = clock
        self._added: OrderedDict[str, float] = OrderedDict()
        """Workflow ids with the second at which each is counted no longer."""

    def add(self, workflow_id: str) -> None:
        self._added[workflow_id] = self._clock() + _LOCAL_SECONDS

    def remove(self, workflow_id: str) -> None:
        if self._added.pop(workflow_id, None):
            self.on_room()

    def room(self) -> int:
        now = self._clock()
        while self._added and next(iter(self._added.values())) < now:
            self._added.popitem(last=False)
        return MAX_LOCAL - len(self._added)

    def full(self) -> bool:
        return self.room() <= 0


class RemoteBacklog:
    """What workers in other processes have yet to begin. Asked of Temporal, so it is some seconds old."""

    def __init__(self, maximum: int) -> None:
        self.on_room = _nobody_waits
        self._maximum = maximum
        self._size = 0

    def add(self, workflow_id: str) -> None:
        pass  # Temporal counts

    def remove(self, workflow_id: str) -> None:
        pass

    def room(self) -> int:
        return self._maximum - self._size

    def full(self) -> bool:
        return self.room() <= 0

    @contextlib.asynccontextmanager
    async def watched(self, client: Client, task_queue: str) -> AsyncIterator[None]:
        """Ask Temporal once a second while the block runs."""
        watching = asyncio.create_task(self._watch(client, task_queue))
        try:
            yield
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching

    async def _watch(self, client: Client, task_queue: str) -> None:
        while True:
            with contextlib.suppress(RPCError):
                self._size = (await describe_task_queue(client, task_queue)).stats.approximate_backlog_count
            self.on_room()
            await asyncio.sleep(_POLL_SECONDS)


def _nobody_waits() -> None:
    pass
