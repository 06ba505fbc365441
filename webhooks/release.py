"""Calling the deliveries that wait for room in their webhook's lane, at a rate that others do not notice."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from temporalio.client import Client
from temporalio.service import RPCError

from webhooks.contracts import PROCEED_SIGNAL
from webhooks.lanes import Lanes
from webhooks.temporal import RPC_TIMEOUT

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
"""A lane that was shut gets room as time passes, and says nothing."""


@contextlib.asynccontextmanager
async def releasing(client: Client, lanes: Lanes, per_second: float) -> AsyncIterator[None]:
    """Calls for as long as the block runs. Who is not reached proceeds when the timer of its own workflow ends."""
    calling = asyncio.create_task(_call(client, lanes, per_second))
    try:
        yield
    finally:
        calling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await calling


async def _call(client: Client, lanes: Lanes, per_second: float) -> None:
    room = asyncio.Event()
    lanes.on_room = room.set
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                await room.wait()
        room.clear()
        while workflow_id := lanes.call():
            try:
                await client.get_workflow_handle(workflow_id).signal(PROCEED_SIGNAL, rpc_timeout=RPC_TIMEOUT)
            except RPCError as error:
                log.info("%s was not told to proceed: %s", workflow_id, error.status.name)
            await asyncio.sleep(1 / per_second)
