"""One operating system process of ours, for whoever starts, stops and breaks some."""

import asyncio
import contextlib
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


class ChildProcess:
    """May be started again once it has ended. Its output goes to the end of a file."""

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
                start_new_session=True,  # Ctrl-C is for whoever started us
            )

    def signal(self, number: signal.Signals) -> None:
        assert self._process
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process
        self.signal(signal.SIGTERM)
        return await asyncio.wait_for(self._process.wait(), 60)

    async def kill(self) -> None:
        """`kill -9`."""
        assert self._process
        self.signal(signal.SIGKILL)
        await self._process.wait()

    async def close(self) -> None:
        """Ends it if it runs."""
        if self._process and self._process.returncode is None:
            await self.kill()

    def assert_alive(self) -> None:
        assert self._process and self._process.returncode is None, f"{self._command} ended:\n{self.log[-3000:]}"
