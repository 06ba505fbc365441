"""A small webhook receiver on loopback, for tests, the demo and the benchmark. It answers as it is told and keeps the
requests that it gets. Of HTTP/1.1 it knows only what a client that sends Content-Length needs.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus


@dataclass(frozen=True)
class Received:
    """A request. `at` is when it arrived, in seconds of the monotonic clock. Header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Reply:
    """What to answer. `before` is awaited first, so that a test can delay it. `raw` replaces the whole answer. With
    `drip`, each byte is sent alone, `drip` seconds after the one before."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    before: Callable[[], Awaitable[object]] | None = None
    raw: bytes | None = None
    drip: float = 0


Told = int | Reply | Callable[[Received], Reply]


class Receiver:
    """Answers 200 unless it was told otherwise."""

    def __init__(self) -> None:
        self.port = 0
        self._told: dict[str, list[Told]] = {}
        self._got: dict[str, list[Received]] = defaultdict(list)
        self._arrived = asyncio.Condition()
        self._connections: set[asyncio.Task[None] | None] = set()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def tell(self, path: str, answers: Sequence[Told]) -> str:
        """Give these answers to the next requests to `path`, in order; the last one to all further requests. Return the
        URL."""
        self._told[path] = list(answers)
        return self.url(path)

    def got(self, path: str) -> list[Received]:
        """Return the requests to `path` so far."""
        return self._got[path]

    async def wait_for(self, path: str, count: int, timeout: float = 30) -> list[Received]:
        """Wait until `path` has got `count` requests, and return them. Raises TimeoutError."""
        async with asyncio.timeout(timeout), self._arrived:
            await self._arrived.wait_for(lambda: len(self._got[path]) >= count)
        return self._got[path]

    @contextlib.asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator["Receiver"]:
        """Serve while the block runs; on a free port by default."""
        server = await asyncio.start_server(self._connection, "127.0.0.1", port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for connection in filter(None, list(self._connections)):
                connection.cancel()
            await asyncio.sleep(0)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(asyncio.current_task())
        try:
            while True:
                request = await self._read(reader)
                if request is None:
                    break
                answer = self._next(request)
                self._got[request.path].append(request)
                async with self._arrived:
                    self._arrived.notify_all()
                if answer.before:
                    await answer.before()
                await _write(writer, answer.raw if answer.raw is not None else _encode(answer), answer.drip)
                if answer.raw is not None:
                    break
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the sender went away, or the receiver is closing
        finally:
            self._connections.discard(asyncio.current_task())
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Received | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        start, *lines = head.decode("latin-1").rstrip().split("\r\n")
        method, path, _ = start.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Received(method, path, headers, body)

    def _next(self, request: Received) -> Reply:
        told = self._told.get(request.path, [200])
        answer = told[0] if len(told) == 1 else told.pop(0)
        if callable(answer):
            return answer(request)
        return Reply(answer) if isinstance(answer, int) else answer


async def _write(writer: asyncio.StreamWriter, answer: bytes, drip: float) -> None:
    for part in [answer] if not drip else [answer[n : n + 1] for n in range(len(answer))]:
        if writer.is_closing():  # uvloop raises a RuntimeError for a write then
            raise ConnectionResetError
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(drip)


def _encode(answer: Reply) -> bytes:
    headers = {"content-type": "text/plain", **answer.headers, "content-length": str(len(answer.body))}
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + answer.body
