"""`python -m api`: the platform in one process. API, worker and, unless TEMPORAL_ADDRESS names one, a Temporal server.

They share an event loop, so that the first workflow task of a published occurrence goes straight to the worker.
"""

import gc

if __name__ == "__main__":
    gc.disable()  # what the imports make stays: to search it for garbage would take a quarter of their time

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any

import uvicorn
from sqlmodel.ext.asyncio.session import AsyncSession

from api import first_calls, housekeeping
from api.app import create_app
from api.platform import Platform
from api.protocol.slow_clients import BoundedHttp
from webhooks import process
from webhooks.disk import Disk
from webhooks.errors import CannotRunError
from webhooks.events import seed
from webhooks.identity.keyring import new_key
from webhooks.identity.permissions import HOME, INSTALLATION_ADMINISTRATOR
from webhooks.isolation.backlog import LocalBacklog, RemoteBacklog
from webhooks.isolation.lanes import Lanes
from webhooks.sending.resources import opened
from webhooks.settings import Settings
from webhooks.store import api_keys
from webhooks.telemetry import setup
from webhooks.temporal.connection import connect
from webhooks.temporal.dev_server import TemporalServer
from worker import delivering

log = logging.getLogger("api")

_DRAIN_SECONDS = 10
_SHORT_KEY = 16


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers, so that everything ends in an order that we choose."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(settings: Settings) -> None:
    """Run until SIGINT or SIGTERM: then take no more requests, finish the attempts in flight, stop Temporal.

    Raises CannotRunError."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        listening = stack.enter_context(contextlib.closing(_listen(settings)))
        stack.enter_context(setup.running(settings))
        resources = await stack.enter_async_context(opened(settings, migrate=True))
        async with resources.database.write_alone() as session:
            await _ensure_key(settings, session)
            await seed.provide(session)
        disk = None
        if settings.temporal_address is None:
            disk = Disk(settings.data_dir)
            await stack.enter_async_context(disk.watched())
            temporal_server = TemporalServer(settings, lambda line: log.info("%s", line), on_end=stop.set)
            stack.push_async_callback(temporal_server.stop)
            if not await _before(stop, temporal_server.start()):
                return
        if settings.embedded_worker:
            lanes = Lanes()
            platform = Platform(resources, LocalBacklog(), lanes, disk)
            work = _deliver(platform, settings, lanes)
        else:
            backlog = RemoteBacklog(settings.max_backlog)
            platform = Platform(resources, backlog, None, disk)
            work = _publish_only(platform, settings, backlog)
        stack.push_async_callback(platform.close)
        await stack.enter_async_context(_in_background(work, platform, stop))
        server = _Server(
            uvicorn.Config(
                create_app(platform),
                http=BoundedHttp,
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=_DRAIN_SECONDS,
            )
        )
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        serving.add_done_callback(lambda _: stop.set())
        log.info("API on http://%s:%d (docs at /docs)", settings.host, listening.getsockname()[1])
        await stop.wait()
        log.info("stopping: finishing what is in flight")
        server.should_exit = True
        await serving


def _listen(settings: Settings) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen()  # from now on nobody else can
    except OSError as error:
        listening.close()
        raise CannotRunError(
            f"Cannot listen on {settings.host}:{settings.port} ({error.strerror}). "
            "Set WEBHOOKS_PORT to a free port, and WEBHOOKS_HOST to an address of this machine."
        ) from None
    return listening


async def _before(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do the work unless `stop` comes first, which cancels it. Return whether it was done."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
        return False
    await working
    return True


Work = Callable[[asyncio.Event], Awaitable[None]]
"""Connects to Temporal and works until the event is set."""


def _deliver(platform: Platform, settings: Settings, lanes: Lanes) -> Work:
    async def work(stopped: asyncio.Event) -> None:
        publisher = platform.publisher_of(await connect(settings, platform.resources.payload_keys))
        async with (
            delivering(publisher.client, platform.resources, lanes, publisher) as worker,
            housekeeping.keeping(platform.database, publisher, audit_days=settings.audit_retention),
        ):
            platform.worker, platform.publisher = worker, publisher
            log.info("delivering; Temporal Web UI: %s", settings.temporal_ui)
            await first_calls.show(settings, platform.database)
            await stopped.wait()

    return work


def _publish_only(platform: Platform, settings: Settings, backlog: RemoteBacklog) -> Work:
    async def work(stopped: asyncio.Event) -> None:
        publisher = platform.publisher_of(await connect(settings, platform.resources.payload_keys))
        async with (
            backlog.watched(publisher.client, settings.task_queue),
            housekeeping.keeping(platform.database, publisher, audit_days=settings.audit_retention),
        ):
            platform.publisher = publisher
            await stopped.wait()

    return work


@contextlib.asynccontextmanager
async def _in_background(work: Work, platform: Platform, stop: asyncio.Event) -> AsyncIterator[None]:
    """Work while the block runs. If the work fails for good, so does the process: its supervisor's restart is a better
    cure than an API that accepts and never delivers."""
    stopped = asyncio.Event()
    working = asyncio.ensure_future(work(stopped))
    working.add_done_callback(lambda _: stop.set())
    try:
        yield
    finally:
        stopped.set()
        if platform.publisher is None:  # still connecting
            working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working


async def _ensure_key(settings: Settings, session: AsyncSession) -> None:
    """Store the first API key if there is none, from the environment or a fresh one."""
    if await api_keys.any_stored(session):
        if settings.bootstrap_key and not await api_keys.find(session, settings.bootstrap_key.get_secret_value()):
            log.warning("WEBHOOKS_BOOTSTRAP_KEY is ignored: this database has its keys already")
        return
    if settings.bootstrap_key:
        key = settings.bootstrap_key.get_secret_value()
        if len(key) < _SHORT_KEY:
            log.warning("WEBHOOKS_BOOTSTRAP_KEY is short: whoever guesses it is administrator")
    else:
        key = new_key()
        settings.make_data_dir()
        file = settings.bootstrap_key_path
        file.write_text(key + "\n")
        log.info("made the first administrator's API key: %s", file)
    api_keys.add(session, tenant=HOME, name="bootstrap", key=key, role=INSTALLATION_ADMINISTRATOR)


if __name__ == "__main__":
    process.run(serve)
