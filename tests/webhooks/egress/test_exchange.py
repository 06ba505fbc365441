"""What a request records of itself: how long each part took, headers, sizes and where it was sent."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from tests.support.name_server import NameServer
from tests.support.sockets import LOOPBACK, OK, Script, answering, dropping, read_request, reset, serving, silence
from webhooks import outcomes
from webhooks.egress.client import Answer, Egress
from webhooks.egress.exchange import Exchange
from webhooks.settings import parse_networks

SLOW_SECONDS = 0.2
AT_LEAST_MS = SLOW_SECONDS * 1000 - 5  # timers of the event loop may be some milliseconds early


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    async with NameServer().serving() as names:
        yield names


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def egress(names: NameServer, authority: trustme.CA) -> AsyncIterator[Egress]:
    with authority.cert_pem.tempfile() as bundle:
        egress = Egress(LOOPBACK, resolver=names.resolver(), ca_bundle=Path(bundle))
    yield egress
    await egress.close()


async def send(egress: Egress, url: str, *, timeout: float = 10, body: bytes = b"{}") -> tuple[Answer, Exchange]:
    answer = await egress.send("acme", "POST", url, {"x-custom": "1"}, body, timeout)
    assert answer.exchange
    return answer, answer.exchange


async def keeping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await read_request(reader)
        writer.write(OK)


def slow(*parts: bytes) -> Script:
    """Reads a request, and waits before each of these parts of the answer."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for part in parts:
            await asyncio.sleep(SLOW_SECONDS)
            writer.write(part)
            await writer.drain()

    return script


def receiver_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("receiver.test", "127.0.0.1").configure_cert(context)
    return context


def named(url: str) -> str:
    return url.replace("127.0.0.1", "receiver.test")


async def test_a_new_connection_has_every_part_and_a_kept_one_only_what_happened(
    egress: Egress, names: NameServer, authority: trustme.CA
) -> None:
    names.tell("receiver.test", ["127.0.0.1"], ttl=60)
    async with serving(keeping, receiver_context(authority)) as url:
        begun = time.monotonic()
        _, first = await send(egress, named(url))
        took = (time.monotonic() - begun) * 1000
        _, second = await send(egress, named(url))

    assert list(first.timing()) == ["dns", "connect", "tls", "wait", "read"]
    assert first.timing()["tls"] > 0
    assert sum(first.timing().values()) <= took + 0.5  # rounded
    assert list(second.timing()) == ["wait", "read"]


async def test_plain_http_to_an_address_has_neither_lookup_nor_tls(egress: Egress) -> None:
    async with serving(keeping) as url:
        _, exchange = await send(egress, url, body=b'{"a":1}')

    assert list(exchange.timing()) == ["connect", "wait", "read"]
    assert exchange.remote_address == url.removeprefix("http://").rstrip("/")
    assert (exchange.request_size, exchange.response_size, exchange.http_version) == (7, 0, "HTTP/1.1")
    assert (b"x-custom", b"1") in exchange.request_headers
    assert (b"Content-Length", b"7") in exchange.request_headers
    assert exchange.response_headers == [(b"content-length", b"0")]


async def test_the_time_of_a_slow_name_server_is_the_lookup_s(egress: Egress, names: NameServer) -> None:
    names.tell("receiver.test", ["127.0.0.1"])
    names.late["receiver.test"] = SLOW_SECONDS
    async with serving(keeping) as url:
        _, exchange = await send(egress, named(url))
    timing = exchange.timing()

    assert timing["dns"] >= AT_LEAST_MS
    assert timing["dns"] == max(timing.values())


@pytest.mark.parametrize(
    ("parts", "waits", "reads"),
    [
        ([OK], 1, 0),
        ([b"HTTP/1.1 102 Processing\r\n\r\n", OK], 2, 0),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab", b"cd"], 1, 1),
        ([b"HTTP/1.1 200 OK\r\n", b"content-length: 0\r\n\r\n"], 1, 1),
    ],
    ids=["first byte", "interim answer", "body", "head"],
)
async def test_the_time_of_a_slow_receiver_is_in_the_part_in_which_it_is_slow(
    egress: Egress, parts: list[bytes], waits: int, reads: int
) -> None:
    async with serving(slow(*parts)) as url:
        answer, exchange = await send(egress, url)
    timing = exchange.timing()

    assert answer.outcome == outcomes.DELIVERED
    assert timing["wait"] >= AT_LEAST_MS * waits
    assert timing["read"] >= AT_LEAST_MS * reads
    assert reads or timing["read"] < timing["wait"]


async def test_no_answer_in_time_was_waited_for(egress: Egress) -> None:
    async with serving(silence) as url:
        answer, exchange = await send(egress, url, timeout=SLOW_SECONDS)

    assert answer.outcome == outcomes.TIMEOUT
    assert list(exchange.timing()) == ["connect", "wait"]
    assert exchange.timing()["wait"] >= AT_LEAST_MS / 2
    assert (exchange.response_headers, exchange.response_size, exchange.http_version) == ([], None, None)


async def test_of_a_refused_connection_only_connecting_is_there(egress: Egress) -> None:
    async with serving(keeping) as url:
        pass
    answer, exchange = await send(egress, url)

    assert answer.outcome == outcomes.CONNECTION_REFUSED
    assert list(exchange.timing()) == ["connect"]
    assert exchange.remote_address is None


async def test_a_connection_that_does_not_open_in_time_has_taken_it_all(egress: Egress) -> None:
    async with dropping("127.0.0.1") as port:
        answer, exchange = await send(egress, f"http://127.0.0.1:{port}/", timeout=SLOW_SECONDS)

    assert answer.outcome == outcomes.TIMEOUT
    assert list(exchange.timing()) == ["connect"]
    assert exchange.timing()["connect"] >= AT_LEAST_MS
    assert exchange.remote_address is None


async def test_a_name_that_does_not_exist_was_looked_up(egress: Egress) -> None:
    answer, exchange = await send(egress, "http://nowhere.test/")

    assert answer.outcome == outcomes.DNS_ERROR
    assert list(exchange.timing()) == ["dns"]


async def test_a_failed_handshake_is_the_last_part(egress: Egress) -> None:
    async with serving(silence) as url:
        answer, exchange = await send(egress, url.replace("http:", "https:"), timeout=SLOW_SECONDS)
    async with serving(reset) as url:
        reset_answer, after_reset = await send(egress, url.replace("http:", "https:"))

    assert answer.outcome == outcomes.TIMEOUT
    assert list(exchange.timing()) == ["connect", "tls"]
    assert exchange.timing()["tls"] >= AT_LEAST_MS / 2
    assert exchange.remote_address
    assert reset_answer.status_code is None
    assert list(after_reset.timing())[-1] in ("connect", "tls")  # the reset may come first


async def test_a_request_that_is_sent_once_more_records_the_second_time(egress: Egress) -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        await read_request(reader)  # and closes

    async with serving(once) as url:
        _, first = await send(egress, url)
        answer, second = await send(egress, url)

    assert answer.outcome == outcomes.DELIVERED
    assert list(first.timing()) == list(second.timing()) == ["connect", "wait", "read"]


async def test_the_body_that_was_read_is_counted(egress: Egress) -> None:
    async with serving(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"a" * 100_000)) as url:
        answer, exchange = await send(egress, url)

    assert not answer.complete
    assert exchange.response_size
    assert len(answer.body) <= exchange.response_size < 100_000


async def test_the_operator_s_network_is_not_told(egress: Egress, names: NameServer) -> None:
    """An address that a name has in a private network says something about that network. One in the URL does not."""
    names.tell("receiver.test", ["127.0.0.1"])
    async with serving(keeping) as url:
        _, by_name = await send(egress, named(url))
        _, by_address = await send(egress, url)

    assert by_name.remote_address is None
    assert by_address.remote_address


async def test_an_address_that_is_not_allowed_tells_nothing(names: NameServer) -> None:
    names.tell("receiver.test", ["10.0.0.1"])
    egress = Egress(parse_networks("127.0.0.0/8"), resolver=names.resolver())
    answer = await egress.send("acme", "POST", "https://receiver.test/", {}, b"", 5)
    await egress.close()

    assert (answer.outcome, answer.exchange) == (outcomes.ADDRESS_NOT_ALLOWED, None)


async def test_secrets_are_not_in_the_text_of_an_answer(egress: Egress) -> None:
    async with serving(keeping) as url:
        answer = await egress.send("acme", "POST", url, {"authorization": "Bearer canary"}, b"", 5)

    assert answer.exchange
    assert "canary" not in repr(answer)
    assert "canary" not in repr(answer.exchange)


async def test_requests_at_the_same_time_record_apart(egress: Egress) -> None:
    async with serving(keeping) as fast, serving(slow(OK)) as late:
        exchanges = [exchange for _, exchange in await asyncio.gather(send(egress, fast), send(egress, late))]

    assert [exchange.timing()["wait"] >= AT_LEAST_MS for exchange in exchanges] == [False, True]
    assert [exchange.remote_address for exchange in exchanges] == [
        url.removeprefix("http://").rstrip("/") for url in (fast, late)
    ]
