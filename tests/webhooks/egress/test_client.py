"""The way out, against real sockets on loopback."""

import asyncio
import contextlib
import gc
import gzip
import socket
import ssl
import time
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import trustme

from tests.support.name_server import NameServer
from tests.support.sockets import (
    LOOPBACK,
    OK,
    Script,
    answering,
    connections,
    dripping,
    listening,
    port_of,
    serving,
    silence,
    without_end,
)
from webhooks import outcomes
from webhooks.egress import client
from webhooks.egress.client import MAX_ANSWER_BYTES, Answer, Egress
from webhooks.testing.receiver import Receiver, Reply

SLACK = 1.5
"""Seconds that a busy machine may add to a deadline."""

# A certificate for 127.0.0.1 that nobody trusts; its key protects nothing.
CERTIFICATE = """
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjLK+Ft0Trqhd4qb5
v3Ltc1T+/00ufyn3JBYYsoZZOdihRANCAAQrjtxj4/eNt57EsrhCk7NzPPMvjdUc
UKcQ88C1baK1/C0foQJ0s/wfESdT7ng9iR2Uqdq5M1glaMOzA3joCW/A
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBmjCCAUGgAwIBAgIULWOwtXtAHQiN/AuZOrWXZ171PxAwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMzAxMjg0NVoYDzIxMjYxMDMw
MDEyODQ1WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQrjtxj4/eNt57EsrhCk7NzPPMvjdUcUKcQ88C1baK1/C0foQJ0s/wf
ESdT7ng9iR2Uqdq5M1glaMOzA3joCW/Ao28wbTAdBgNVHQ4EFgQUSFKeoLC0QtWs
sNpKlQ0FChoLFe8wHwYDVR0jBBgwFoAUSFKeoLC0QtWssNpKlQ0FChoLFe8wDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARhwR/AAABgglsb2NhbGhvc3QwCgYIKoZI
zj0EAwIDRwAwRAIgEEu22PR8zfERPzFstyoGVhcMPo6qGBfQ3WyOoL0G4dACIDD+
PG8h3RBMz7z3aIs7sGRTNGKAE1s0Z6Qn+7nUSNSL
-----END CERTIFICATE-----
"""


@pytest.fixture
async def egress(names: NameServer) -> AsyncIterator[Egress]:
    egress = Egress(LOOPBACK, resolver=names.resolver())
    yield egress
    await egress.close()


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    async with NameServer().serving() as names:
        yield names


async def send(egress: Egress, url: str, *, timeout: float = 10, tenant: str = "acme") -> Answer:
    return await egress.send(tenant, "POST", url, {"x-custom": "1"}, b'{"a":1}', timeout)


@pytest.mark.parametrize(
    ("status", "outcome", "error"),
    [
        (200, "delivered", None),
        (202, "delivered", None),
        (204, "delivered", None),
        (302, "http_302", "302 Found"),
        (400, "http_400", "400 Bad Request"),
        (410, "http_410", "410 Gone"),
        (429, "http_429", "429 Too Many Requests"),
        (503, "http_503", "503 Service Unavailable"),
    ],
)
async def test_a_status_becomes_its_outcome(
    egress: Egress, receiver: Receiver, path: str, status: int, outcome: str, error: str | None
) -> None:
    body = b"" if status == 204 else b"said so"
    expected = Answer(outcome, status, error, body)

    assert expected == await send(egress, receiver.tell(path, [Reply(status, body)]))


async def test_the_request_arrives_as_it_was_given(egress: Egress, receiver: Receiver, path: str) -> None:
    url = receiver.url(f"{path}?a=b%20c&d=%C3%BC")
    await egress.send("acme", "PUT", url, {"x-custom": "1", "accept-encoding": "gzip"}, "ü".encode(), 10)
    [request] = receiver.got(f"{path}?a=b%20c&d=%C3%BC")

    assert (request.method, request.body) == ("PUT", "ü".encode())
    assert request.headers == {
        "host": f"127.0.0.1:{receiver.port}",
        "accept": "*/*",
        "accept-encoding": "identity",
        "x-custom": "1",
        "content-length": "2",
    }


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(egress: Egress, receiver: Receiver, path: str, status: int) -> None:
    with listening() as elsewhere:
        for target in (f"http://127.0.0.1:{port_of(elsewhere)}/", receiver.url(f"{path}/next")):
            receiver.tell(path, [Reply(status, headers={"location": target})])
            answer = await send(egress, receiver.url(path))

            assert answer.outcome == f"http_{status}"
            assert str(answer.error).endswith(f", not followed: it leads to {target}")
        assert receiver.got(f"{path}/next") == []
        assert connections(elsewhere) == 0


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("/next?key=canary#canary", ": it leads to http://127.0.0.1:{port}/next"),
        ("https://canary:canary@example.com/a", ": it leads to https://example.com/a"),
        ("https://example.com/" + "a" * 300, ": it leads to https://example.com/" + "a" * 180),
        ("https://example.com:canary/", ""),
    ],
)
async def test_where_a_redirect_leads_is_told_without_query_and_credentials(
    egress: Egress, receiver: Receiver, path: str, location: str, shown: str
) -> None:
    answer = await send(egress, receiver.tell(path, [Reply(302, headers={"location": location})]))

    assert answer.error == "302 Found, not followed" + shown.format(port=receiver.port)


async def test_a_cookie_is_not_sent_back(egress: Egress, receiver: Receiver, path: str) -> None:
    url = receiver.tell(path, [Reply(200, headers={"set-cookie": "session=1; Path=/"})])
    for _ in range(2):
        await send(egress, url)

    assert ["cookie" in request.headers for request in receiver.got(path)] == [False, False]


async def test_the_environment_s_proxies_and_passwords_are_ignored(
    receiver: Receiver, path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    with listening() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port_of(proxy)}")
            monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{port_of(proxy)}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("NETRC", str(netrc))
        egress = Egress(LOOPBACK)
        answer = await send(egress, receiver.url(path))
        await egress.close()

        assert answer.outcome == "delivered"
        assert connections(proxy) == 0
        assert "authorization" not in receiver.got(path)[0].headers


@pytest.mark.parametrize("excess", [-1, 0, 1, 100_000])
async def test_of_a_body_16_kib_are_kept(egress: Egress, receiver: Receiver, path: str, excess: int) -> None:
    body = bytes(index % 251 for index in range(MAX_ANSWER_BYTES + excess))
    url = receiver.tell(path, [Reply(503, body)])
    answers = [await send(egress, url) for _ in range(2)]

    assert [(answer.status_code, answer.body) for answer in answers] == [(503, body[: 16 * 1024])] * 2


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_body_that_is_compressed_unasked_is_unpacked(
    egress: Egress, receiver: Receiver, path: str, encoding: str
) -> None:
    body = (gzip if encoding == "gzip" else zlib).compress(b"no such order")
    answer = await send(egress, receiver.tell(path, [Reply(404, body, {"content-encoding": encoding})]))

    assert answer == Answer("http_404", 404, "404 Not Found", b"no such order")


async def test_of_a_bomb_16_kib_are_kept(egress: Egress, receiver: Receiver, path: str) -> None:
    bomb = gzip.compress(bytes(10_000_000))
    answer = await send(egress, receiver.tell(path, [Reply(200, bomb, {"content-encoding": "gzip"})]))

    assert answer == Answer("delivered", 200, body=bytes(MAX_ANSWER_BYTES), complete=False)


async def test_a_compressed_body_that_is_not_unpacked_is_named(egress: Egress, receiver: Receiver, path: str) -> None:
    answer = await send(egress, receiver.tell(path, [Reply(200, b"\x0b\x00\x80ok\x03", {"content-encoding": "br"})]))

    assert answer.body == b"compressed, 6 bytes (br)"


@pytest.mark.parametrize("odd", ["X Request Id: 7", "x-id : 7", ": 7", "hello", "x: a\0b", "größe: 7", " folded: 7"])
@pytest.mark.parametrize("times", [1, 2_000])
async def test_behind_a_status_that_can_be_read_an_odd_header_costs_the_connection_only(
    egress: Egress, odd: str, times: int
) -> None:
    lines = f"{odd}\r\n" * times
    head = f"HTTP/1.1 503 Busy\r\n{lines}Retry-After: 7\r\nContent-Length: 4\r\n\r\nbusy".encode()
    async with serving(answering(head, then=silence)) as url, asyncio.timeout(SLACK):
        answers = [await send(egress, url) for _ in range(2)]

    assert answers == [Answer("http_503", 503, "503 Service Unavailable", b"busy", retry_after=7)] * 2


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_retry_after_is_read(egress: Egress, receiver: Receiver, path: str, form: str) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(hours=9), usegmt=True)
    header, low, high = ("120", 120, 120) if form == "seconds" else (date, 8.5 * 3600, 9 * 3600)
    answer = await send(egress, receiver.tell(path, [Reply(503, headers={"Retry-After": header})]))

    assert answer.retry_after is not None
    assert low <= answer.retry_after <= high


@pytest.mark.parametrize("header", ["soon", "-1", "Wed, 21 Oct 1999 07:28:00 GMT", "\xff"])
async def test_a_retry_after_that_makes_no_sense_changes_nothing(egress: Egress, header: str) -> None:
    raw = f"HTTP/1.1 503 Busy\r\nretry-after: {header}\r\ncontent-length: 0\r\n\r\n".encode("latin-1")
    async with serving(answering(raw)) as url:
        answer = await send(egress, url)

    assert (answer.outcome, answer.retry_after) == ("http_503", None)


@pytest.mark.parametrize(
    ("script", "body", "complete"),
    [
        (answering(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello"), b"hello", False),
        (answering(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz"), b"hello", False),
        (answering(b"HTTP/1.0 200 OK\r\n\r\nhello"), b"hello", True),
        (answering(b"HTTP/1.1 200 OK\r\n\r\n", then=without_end(b"x" * 1_000)), b"x" * MAX_ANSWER_BYTES, False),
    ],
    ids=["short of its length", "broken chunk", "no length", "endless"],
)
async def test_once_the_status_is_there_the_body_changes_nothing(
    egress: Egress, script: Script, body: bytes, complete: bool
) -> None:
    async with serving(script) as url:
        started = time.monotonic()
        answer = await send(egress, url)
        seconds = time.monotonic() - started

    assert answer == Answer("delivered", 200, body=body, complete=complete)
    assert seconds < SLACK  # it does not wait for more than it keeps


async def test_a_body_that_is_cut_off_ends_its_connection_and_the_next_request_works(egress: Egress) -> None:
    closed = asyncio.Event()

    async def then(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await without_end(b"x" * 1_000)(reader, writer)
        closed.set()

    async with serving(answering(b"HTTP/1.1 200 OK\r\n\r\n", then=then)) as url, asyncio.timeout(10):
        await send(egress, url)
        await closed.wait()
        assert (await send(egress, url)).outcome == "delivered"


@pytest.mark.parametrize(("timeout", "body_seconds"), [(0.5, 5.0), (30, 0.5)], ids=["deadline", "body's own limit"])
async def test_a_body_that_drips_after_a_200_is_delivered_in_time(
    egress: Egress, monkeypatch: pytest.MonkeyPatch, timeout: float, body_seconds: float
) -> None:
    monkeypatch.setattr(client, "_MAX_BODY_SECONDS", body_seconds)
    async with serving(answering(b"HTTP/1.1 200 OK\r\n\r\n", then=dripping(b"x" * 1_000))) as url:
        started = time.monotonic()
        answer = await send(egress, url, timeout=timeout)
        seconds = time.monotonic() - started

    assert answer.outcome == "delivered"
    assert 0 < len(answer.body) < 100
    assert seconds < 0.5 + SLACK


async def test_a_closed_port_is_connection_refused(egress: Egress) -> None:
    with socket.socket() as bound:  # and not listening, so that nobody else gets the port
        bound.bind(("127.0.0.1", 0))
        answer = await send(egress, f"http://127.0.0.1:{port_of(bound)}/")

    assert answer == Answer(outcomes.CONNECTION_REFUSED, error="connection refused")


async def test_an_untrusted_certificate_is_refused_before_anything_is_sent(egress: Egress, tmp_path: Path) -> None:
    pem = tmp_path / "certificate.pem"
    pem.write_text(CERTIFICATE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    requests: list[bytes] = []

    async def script(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        requests.append(await reader.read(-1))

    async with serving(script, context) as url:
        answer = await send(egress, url)

    assert answer.outcome == outcomes.TLS_ERROR
    assert answer.error
    assert answer.error.startswith("certificate not accepted")
    assert requests in ([], [b""])


async def test_of_a_name_s_addresses_the_first_that_answers_is_used(
    egress: Egress, receiver: Receiver, path: str, names: NameServer
) -> None:
    names.tell("two.test", ["127.0.0.9", "127.0.0.1"])
    answer = await send(egress, f"http://two.test:{receiver.port}{path}")

    assert answer.outcome == "delivered"


async def test_a_connection_is_kept_for_the_tenant_s_next_request_and_nobody_else_s(egress: Egress) -> None:
    requests: list[int] = []
    opened = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        number = opened
        while True:
            await reader.readuntil(b'{"a":1}')
            requests.append(number)
            writer.write(OK)
            await writer.drain()

    async with serving(script) as url:
        for tenant in ("acme", "acme", "other", "acme"):
            await send(egress, url, tenant=tenant)

    assert requests == [1, 1, 2, 1]


async def test_after_twenty_timeouts_at_once_the_next_request_works(
    egress: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for five connections, some are cut off while they are opened and some while they wait for a place."""
    monkeypatch.setattr("webhooks.egress.connections._MAX_CONNECTIONS_PER_POOL", 5)
    healthy = False
    open_now: set[int] = set()
    all_closed = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        id = writer.get_extra_info("peername")[1]
        open_now.add(id)
        try:
            await reader.readuntil(b'{"a":1}')  # IncompleteReadError where the sender was cut off before it sent
            if healthy:
                writer.write(OK)
            else:
                await reader.read(-1)
        finally:
            open_now.discard(id)
            if not open_now:
                all_closed.set()

    async with serving(script) as url:
        answers = await asyncio.gather(*(send(egress, url, timeout=0.3) for _ in range(20)))
        async with asyncio.timeout(10):
            await all_closed.wait()
        healthy = True
        after = [await send(egress, url) for _ in range(6)]

    assert [answer.outcome for answer in answers] == [outcomes.TIMEOUT] * 20
    assert [answer.outcome for answer in after] == ["delivered"] * 6


async def test_a_cancelled_send_ends_at_once_and_leaves_no_connection(egress: Egress) -> None:
    arrived, closed = asyncio.Event(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b'{"a":1}')
        arrived.set()
        await reader.read(-1)
        closed.set()

    async with serving(script) as url, asyncio.timeout(10):
        sending = asyncio.create_task(send(egress, url, timeout=60))
        await arrived.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await closed.wait()


async def test_a_handshake_that_is_cut_off_leaves_no_connection(egress: Egress) -> None:
    closed = asyncio.Event()

    async def script(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        closed.set()

    gc.disable()  # which would close it too, some time
    try:
        async with serving(script) as url, asyncio.timeout(10):
            answer = await send(egress, url.replace("http:", "https:"), timeout=0.3)
            await closed.wait()
    finally:
        gc.enable()

    assert answer.outcome == outcomes.TIMEOUT


async def test_a_pool_beyond_the_limit_is_closed(egress: Egress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhooks.egress.connections._MAX_POOLS", 1)
    closed = asyncio.Event()

    async def then(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        closed.set()

    async with serving(answering(OK, then=then)) as old, serving(answering(OK)) as new, asyncio.timeout(10):
        await send(egress, old)
        await send(egress, new)
        await closed.wait()


async def test_closing_ends_kept_connections() -> None:
    closed = asyncio.Event()

    async def then(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        closed.set()

    async with serving(answering(OK, then=then)) as url, asyncio.timeout(10):
        egress = Egress(LOOPBACK)
        await send(egress, url)
        await egress.close()
        await closed.wait()


@pytest.mark.parametrize("host", ["receiver.test", "RECEIVER.test", "receiver.test.", "Receiver.Test。"])
async def test_tls_and_the_host_header_get_one_spelling_of_a_host(names: NameServer, host: str) -> None:
    """A certificate's names have no dot at the end."""
    authority, told, requests = trustme.CA(), list[str | None](), list[bytes]()
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("receiver.test").configure_cert(own)
    own.set_servername_callback(lambda _, name, __: told.append(name))
    names.tell("receiver.test", ["127.0.0.1"])
    with authority.cert_pem.tempfile() as bundle:
        egress = Egress(LOOPBACK, resolver=names.resolver(), ca_bundle=Path(bundle))

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b'{"a":1}'))
        writer.write(OK)

    async with serving(script, own) as url:
        port = url.rstrip("/").rpartition(":")[2]
        answer = await send(egress, f"https://{host}:{port}/")
        await egress.close()

    assert answer == Answer("delivered", 200)
    assert told == ["receiver.test"]
    assert f"host: receiver.test:{port}\r\n".encode() in requests[0].lower()
