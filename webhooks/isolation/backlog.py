"""How many deliveries wait to be begun, asked of Temporal: an API without a worker of its own cannot see it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from temporalio.client import Client
from temporalio.service import RPCError

from webhooks.temporal.connection import describe_task_queue

_EVERY_SECONDS = 1.0


class Backlog:
    """`size` is some seconds old; 0 while nobody watches."""

    size = 0

    @contextlib.asynccontextmanager
    async def watched(self, client: Client, task_queue: str) -> AsyncIterator[None]:
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
                self.size = (await describe_task_queue(client, task_queue)).stats.approximate_backlog_count
            await asyncio.sleep(_EVERY_SECONDS)
