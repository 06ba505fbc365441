"""`python -m api`: the platform in one process. API, worker and, unless TEMPORAL_ADDRESS names one, a Temporal server.

They share an event loop so that a published occurrence's first workflow task goes straight to the worker beside it.
"""

import asyncio
import contextlib
import logging
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

import uvicorn
from sqlmodel.ext.asyncio.session import AsyncSession

from api.app import create_app
from api.platform import Platform
from webhooks import process
from webhooks.credentials.vault import Vault
from webhooks.egress.client import Egress
from webhooks.errors import CannotRunError
from webhooks.events import seed
from webhooks.isolation.resuming import releasing
from webhooks.sending.sender import Sender
from webhooks.settings import Settings
from webhooks.store import api_keys
from webhooks.store.database import Database
from webhooks.telemetry import setup
from webhooks.temporal import connection
from webhooks.temporal.dev_server import TemporalServer
from worker import create_worker

log = logging.getLogger("api")

_DRAIN_SECONDS = 10
_SHORT_KEY = 16


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: what it starts must end in an order that we choose."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(settings: Settings) -> None:
    """Runs until SIGINT or SIGTERM: then takes no more requests, finishes the attempts in flight, stops Temporal.

    Raises CannotRunError."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        listening = stack.enter_context(contextlib.closing(_listen(settings)))
        stack.enter_context(setup.running(settings))
        database = Database.of(settings)
        stack.push_async_callback(database.close)
        vault = Vault.of(settings, create=True)
        await database.migrate(vault)
        await database.check_keys(vault)
        async with database.write_alone() as session:
            await _ensure_key(settings, session)
            await seed.provide(session)
        egress = Egress.of(settings)
        stack.push_async_callback(egress.close)
        sender = Sender(database, vault, egress, deactivate_after=settings.deactivate_after)
        stack.push_async_callback(sender.close)
        if settings.temporal_address is None:
            temporal_server = TemporalServer(settings, lambda line: log.info("%s", line), on_end=stop.set)
            stack.push_async_callback(temporal_server.stop)
            if not await _before(stop, temporal_server.start()):
                return
        platform = Platform(settings, database, vault, egress, sender)
        await stack.enter_async_context(_delivering(platform, stop))
        server = _Server(
            uvicorn.Config(
                create_app(platform), log_config=None, access_log=False, timeout_graceful_shutdown=_DRAIN_SECONDS
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
    """Does the work unless `stop` comes first, which cancels it; whether it was done."""
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


@contextlib.asynccontextmanager
async def _delivering(platform: Platform, stop: asyncio.Event) -> AsyncIterator[None]:
    """Connects in the background and delivers from then on. If the worker fails for good, so does the process: its
    supervisor's restart is a better cure than an API that accepts and never delivers."""
    stopped = asyncio.Event()

    async def deliver() -> None:
        client = await connection.connect(platform.settings)
        if not platform.settings.embedded_worker:
            async with platform.backlog.watched(client, platform.settings.task_queue):
                platform.client = client
                await stopped.wait()
            return
        worker = create_worker(client, platform.settings, platform.sender, platform.lanes)
        async with worker, releasing(client, platform.lanes, platform.settings):
            platform.worker, platform.client = worker, client
            log.info("delivering; Temporal Web UI: %s", platform.settings.temporal_ui)
            await stopped.wait()

    delivering = asyncio.create_task(deliver())
    delivering.add_done_callback(lambda _: stop.set())
    try:
        yield
    finally:
        stopped.set()
        if platform.client is None:
            delivering.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await delivering


async def _ensure_key(settings: Settings, session: AsyncSession) -> None:
    """Without any key nobody could call the API: stores the first, from the environment or a fresh one."""
    if await api_keys.any_stored(session):
        if settings.bootstrap_key and not await api_keys.find(session, settings.bootstrap_key.get_secret_value()):
            log.warning("WEBHOOKS_BOOTSTRAP_KEY is ignored: this database has its keys already")
        return
    if settings.bootstrap_key:
        key = settings.bootstrap_key.get_secret_value()
        if len(key) < _SHORT_KEY:
            log.warning("WEBHOOKS_BOOTSTRAP_KEY is short: whoever guesses it is administrator")
    else:
        key = f"whk_{secrets.token_urlsafe(32)}"
        settings.make_data_dir()
        file = settings.data_dir / "bootstrap.key"
        file.write_text(key + "\n")
        log.info("made the first administrator's API key: %s", file)
    api_keys.add(session, tenant="default", name="bootstrap", key=key)


if __name__ == "__main__":
    process.run(serve)
