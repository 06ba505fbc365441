"""Resuming the deliveries that wait for room in their webhook's lane, at a rate that does not slow other webhooks."""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator

from temporalio.client import Client
from temporalio.service import RPCError

from webhooks.contracts import PROCEED_SIGNAL
from webhooks.deliveries.restart import proceed
from webhooks.isolation.lanes import Lanes, Resumable
from webhooks.isolation.takeover import take_over
from webhooks.temporal.codec import UnreadableError
from webhooks.temporal.connection import is_passing
from webhooks.temporal.names import RPC_TIMEOUT

log = logging.getLogger(__name__)

_TAKEOVER_SECONDS = 60.0
_FIRST_TAKEOVERS_SECONDS = (5.0,) * 6
"""The pauses between the first searches. These may come too early: a Temporal server that was killed may list its last
workflows only some seconds after its restart, or does not answer yet."""
_POLL_SECONDS = 1.0
"""An open circuit gets room as time passes. Nothing signals that, so look this often."""


@contextlib.asynccontextmanager
async def resuming(client: Client, lanes: Lanes, task_queue: str, rate: float) -> AsyncIterator[None]:
    """Resume while the block runs, at most `rate` deliveries a second. A delivery that is not reached comes when its
    own delay or timer ends."""
    tasks = [
        asyncio.create_task(_take_over(client, lanes, task_queue)),
        asyncio.create_task(_resume(client, lanes, task_queue, rate)),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _take_over(client: Client, lanes: Lanes, task_queue: str) -> None:
    known: set[str] = set()
    for pause in itertools.chain(_FIRST_TAKEOVERS_SECONDS, itertools.repeat(_TAKEOVER_SECONDS)):
        try:
            if count := await take_over(client, lanes, task_queue, known):
                log.info("took over %d delayed deliveries of processes that have ended", count)
        except RPCError as error:
            log.info("cannot look for deliveries to take over: %s", error.status.name)
        except Exception:
            log.exception("cannot look for deliveries to take over")
        await asyncio.sleep(pause)


async def _resume(client: Client, lanes: Lanes, task_queue: str, rate: float) -> None:
    room = asyncio.Event()
    lanes.on_room = room.set
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_POLL_SECONDS):
                await room.wait()
        room.clear()
        while delivery := lanes.next_to_resume():
            await _resume_one(client, lanes, task_queue, delivery)
            await asyncio.sleep(1 / rate)


async def _resume_one(client: Client, lanes: Lanes, task_queue: str, delivery: Resumable) -> None:
    try:
        if delivery.started:
            handle = client.get_workflow_handle(delivery.workflow_id)
            await handle.signal(PROCEED_SIGNAL, rpc_timeout=RPC_TIMEOUT)
        else:
            await proceed(client, task_queue, delivery.workflow_id)
    except RPCError as error:
        log.info("cannot resume %s: %s", delivery.workflow_id, error.status.name)
        if is_passing(error):
            lanes.requeue(delivery)
        else:  # it has ended, and would be the next one for ever
            lanes.forget(delivery.webhook_id, delivery.workflow_id)
    except UnreadableError as error:
        log.error("cannot resume %s: %s", delivery.workflow_id, error)
        lanes.forget(delivery.webhook_id, delivery.workflow_id)
    except Exception:
        log.exception("cannot resume %s", delivery.workflow_id)
