"""A child process that can be started, stopped and killed."""

import asyncio
import contextlib
import ctypes
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_STOP_SECONDS = 60
"""How long a process may take to end after SIGTERM."""
ROOT = Path(__file__).parents[2]


class ChildProcess:
    """A process that can be started again after it has ended. Its output is appended to a file."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.environment = dict(environment)
        self.log_file = log
        self._command = command
        self._process: asyncio.subprocess.Process | None = None

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    async def spawn(self) -> None:
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C must reach only the parent process
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )

    def signal(self, number: signal.Signals) -> None:
        assert self._process
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def stop(self) -> int:
        """Send SIGTERM, and return the exit code. Raises TimeoutError after a minute."""
        self.signal(signal.SIGTERM)
        return await self.ended()

    async def ended(self, seconds: float = _STOP_SECONDS) -> int:
        """Wait for the end, and return the exit code. Raises TimeoutError after this many seconds."""
        assert self._process
        return await asyncio.wait_for(self._process.wait(), seconds)

    async def kill(self) -> None:
        """Kill the process as `kill -9` does."""
        assert self._process
        self.signal(signal.SIGKILL)
        await self._process.wait()

    async def close(self) -> None:
        """Kill the process if it is running."""
        if self._process and self._process.returncode is None:
            await self.kill()

    def assert_alive(self) -> None:
        assert self._process and self._process.returncode is None, f"{self._command} ended:\n{self.log[-3000:]}"


if sys.platform == "linux":
    _libc = ctypes.CDLL(None)
    _PR_SET_PDEATHSIG = 1

    def _end_with_parent() -> None:
        """End with the parent, also where that is killed: a test run that is cut off leaves nothing behind."""
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
