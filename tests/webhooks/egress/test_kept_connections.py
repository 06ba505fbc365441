"""Kept connections that close as the next request comes: it is sent once more, and never a third time."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trustme

from tests.support.sockets import LOOPBACK, OK, read_request, reset, serving, silence
from webhooks import outcomes
from webhooks.egress import streams
from webhooks.egress.client import Answer, Egress

HEADERS = {"webhook-id": "message-1", "webhook-signature": "v1,abc="}
CLOSED = Answer(outcomes.CONNECTION_RESET, error="the receiver closed the connection without an answer")
RESET = Answer(outcomes.CONNECTION_RESET, error="connection reset by the receiver")

Ending = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


class Keeping:
    """A receiver that answers the first request on each connection and ends the connection with a later one."""

    def __init__(self, ending: Ending, *, reads: bool = True, answers: int = 1) -> None:
        """`reads`: whether it reads the request with which it ends. `answers`: requests that it answers before."""
        self.requests: list[tuple[int, bytes]] = []
        """Each request that was read, with the number of its connection."""
        self.answers = answers
        self._ending, self._reads = ending, reads
        self._opened = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._opened += 1
        connection = self._opened
        for _ in range(self.answers):
            self.requests.append((connection, await read_request(reader)))
            writer.write(OK)
        if self._reads:
            self.requests.append((connection, await read_request(reader)))
        else:
            await reader.readexactly(1)
        await self._ending(reader, writer)


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    egress = Egress(LOOPBACK)
    yield egress
    await egress.close()


async def send(egress: Egress, url: str, body: bytes = b"{}", timeout: float = 10) -> Answer:
    return await egress.send("acme", "POST", url, HEADERS, body, timeout)


@pytest.mark.parametrize("ending", [close, reset])
@pytest.mark.parametrize("body", [b"{}", b'"%s"' % (b"x" * 8_000_000)], ids=["small", "large"])
@pytest.mark.parametrize("reads", [True, False])
async def test_the_request_goes_out_once_more_and_unchanged(
    egress: Egress, ending: Ending, body: bytes, reads: bool
) -> None:
    receiver = Keeping(ending, reads=reads)
    async with serving(receiver) as url:
        answers = [await send(egress, url, body) for _ in range(3)]

    assert answers == [Answer("delivered", 200)] * 3
    connections = [connection for connection, _ in receiver.requests]
    assert connections == ([1, 1, 2, 2, 3] if reads else [1, 2, 3])
    assert len({request for _, request in receiver.requests}) == 1


async def test_over_tls_as_well() -> None:
    authority, receiver = trustme.CA(), Keeping(close)
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(own)
    with authority.cert_pem.tempfile() as bundle:
        egress = Egress(LOOPBACK, ca_bundle=Path(bundle))
    async with serving(receiver, own) as url:
        answers = [await send(egress, url) for _ in range(2)]
        await egress.close()

    assert answers == [Answer("delivered", 200)] * 2
    assert [connection for connection, _ in receiver.requests] == [1, 1, 2]


@pytest.mark.parametrize("ending", [close, reset])
async def test_a_new_connection_that_closes_is_the_attempt_s_end(egress: Egress, ending: Ending) -> None:
    receiver = Keeping(ending, answers=0)
    async with serving(receiver) as url:
        assert await send(egress, url) == (CLOSED if ending is close else RESET)

    assert len(receiver.requests) == 1


async def test_there_is_no_third_time(egress: Egress) -> None:
    receiver = Keeping(close)
    async with serving(receiver) as url:
        await send(egress, url)
        receiver.answers = 0  # from the second connection on
        assert await send(egress, url) == CLOSED

    assert [connection for connection, _ in receiver.requests] == [1, 1, 2]


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (b"H", outcomes.PROTOCOL_ERROR),
        (b"HTTP/1.1 100 Continue\r\n\r\n", outcomes.CONNECTION_RESET),
        (b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n", "http_408"),
        (b"HTTP/1.1 200 OK\r\n", outcomes.DELIVERED),
    ],
)
async def test_one_byte_of_an_answer_says_that_the_request_was_read(egress: Egress, said: bytes, outcome: str) -> None:
    async def ending(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)

    receiver = Keeping(ending)
    async with serving(receiver) as url:
        await send(egress, url)
        assert (await send(egress, url)).outcome == outcome

    assert len(receiver.requests) == 2


async def test_a_timeout_is_never_sent_again(egress: Egress) -> None:
    receiver = Keeping(silence)
    async with serving(receiver) as url:
        await send(egress, url)
        assert (await send(egress, url, timeout=0.3)).outcome == outcomes.TIMEOUT

    assert len(receiver.requests) == 2


async def test_a_receiver_that_closes_later_may_have_handled_the_request(
    egress: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_STALE_SECONDS", 0.05)

    async def ending(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)  # longer than what is allowed above
        writer.close()

    receiver = Keeping(ending)
    async with serving(receiver) as url:
        await send(egress, url)
        assert await send(egress, url) == CLOSED

    assert len(receiver.requests) == 2


async def test_each_of_many_requests_gets_a_connection_of_its_own_when_all_kept_ones_have_closed(
    egress: Egress,
) -> None:
    """The second time must not take a connection that is as old as the first one's."""
    everybody, kept = asyncio.Barrier(5), 0
    requests: list[int] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal kept
        kept += 1
        if (number := kept) > 5:
            while True:
                await read_request(reader)
                requests.append(number)
                writer.write(OK)
        await read_request(reader)
        await everybody.wait()  # so that there are five connections
        writer.write(OK)
        await read_request(reader)

    async with serving(script) as url, asyncio.timeout(10):
        await asyncio.gather(*(send(egress, url) for _ in range(5)))
        answers = await asyncio.gather(*(send(egress, url) for _ in range(5)))
        later = await send(egress, url)

    assert answers == [Answer("delivered", 200)] * 5
    assert sorted(requests[:5]) == [6, 7, 8, 9, 10]
    assert later == Answer("delivered", 200)
    assert requests[5] in range(6, 11)  # one of the new connections is kept
