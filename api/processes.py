"""Several processes that serve one port: this one starts them and, once for all, the Temporal server, starts again
what ends, and ends all together.

They share a listening socket. Each takes a connection when it has time for one, and a connection that came while a
process died is taken by another one. It does not serve itself, so it stays small and has little that could fail."""

import asyncio
import contextlib
import logging
import socket
import sys
import time

from api import starting
from webhooks.errors import CannotRunError
from webhooks.settings import Settings
from webhooks.store.database import Database

log = logging.getLogger("api")

_STOP_SECONDS = 90
"""How long a process may take to end after SIGTERM, before SIGKILL. More than it gives its requests and attempts."""
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0
"""Before a process is started again. Doubled each time, until it has run for _LONG_RUN_SECONDS."""
_LONG_RUN_SECONDS = 60.0
_PORT_SECONDS = 5.0
"""How long to wait for the port: the processes of a platform that was killed need a moment to notice it."""


async def run_several(settings: Settings) -> None:
    """Run until SIGINT or SIGTERM: then let each process finish what is in flight, and stop Temporal.

    Raises CannotRunError."""
    stop = starting.stop_signals()
    async with contextlib.AsyncExitStack() as stack:
        listening = stack.enter_context(contextlib.closing(await _listen(settings)))
        await _prepare_database(settings)
        await stack.enter_async_context(starting.temporal_server(settings, stop))
        if stop.is_set():
            return
        log.info("starting %d processes", settings.processes)
        starting.tell_address(settings, listening.getsockname()[1])
        await _Processes(listening, stop).run(settings.processes)


async def _listen(settings: Settings) -> socket.socket:
    deadline = time.monotonic() + _PORT_SECONDS
    while True:
        try:
            return starting.listen(settings)
        except CannotRunError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.1)


async def _prepare_database(settings: Settings) -> None:
    """Do what only one process must do, before the others open the database. Raises CannotRunError."""
    database = Database.of(settings)
    try:
        await database.prepare(settings)
        await starting.provide_first_rows(settings, database)
    finally:
        await database.close()


class _Processes:
    def __init__(self, listening: socket.socket, stop: asyncio.Event) -> None:
        self._listening = listening
        self._stop = stop
        self._have_served: set[int] = set()
        """Numbers of processes. One that fails before it has ever served meets a wrong setting."""

    async def run(self, count: int) -> None:
        """Keep `count` processes running until `stop` is set, then wait for their end. Raises CannotRunError."""
        keeping = [asyncio.create_task(self._keep_running(number)) for number in range(count)]
        for task in keeping:
            task.add_done_callback(lambda _: self._stop.set())
        await self._stop.wait()
        self._listening.close()  # or callers would wait for an answer
        log.info("stopping: %d processes finish what is in flight", count)
        for result in await asyncio.gather(*keeping, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _keep_running(self, number: int) -> None:
        """Raises CannotRunError if the process fails before it has served."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            started = time.monotonic()
            code = await self._run_once(number)
            if self._stop.is_set():
                return
            if code > 0 and number not in self._have_served:
                raise CannotRunError(f"process {number} ended with code {code}, see above")
            if time.monotonic() - started > _LONG_RUN_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            log.error("process %d ended with code %d; starting it again in %g s", number, code, pause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stop.wait()
                    return
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _run_once(self, number: int) -> int:
        """Run a process until it ends or `stop` is set, and return its exit code; that of a signal is negative."""
        ours, theirs = socket.socketpair()
        with contextlib.closing(ours):  # its end tells the process that this one has ended
            with contextlib.closing(theirs):
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "api.child"),
                    *(str(number), str(self._listening.fileno()), str(theirs.fileno())),
                    pass_fds=(self._listening.fileno(), theirs.fileno()),
                    # Ctrl-C in the terminal reaches this process only, which ends them in order.
                    start_new_session=True,
                )
            listening_to_it = asyncio.create_task(self._note_serving(number, ours))
            ended, stopping = asyncio.create_task(process.wait()), asyncio.create_task(self._stop.wait())
            try:
                await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
                if process.returncode is None:
                    process.terminate()
                    await asyncio.wait((ended,), timeout=_STOP_SECONDS)
                if process.returncode is None:
                    log.error("process %d does not end; killing it", number)
                    process.kill()
                return await ended
            finally:
                stopping.cancel()
                listening_to_it.cancel()
                await asyncio.gather(listening_to_it, return_exceptions=True)

    async def _note_serving(self, number: int, channel: socket.socket) -> None:
        channel.setblocking(False)
        if await asyncio.get_running_loop().sock_recv(channel, 1):
            self._have_served.add(number)
