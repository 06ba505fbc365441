"""A process that serves: the API, and a worker beside it unless the settings say otherwise.

They share an event loop, so that the first workflow task of a published occurrence goes straight to the worker.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import uvicorn

from api import first_calls, housekeeping, starting
from api.admission import Admission
from api.app import create_app
from api.platform import Platform
from api.protocol.slow_clients import BoundedHttp
from webhooks.disk import Disk
from webhooks.isolation import gauges
from webhooks.isolation.backlog import LocalBacklog, RemoteBacklog
from webhooks.isolation.lanes import Lanes
from webhooks.sending.resources import Resources, opened
from webhooks.settings import Settings
from webhooks.telemetry import setup
from webhooks.temporal.connection import connect
from worker import delivering

log = logging.getLogger("api")

_DRAIN_SECONDS = 10


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers, so that everything ends in an order that we choose."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_alone(settings: Settings) -> None:
    """Run until SIGINT or SIGTERM: then take no more requests, finish the attempts in flight, stop Temporal.

    Raises CannotRunError."""
    stop = starting.stop_signals()
    async with contextlib.AsyncExitStack() as stack:
        listening = stack.enter_context(contextlib.closing(starting.listen(settings)))
        stack.enter_context(setup.running(settings))
        resources = await stack.enter_async_context(opened(settings, migrate=True))
        await starting.provide_first_rows(settings, resources.database)
        disk = await stack.enter_async_context(watched_disk(settings))
        await stack.enter_async_context(starting.temporal_server(settings, stop))
        if stop.is_set():
            return
        starting.tell_address(settings, listening.getsockname()[1])
        await serve(resources, disk, listening, stop)


@contextlib.asynccontextmanager
async def watched_disk(settings: Settings) -> AsyncIterator[Disk | None]:
    """Watch the disk of the embedded Temporal server, if there is one, while the block runs."""
    if settings.temporal_address is not None:
        yield None
        return
    disk = Disk(settings.data_dir)
    async with disk.watched():
        yield disk


async def serve(
    resources: Resources,
    disk: Disk | None,
    listening: socket.socket,
    stop: asyncio.Event,
    *,
    patience: float = 0,
    serving: Callable[[], None] = lambda: None,
    greets: bool = True,
) -> None:
    """Serve until `stop` is set, and finish what is in flight. Take requests after `patience` seconds, or as soon as
    deliveries can flow; then call `serving`. `greets`: show the first calls to who sits before it."""
    settings = resources.settings
    async with contextlib.AsyncExitStack() as stack:
        if settings.embedded_worker:
            lanes = Lanes()
            platform = Platform(resources, LocalBacklog(), lanes, disk)
            work = _deliver(platform, settings, lanes, greets)
        else:
            backlog = RemoteBacklog(settings.max_backlog)
            platform = Platform(resources, backlog, None, disk)
            work = _publish_only(platform, settings, backlog)
        gauges.observe_publications(platform.room, platform.held_back)
        stack.push_async_callback(platform.close)
        connected = await stack.enter_async_context(_in_background(work, platform, stop))
        await _any_of(connected, stop, timeout=patience)
        if stop.is_set():
            return
        server = _Server(
            uvicorn.Config(
                Admission(create_app(platform), platform),
                http=BoundedHttp,
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=_DRAIN_SECONDS,
            )
        )
        running = asyncio.create_task(server.serve(sockets=[listening]))
        running.add_done_callback(lambda _: stop.set())
        serving()
        await stop.wait()
        log.info("stopping: finishing what is in flight")
        platform.stop_waiting()
        server.should_exit = True
        await running


Work = Callable[[asyncio.Event, asyncio.Event], Awaitable[None]]
"""Connects to Temporal, sets the first event when deliveries can flow, and works until the second one is set."""


def _deliver(platform: Platform, settings: Settings, lanes: Lanes, greets: bool) -> Work:
    async def work(connected: asyncio.Event, stopped: asyncio.Event) -> None:
        publisher = platform.publisher_of(await connect(settings, platform.resources.payload_keys))
        async with (
            delivering(publisher.client, platform.resources, lanes, publisher) as worker,
            housekeeping.keeping(platform.database, publisher, audit_days=settings.audit_retention),
        ):
            platform.worker, platform.publisher = worker, publisher
            connected.set()
            log.info("delivering; Temporal Web UI: %s", settings.temporal_ui)
            if greets:
                await first_calls.show(settings, platform.database)
            await stopped.wait()

    return work


def _publish_only(platform: Platform, settings: Settings, backlog: RemoteBacklog) -> Work:
    async def work(connected: asyncio.Event, stopped: asyncio.Event) -> None:
        publisher = platform.publisher_of(await connect(settings, platform.resources.payload_keys))
        async with (
            backlog.watched(publisher.client, settings.task_queue),
            housekeeping.keeping(platform.database, publisher, audit_days=settings.audit_retention),
        ):
            platform.publisher = publisher
            connected.set()
            await stopped.wait()

    return work


@contextlib.asynccontextmanager
async def _in_background(work: Work, platform: Platform, stop: asyncio.Event) -> AsyncIterator[asyncio.Event]:
    """Work while the block runs. Yield the event that deliveries can flow. If the work fails for good, so does the
    process: its supervisor's restart is a better cure than an API that accepts and never delivers."""
    connected, stopped = asyncio.Event(), asyncio.Event()
    working = asyncio.ensure_future(work(connected, stopped))
    working.add_done_callback(lambda _: stop.set())
    try:
        yield connected
    finally:
        stopped.set()
        if platform.publisher is None:  # still connecting
            working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working


async def _any_of(*events: asyncio.Event, timeout: float) -> None:
    """Wait until one of the events is set, or for `timeout` seconds."""
    if not timeout:
        return
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
