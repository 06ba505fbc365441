"""Calling the deliveries that wait for room in their webhook's lane, at a rate that others do not notice."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from temporalio.client import Client
from temporalio.service import RPCError

from webhooks.contracts import PROCEED_SIGNAL
from webhooks.deliveries.restart import proceed
from webhooks.isolation.lanes import Lanes
from webhooks.isolation.takeover import adopt
from webhooks.settings import Settings
from webhooks.temporal.connection import is_passing
from webhooks.temporal.names import RPC_TIMEOUT

log = logging.getLogger(__name__)

_ADOPT_SECONDS = 60.0
_LOOK_SECONDS = 1.0
"""A lane that was shut gets room as time passes, and says nothing."""


@contextlib.asynccontextmanager
async def releasing(client: Client, lanes: Lanes, settings: Settings) -> AsyncIterator[None]:
    """Calls for as long as the block runs. Who is not reached comes when its own delay or timer ends."""
    tasks = [asyncio.create_task(work(client, lanes, settings)) for work in (_adopt, _call)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _adopt(client: Client, lanes: Lanes, settings: Settings) -> None:
    adopted: set[str] = set()
    while True:
        try:
            if many := await adopt(client, lanes, settings.task_queue, adopted):
                log.info("took over %d deliveries that wait for their receivers", many)
        except RPCError as error:
            log.info("deliveries that wait could not be looked for: %s", error.status.name)
        except Exception:
            log.exception("deliveries that wait could not be looked for")
        await asyncio.sleep(_ADOPT_SECONDS)


async def _call(client: Client, lanes: Lanes, settings: Settings) -> None:
    room = asyncio.Event()
    lanes.on_room = room.set
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                await room.wait()
        room.clear()
        while call := lanes.call():
            try:
                if call.begun:
                    handle = client.get_workflow_handle(call.delivery)
                    await handle.signal(PROCEED_SIGNAL, rpc_timeout=RPC_TIMEOUT)
                else:
                    await proceed(client, settings.task_queue, call.delivery)
            except RPCError as error:
                log.info("%s was not told to proceed: %s", call.delivery, error.status.name)
                if is_passing(error):
                    lanes.put_back(call)
                else:  # it has ended: put back, it would be the next for ever
                    lanes.drop(call.webhook_id, call.delivery)
            except Exception:
                log.exception("%s was not told to proceed", call.delivery)
            await asyncio.sleep(1 / settings.release_rate)
