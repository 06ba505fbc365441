"""What a platform does once when it starts, whatever the number of its processes: it takes its port, brings the
database up to date, stores the first API key, and starts the Temporal server."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks.errors import CannotRunError
from webhooks.events import seed
from webhooks.identity.keyring import new_key
from webhooks.identity.permissions import HOME, INSTALLATION_ADMINISTRATOR
from webhooks.settings import Settings
from webhooks.store import api_keys
from webhooks.store.database import Database
from webhooks.temporal.dev_server import TemporalServer

log = logging.getLogger("api")

_SHORT_KEY = 16


def stop_signals() -> asyncio.Event:
    """Return an event that SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def listen(settings: Settings) -> socket.socket:
    """Return the socket of the API. Raises CannotRunError."""
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


def tell_address(settings: Settings, port: int) -> None:
    """Log where a browser on this machine finds the monitor."""
    place, file = f"http://{local_address(settings, port)}", settings.bootstrap_key_path
    key = f"the API key in {file}" if file.is_file() else "an API key"
    log.info("monitor: %s/ (sign in with %s); API documents: %s/docs", place, key, place)


def local_address(settings: Settings, port: int) -> str:
    """Return host and port by which this machine reaches the API."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104  compared, not bound
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def provide_first_rows(settings: Settings, database: Database) -> None:
    """Store what a platform has from the beginning: an API key and some events."""
    async with database.write_alone() as session:
        await _ensure_key(settings, session)
        await seed.provide(session)


@contextlib.asynccontextmanager
async def temporal_server(settings: Settings, stop: asyncio.Event) -> AsyncIterator[None]:
    """Run a Temporal server while the block runs, unless TEMPORAL_ADDRESS names one. `stop` is set if it cannot be kept
    running; if it was set before the server runs, the block begins without one. Raises NoTemporalError."""
    if settings.temporal_address is not None:
        yield
        return
    server = TemporalServer(settings, lambda line: log.info("%s", line), on_end=stop.set)
    try:
        await _before(stop, server.start())
        yield
    finally:
        await server.stop()


async def _before(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do the work unless `stop` comes first, which cancels it."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
        return
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
