"""`python -m api`: the platform in one process. API, worker and, unless TEMPORAL_ADDRESS names one, a Temporal server.

They share an event loop so that a published occurrence's first workflow task goes straight to the worker beside it.
"""

import asyncio
import contextlib
import logging
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Iterator

import uvicorn
import uvloop
from pydantic import ValidationError
from temporalio.client import Client
from temporalio.service import RPCError

from api.app import create_app
from api.platform import Platform
from webhooks import temporal
from webhooks.egress import Egress
from webhooks.settings import Settings
from webhooks.store import api_keys
from webhooks.store.database import Database
from webhooks.temporal_binary import NoTemporalError
from webhooks.temporal_server import TemporalServer
from worker import create_worker

log = logging.getLogger("api")

_CONNECT_PAUSE = 0.3
_DRAIN_SECONDS = 10


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: what it starts must end in an order that we choose."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(settings: Settings) -> None:
    """Runs until SIGINT or SIGTERM: then takes no more requests, finishes the attempts in flight, stops Temporal."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        database = Database.of(settings)
        stack.push_async_callback(database.close)
        await database.migrate()
        await _ensure_key(settings, database)
        egress = Egress(settings.egress_allow)
        stack.push_async_callback(egress.close)
        if settings.temporal_address is None:
            temporal_server = TemporalServer(settings, lambda line: log.info("%s", line))
            stack.push_async_callback(temporal_server.stop)
            await temporal_server.start()
        platform = Platform(settings, database)
        await stack.enter_async_context(_delivering(platform, egress, stop))
        server = _Server(
            uvicorn.Config(
                create_app(platform),
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=_DRAIN_SECONDS,
            )
        )
        serving = asyncio.create_task(server.serve())
        serving.add_done_callback(lambda _: stop.set())
        log.info("API on http://%s:%d (docs at /docs)", settings.host, settings.port)
        await stop.wait()
        log.info("stopping: finishing what is in flight")
        server.should_exit = True
        await serving


@contextlib.asynccontextmanager
async def _delivering(platform: Platform, egress: Egress, stop: asyncio.Event) -> AsyncIterator[None]:
    """Connects in the background and delivers from then on. If the worker fails for good, so does the process: its
    supervisor's restart is a better cure than an API that accepts and never delivers."""
    stopped = asyncio.Event()

    async def deliver() -> None:
        client = await _connect(platform.settings)
        if platform.settings.embedded_worker:
            worker = create_worker(client, platform.settings, platform.database, egress)
            async with worker:
                platform.worker, platform.client = worker, client
                log.info("delivering; Temporal Web UI: %s", platform.settings.temporal_ui)
                await stopped.wait()
        else:
            platform.client = client
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


async def _connect(settings: Settings) -> Client:
    """Keeps trying: our own server needs a moment, another one may be away for longer."""
    pause = _CONNECT_PAUSE
    while True:
        try:
            client = await temporal.connect(settings)
            await temporal.prepare_namespace(client, ours=settings.temporal_address is None)
            return client
        except (RuntimeError, RPCError) as error:
            if pause > 1:
                log.warning("Temporal at %s does not answer yet: %s", settings.temporal_target, error)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 10)


async def _ensure_key(settings: Settings, database: Database) -> None:
    """Without any key nobody could call the API: stores the first, from the environment or a fresh one."""
    async with database.write() as session:
        if await api_keys.any_stored(session):
            if settings.bootstrap_key and not await api_keys.find(session, settings.bootstrap_key.get_secret_value()):
                log.warning("WEBHOOKS_BOOTSTRAP_KEY is ignored: this database has its keys already")
            return
        if settings.bootstrap_key:
            key = settings.bootstrap_key.get_secret_value()
        else:
            key = f"whk_{secrets.token_urlsafe(32)}"
            settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = settings.data_dir / "bootstrap.key"
            file.touch(mode=0o600)
            file.write_text(key + "\n")
            log.info("made the first administrator's API key: %s", file)
        api_keys.add(session, tenant="default", name="bootstrap", key=key)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        uvloop.run(serve(Settings()))
    except ValidationError as error:
        lines = [f"{item['loc'][0]}: {item['msg']}" for item in error.errors(include_input=False)]
        sys.exit("Bad setting (WEBHOOKS_...): " + "; ".join(lines))
    except (NoTemporalError, temporal.NotReadyError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
