"""The development server: a Temporal server as a child process, with a SQLite file. It needs no other server."""

import asyncio
import contextlib
import ctypes
import fcntl
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from webhooks.disk import remedy, why_not_writable
from webhooks.settings import Settings
from webhooks.temporal.dev_binary import NoTemporalError, Say, find_temporal, without_ours

log = logging.getLogger(__name__)

_DYNAMIC_CONFIG = {
    "frontend.rps": 20_000,
    "frontend.namespaceRPS": 20_000,
    "frontend.namespaceRPS.visibility": 500,
    "history.rps": 50_000,
    "matching.rps": 20_000,
    "history.timerProcessorMaxTimeShift": '"100ms"',  # how late a timer may fire; 1 s by default
    # For how long lists may lack a workflow that was started just before the server was killed; 1 min by default.
    "history.visibilityProcessorMaxPollInterval": '"5s"',
    # Erasing an occurrence takes a moment. By default, what ended just now is deleted after half a minute or more.
    "history.transferProcessorEnsureCloseBeforeDelete": "false",
}
"""Raises limits that are made for experiments: one publisher exceeds them."""
_WAIT_FOR_PORT_SECONDS = 20
"""How long to wait until a port is free."""
_STOP_SECONDS = 10
"""How long the server may take to end after SIGTERM, before SIGKILL."""
_EARLY_END_SECONDS = 10
"""A server that runs for a shorter time has ended early."""
_MAX_EARLY_ENDS = 3
"""After this many early ends in a row, it is not started again."""
_RESTART_SECONDS = 1.0
"""The pause before it is started again."""
_LOG_TAIL_CHARACTERS = 2_000
"""How much of its log an error message shows."""
_PR_SET_PDEATHSIG = 1
"""From Linux's <sys/prctl.h>."""


class TemporalServer:
    """Runs the server, and starts it again if it ends. Its file remains, so accepted deliveries continue."""

    def __init__(self, settings: Settings, say: Say, *, on_end: Callable[[], None]) -> None:
        """`on_end` is called if the server cannot be kept running; `stop` then raises the reason."""
        self._settings = settings
        self._say = say
        self._on_end = on_end
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._lock: int | None = None

    async def start(self) -> None:
        """Start the server. Returns when its process runs; the server answers later. Raises NoTemporalError."""
        self._lock_data_dir()
        binary = await find_temporal(self._say)
        for port, variable in (
            (self._settings.temporal_port, "WEBHOOKS_TEMPORAL_PORT"),
            (self._settings.temporal_ui_port, "WEBHOOKS_TEMPORAL_UI_PORT"),
        ):
            await _wait_until_free(port, variable)
        self._watcher = asyncio.create_task(self._keep_running(binary, await self._spawn(binary)))
        self._watcher.add_done_callback(lambda _: self._on_end())

    async def stop(self) -> None:
        """Stop the server. Raises NoTemporalError if it could not be kept running."""
        try:
            if self._watcher:
                self._watcher.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._watcher
        finally:
            process = self._process
            if process and process.returncode is None:
                process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), _STOP_SECONDS)
                except TimeoutError:
                    process.kill()
                    await process.wait()
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    async def _keep_running(self, binary: Path, process: asyncio.subprocess.Process) -> None:
        early_ends = 0
        while True:
            started = time.monotonic()
            code = await process.wait()
            await self._wait_until_writable(code)
            early_ends = early_ends + 1 if time.monotonic() - started < _EARLY_END_SECONDS else 0
            if early_ends == _MAX_EARLY_ENDS:
                raise NoTemporalError(f"The Temporal server ends immediately (code {code}):\n{self._log_tail()}")
            log.error("the Temporal server ended with code %d; starting it again", code)
            await asyncio.sleep(_RESTART_SECONDS)
            process = await self._spawn(binary)

    async def _wait_until_writable(self, code: int) -> None:
        """Wait while the data directory cannot be written to. The server ends then, and cannot write to its log why."""
        told = False
        while error := await asyncio.to_thread(why_not_writable, self._settings.data_dir):
            if not told:
                log.error(
                    "the Temporal server ended with code %d, and %s cannot be written to: %s. It is started again when "
                    "that is over. %s.",
                    code, self._settings.data_dir.absolute(), error.strerror, remedy(error),
                )  # fmt: skip
                told = True
            await asyncio.sleep(_RESTART_SECONDS)

    def _log_tail(self) -> str:
        file = self._settings.data_dir / "temporal.log"
        tail = file.read_text(errors="replace")[-_LOG_TAIL_CHARACTERS:].strip()
        return tail or f"It wrote nothing to its log {file.absolute()}."

    async def _spawn(self, binary: Path) -> asyncio.subprocess.Process:
        with (self._settings.data_dir / "temporal.log").open("ab") as log_file:
            self._process = await asyncio.create_subprocess_exec(
                *command(binary, self._settings),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                # Ctrl-C in the terminal must not reach the server: we need it to finish what is in flight.
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
                # SQLite works for one thread at a time. More threads, which wait, took a sixth of all CPU time.
                env={"GOMAXPROCS": "1", **without_ours(os.environ)},
            )
        return self._process

    def _lock_data_dir(self) -> None:
        self._settings.make_data_dir()
        data_dir = self._settings.data_dir
        self._lock = os.open(data_dir / "temporal.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise NoTemporalError(
                f"Another process runs its Temporal server in {data_dir}. Stop it, or set WEBHOOKS_DATA_DIR to another "
                "folder."
            ) from None


def command(binary: Path, settings: Settings) -> list[str]:
    """Return the command line of a server with these settings."""
    line = [
        str(binary), "server", "start-dev",
        "--ip", "127.0.0.1",
        "--port", str(settings.temporal_port),
        "--ui-port", str(settings.temporal_ui_port),
        "--namespace", settings.temporal_namespace,
        "--db-filename", str((settings.data_dir / "temporal.db").resolve()),
        # An accepted delivery must survive power loss.
        "--sqlite-pragma", "journal_mode=WAL",
        "--sqlite-pragma", "synchronous=FULL",
        # A delivery writes some 200 pages, most of them the same ones again. So 64 MiB of pages stay in memory, and the
        # log is copied to the file every 8,000 pages.
        "--sqlite-pragma", "cache_size=-65536",
        "--sqlite-pragma", "wal_autocheckpoint=8000",
        "--log-level", "error",
    ]  # fmt: skip
    if settings.codec_endpoint:
        line += ["--ui-codec-endpoint", settings.codec_endpoint]
    for key, value in _DYNAMIC_CONFIG.items():
        line += ["--dynamic-config-value", f"{key}={value}"]
    return line


async def _wait_until_free(port: int, variable: str) -> None:
    """Wait until a port is free: the server of a killed platform needs a moment to end. Raises NoTemporalError."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_WAIT_FOR_PORT_SECONDS):
            while not _is_free(port):  # noqa: ASYNC110  there is no event for a port
                await asyncio.sleep(0.2)
            return
    raise NoTemporalError(
        f"Port {port} is in use. Set {variable} to a free port, or TEMPORAL_ADDRESS to a running Temporal server."
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


if sys.platform == "linux":
    _libc = ctypes.CDLL(None)

    def _die_with_parent() -> None:
        """Let the kernel send SIGTERM to the server if our process dies."""
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
