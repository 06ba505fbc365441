"""A client that sends slowly, or without end, holds nothing for long."""

import asyncio
import json
import time

import pytest

from api.protocol.slow_clients import MAX_HEAD_BYTES, MAX_HEAD_SECONDS
from webhooks.testing.platform_process import KEY, PlatformProcess


async def answer_of(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """Return the head and the body of what comes until the connection ends."""
    async with asyncio.timeout(60):
        head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
    return head.decode(), body


async def slowly(platform: PlatformProcess, beginning: str, byte: bytes) -> tuple[float, str, bytes]:
    """Send the beginning and then a byte each half second. Return after how many seconds the platform ended it, and
    with what."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", platform.port)
    writer.write(beginning.encode())
    reading = asyncio.create_task(answer_of(reader))
    while not reading.done():
        writer.write(byte)
        await asyncio.wait([reading], timeout=0.5)
    writer.close()
    return time.monotonic() - began, *await reading


@pytest.mark.slow
async def test_slow_headers_and_silence_and_slow_bodies_are_cut(platform: PlatformProcess) -> None:
    start = f"POST /v1/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\n"
    body = f"{start}content-type: application/json\r\ncontent-length: 4096\r\n\r\n"
    headers, silence, slow_body = await asyncio.gather(
        slowly(platform, f"{start}x-slow: ", b"a"), slowly(platform, "", b""), slowly(platform, body, b" ")
    )

    assert headers[1].startswith("HTTP/1.1 408 ")
    assert json.loads(headers[2])["detail"] == f"the request's headers did not arrive within {MAX_HEAD_SECONDS:g} s"
    assert silence[1:] == ("", b"")
    assert min(headers[0], silence[0]) >= MAX_HEAD_SECONDS
    assert slow_body[1].startswith("HTTP/1.1 408 ")
    assert "connection: close" in slow_body[1].lower()
    assert json.loads(slow_body[2])["detail"] == "the body did not arrive within 30 s"


async def test_endless_headers_are_refused(platform: PlatformProcess) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", platform.port)
    writer.write(b"GET /v1/events HTTP/1.1\r\nhost: localhost\r\n")
    reading = asyncio.create_task(answer_of(reader))
    sent = 0
    while not reading.done() and sent < 100 * MAX_HEAD_BYTES:
        writer.write(b"x-more: " + b"a" * 1024 + b"\r\n")
        sent += 1034
        await asyncio.wait([reading], timeout=0.005)
    head, body = await reading
    writer.close()

    assert head.startswith("HTTP/1.1 431 ")
    assert json.loads(body)["detail"] == "request line and headers are larger than 32 KiB"


async def test_requests_on_a_kept_connection_are_bounded_each(platform: PlatformProcess) -> None:
    """The count begins again with each request, and does not include bodies."""
    reader, writer = await asyncio.open_connection("127.0.0.1", platform.port)
    body = json.dumps({"filter": {}, "occurrence": {"data": "a" * 30_000}})
    request = (
        f"POST /v1/filters/match HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}"
    ).encode()
    for _ in range(4):
        for part in (request[:50], request[50:20_000], request[20_000:]):
            writer.write(part)
            await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        length = int(head.lower().partition(b"content-length: ")[2].split()[0])
        assert json.loads(await reader.readexactly(length))["matches"]
    writer.close()
