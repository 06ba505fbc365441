"""Receivers that say exactly what a test wants, byte by byte, and what connects to them."""

import asyncio
import contextlib
import socket
import ssl
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from webhooks.settings import parse_networks

LOOPBACK = parse_networks("127.0.0.0/8 ::1/128")
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_connects: list[list[object]] = []


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect" and _connects:
        opened, address = arguments
        if isinstance(opened, socket.socket) and opened.type == socket.SOCK_STREAM:
            for watching in _connects:
                watching.append(address)


sys.addaudithook(_watch)


@contextlib.contextmanager
def watching_connects() -> Iterator[list[object]]:
    """Yields the addresses that this process begins to open TCP connections to."""
    seen: list[object] = []
    _connects.append(seen)
    try:
        yield seen
    finally:
        _connects.remove(seen)


@contextlib.asynccontextmanager
async def serving(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Runs `script` for each connection. Yields the URL."""
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        talks.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await script(reader, writer)
        writer.close()
        talks.discard(task)

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    _, _, length = head.lower().partition(b"content-length: ")
    return head + await reader.readexactly(int(length.split(b"\r\n")[0] or 0))


def answering(raw: bytes, *, then: Script | None = None) -> Script:
    """Reads a request and answers these bytes."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(raw)
        await writer.drain()
        if then:
            await then(reader, writer)

    return script


def dripping(raw: bytes) -> Script:
    """One byte of it every 50 ms, so that no single read takes long."""

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in raw:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.05)

    return script


def without_end(raw: bytes) -> Script:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(raw)
            await writer.drain()

    return script


async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Reads until the other side closes, and says nothing."""
    await reader.read(-1)


async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextlib.contextmanager
def listening() -> Iterator[socket.socket]:
    """A socket whose kernel queue keeps every connection that was opened to it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@contextlib.asynccontextmanager
async def dropping(address: str, port: int = 0) -> AsyncIterator[int]:
    """A port of this address at which connections are neither accepted nor refused. Yields the port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family, backlog=0) as server:
        port, loop, opened = port_of(server), asyncio.get_running_loop(), []
        try:
            async with asyncio.timeout(10):
                while True:  # until the kernel's queue is full
                    opened.append(socket.socket(family))
                    opened[-1].setblocking(False)
                    connecting = asyncio.create_task(loop.sock_connect(opened[-1], (address, port)))
                    if not (await asyncio.wait([connecting], timeout=0.2))[0]:
                        connecting.cancel()
                        break
            yield port
        finally:
            for each in opened:
                each.close()


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


def connections(server: socket.socket) -> int:
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            server.accept()[0].close()
            count += 1
    return count
