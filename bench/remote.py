"""A process of the benchmark's own that does what it is told, so that its work shares no interpreter with what is
measured. One line of JSON asks, and one answers."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from webhooks.testing.child_process import ROOT

_MAX_LINE_BYTES = 64 * 1024 * 1024
Handlers = Mapping[str, Callable[..., Awaitable[Any]]]


class Remote:
    """The other process, as the benchmark sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, what: str, *arguments: Any) -> Any:
        """Let the other process do something, and return its result when it is done."""
        async with self._turn:
            assert self._process.stdin and self._process.stdout
            self._process.stdin.write(json.dumps([what, *arguments]).encode() + b"\n")
            answer = await self._process.stdout.readline()
        assert answer, f"the process that was asked to {what} has ended"
        return json.loads(answer)


@contextlib.asynccontextmanager
async def running(module: str, *arguments: str) -> AsyncIterator[Remote]:
    """Run a module that calls `serve`, as long as the block runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments,
        cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_MAX_LINE_BYTES,
    )  # fmt: skip
    try:
        yield Remote(process)
    finally:
        assert process.stdin
        process.stdin.close()
        await process.wait()


async def serve(handlers: Handlers) -> None:
    """Do what the lines of stdin ask for, one after the other, until it is closed."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for line in reader:
        what, *arguments = json.loads(line)
        print(json.dumps(await handlers[what](*arguments)), flush=True)
