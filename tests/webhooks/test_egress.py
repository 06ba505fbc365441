"""The way out, against real sockets on loopback."""

import asyncio
import contextlib
import gzip
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from demo.receiver import Answer, Receiver
from webhooks import egress as egress_module
from webhooks import outcomes
from webhooks.addresses import parse_networks
from webhooks.egress import MAX_ANSWER_BYTES, Egress, check_url
from webhooks.egress import Answer as Outcome

LOOPBACK = parse_networks("127.0.0.0/8 ::1/128")
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
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

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    egress = Egress(LOOPBACK)
    yield egress
    await egress.close()


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


def answering(raw: bytes, *, then: Script | None = None) -> Script:
    """Reads a request's head and answers these bytes."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
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


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


def connections(server: socket.socket) -> int:
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            server.accept()[0].close()
            count += 1
    return count


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """A name server of our own: each name's answers in turn. Stands in for a DNS that no test should need."""
    told: dict[str, list[list[str]]] = {}
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *args: Any, **options: Any) -> list[Any]:
        addresses = told[host].pop(0) if host in told else [host]
        return [found for address in addresses for found in real(address, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return told


async def send(egress: Egress, url: str, *, timeout: float = 10, tenant: str = "acme") -> Outcome:
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
    expected = Outcome(outcome, status, error, body)

    assert expected == await send(egress, receiver.tell(path, [Answer(status, body)]))


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
            receiver.tell(path, [Answer(status, headers={"location": target})])
            answer = await send(egress, receiver.url(path))

            assert answer.outcome == f"http_{status}"
        assert receiver.got(f"{path}/next") == []
        assert connections(elsewhere) == 0


async def test_a_cookie_is_not_sent_back(egress: Egress, receiver: Receiver, path: str) -> None:
    url = receiver.tell(path, [Answer(200, headers={"set-cookie": "session=1; Path=/"})])
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
    url = receiver.tell(path, [Answer(503, body)])
    answers = [await send(egress, url) for _ in range(2)]

    assert [(answer.status_code, answer.body) for answer in answers] == [(503, body[: 16 * 1024])] * 2


async def test_a_compressed_body_is_kept_as_it_came(egress: Egress, receiver: Receiver, path: str) -> None:
    """A bomb stays small: nothing is ever unpacked."""
    bomb = gzip.compress(bytes(10_000_000))
    answer = await send(egress, receiver.tell(path, [Answer(200, bomb, {"content-encoding": "gzip"})]))

    assert answer == Outcome("delivered", 200, body=bomb[:MAX_ANSWER_BYTES])


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("120", 120, 120),
        (format_datetime(datetime.now(UTC) + timedelta(hours=9), usegmt=True), 8.5 * 3600, 9 * 3600),
    ],
)
async def test_retry_after_is_read(
    egress: Egress, receiver: Receiver, path: str, header: str, low: float, high: float
) -> None:
    answer = await send(egress, receiver.tell(path, [Answer(503, headers={"Retry-After": header})]))

    assert answer.retry_after is not None
    assert low <= answer.retry_after <= high


@pytest.mark.parametrize("header", ["soon", "-1", "Wed, 21 Oct 1999 07:28:00 GMT", "\xff"])
async def test_a_retry_after_that_makes_no_sense_changes_nothing(egress: Egress, header: str) -> None:
    raw = f"HTTP/1.1 503 Busy\r\nretry-after: {header}\r\ncontent-length: 0\r\n\r\n".encode("latin-1")
    async with serving(answering(raw)) as url:
        answer = await send(egress, url)

    assert (answer.outcome, answer.retry_after) == ("http_503", None)


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        (reset, outcomes.CONNECTION_RESET),
        (answering(b"", then=reset), outcomes.CONNECTION_RESET),
        (answering(b"HTTP/1.1 200 OK\r\n", then=reset), outcomes.CONNECTION_RESET),
        (answering(b""), outcomes.PROTOCOL_ERROR),
        (answering(b"SSH-2.0-OpenSSH_9\r\n\r\n"), outcomes.PROTOCOL_ERROR),
        (answering(b"HTTP/2 200 OK\r\n\r\n"), outcomes.PROTOCOL_ERROR),
        (answering(b"HTTP/1.1 099 Odd\r\n\r\n"), outcomes.PROTOCOL_ERROR),
        (answering(b"HTTP/1.1 101 Upgrade\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"), outcomes.PROTOCOL_ERROR),
        (answering(b"HTTP/1.1 200 OK\r\n", then=without_end(b"a: b\r\n" * 100)), outcomes.PROTOCOL_ERROR),
        (answering(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"), outcomes.PROTOCOL_ERROR),
    ],
    ids=[
        "reset at once", "reset after the request", "reset in the head", "closed", "other protocol", "HTTP/2",
        "status 099", "upgrade", "endless head", "two lengths",
    ],
)  # fmt: skip
async def test_what_is_no_answer_is_told_apart(egress: Egress, script: Script, outcome: str) -> None:
    async with serving(script) as url:
        answer = await send(egress, url)

    assert outcome == answer.outcome
    assert answer.status_code is None
    assert answer.error
    assert "127.0.0.1" not in answer.error


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

    assert answer == Outcome("delivered", 200, body=body, complete=complete)
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


@pytest.mark.parametrize(
    "script",
    [
        silence,
        answering(b"", then=dripping(b"HTTP/1.1 200 OK\r\n" * 9)),
        answering(b"", then=without_end(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 9)),
    ],
    ids=["silence", "slow head", "1xx storm"],
)
async def test_no_answer_within_the_deadline_is_a_timeout(egress: Egress, script: Script) -> None:
    async with serving(script) as url:
        started = time.monotonic()
        answer = await send(egress, url, timeout=0.5)
        seconds = time.monotonic() - started

    assert answer.outcome == outcomes.TIMEOUT
    assert 0.5 <= seconds < 0.5 + SLACK


@pytest.mark.parametrize(("timeout", "body_seconds"), [(0.5, 5.0), (30, 0.5)], ids=["deadline", "body's own limit"])
async def test_a_body_that_drips_after_a_200_is_delivered_in_time(
    egress: Egress, monkeypatch: pytest.MonkeyPatch, timeout: float, body_seconds: float
) -> None:
    monkeypatch.setattr(egress_module, "_BODY_SECONDS", body_seconds)
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

    assert answer == Outcome(outcomes.CONNECTION_REFUSED, error="connection refused")


@pytest.mark.parametrize(
    "url", ["http://nowhere.invalid/", "https://nowhere.invalid/", f"https://{'a' * 64}.invalid/", "https://a..b/"]
)
async def test_a_name_that_does_not_resolve_is_a_dns_error(egress: Egress, url: str) -> None:
    assert await send(egress, url) == Outcome(outcomes.DNS_ERROR, error="the host name does not resolve")


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


async def test_plain_text_where_tls_was_asked_for_is_a_tls_error(egress: Egress) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        await reader.read(-1)

    async with serving(script) as url:
        answer = await send(egress, url.replace("http:", "https:"))

    assert answer == Outcome(outcomes.TLS_ERROR, error="TLS handshake failed")


async def test_a_reset_handshake_is_connection_reset(egress: Egress) -> None:
    async with serving(reset) as url:
        answer = await send(egress, url.replace("http:", "https:"))

    assert answer.outcome == outcomes.CONNECTION_RESET


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "2130706433", "017700000001", "0x7f000001", "0x7f.1", "127。0。0。1", "localhost",
        "LOCALHOST", "0", "0.0.0.0", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    ],
)  # fmt: skip
async def test_without_leave_no_spelling_of_loopback_gets_a_connection(scheme: str, host: str) -> None:
    egress = Egress(parse_networks("10.0.0.0/8"))
    with listening() as server:
        answer = await send(egress, f"{scheme}://{host}:{port_of(server)}/")
        await egress.close()

        assert answer == Outcome(outcomes.ADDRESS_NOT_ALLOWED, error="address not allowed")
        assert connections(server) == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "[::ffff:127.0.0.1]"])
async def test_with_leave_the_same_listener_gets_its_connection(egress: Egress, host: str) -> None:
    """The test above would otherwise pass with a listener that nobody can reach."""
    with listening() as server:
        answer = await send(egress, f"http://{host}:{port_of(server)}/", timeout=0.2)

        assert answer.outcome == outcomes.TIMEOUT
        assert connections(server) == 1


async def test_plain_http_goes_to_the_operator_s_networks_only() -> None:
    """1.1.1.1 is public, so only https may go there; nothing leaves this machine."""
    egress = Egress(LOOPBACK)
    answer = await send(egress, "http://1.1.1.1/", timeout=1)
    await egress.close()

    assert answer.outcome == outcomes.ADDRESS_NOT_ALLOWED


async def test_a_name_is_resolved_once_and_the_connection_goes_where_it_was_judged(
    egress: Egress, receiver: Receiver, path: str, names: dict[str, list[list[str]]]
) -> None:
    """A second lookup would get another address, as in DNS rebinding. A kept connection needs no lookup at all."""
    names["rebinding.test"] = [["127.0.0.1"], ["127.0.0.9"]]
    url = f"http://rebinding.test:{receiver.port}{path}"
    answers = [await send(egress, url) for _ in range(2)]

    assert [answer.outcome for answer in answers] == ["delivered"] * 2
    assert names["rebinding.test"] == [["127.0.0.9"]]
    assert receiver.got(path)[0].headers["host"] == f"rebinding.test:{receiver.port}"


@pytest.mark.parametrize("addresses", [["127.0.0.1", "10.0.0.1"], ["10.0.0.1", "127.0.0.1"], ["127.0.0.1", "1.1.1.1"]])
async def test_a_name_with_one_address_that_is_not_allowed_gets_no_connection(
    egress: Egress, names: dict[str, list[list[str]]], addresses: list[str]
) -> None:
    names["mixed.test"] = [addresses]
    with listening() as server:
        answer = await send(egress, f"http://mixed.test:{port_of(server)}/", timeout=1)

        assert answer.outcome == outcomes.ADDRESS_NOT_ALLOWED
        assert connections(server) == 0


async def test_of_a_name_s_addresses_the_first_that_answers_is_used(
    egress: Egress, receiver: Receiver, path: str, names: dict[str, list[list[str]]]
) -> None:
    names["two.test"] = [["127.0.0.9", "127.0.0.1"]]
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
    monkeypatch.setattr(egress_module, "_POOL_CONNECTIONS", 5)
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


async def test_a_pool_beyond_the_limit_is_closed(egress: Egress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhooks.egress._MAX_POOLS", 1)
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


@pytest.mark.parametrize(
    ("reason", "urls"),
    [
        (
            "address not allowed",
            """
            http://127.0.0.1/ http://127.0.0.1./ http://127.1/ http://2130706433/ http://017700000001/
            http://0x7f000001/ http://0x7f.1/
            http://127。0。0。1/ http://localhost/ http://0/ http://0.0.0.0/ http://[::]/ http://[::1]/
            http://[::ffff:127.0.0.1]/ http://[::ffff:7f00:1]/ http://[0:0:0:0:0:ffff:a9fe:a9fe]/
            http://[::127.0.0.1]/ http://[64:ff9b::7f00:1]/ http://[2002:7f00:1::]/ http://[fd00:ec2::254]/
            http://10.0.0.1/ http://169.254.169.254/latest/meta-data/
            https://127.0.0.1/ https://127.1/ https://2130706433/ https://017700000001/ https://0x7f000001/
            https://0x7f.1/ https://127。0。0。1/ https://localhost/ https://LOCALHOST:8443/x https://0/ https://[::1]/
            https://[::ffff:127.0.0.1]/ https://10.0.0.1/ https://169.254.169.254/
            """,
        ),
        ("https is required", "http://1.1.1.1/ http://[2606:4700::1111]/ http://nowhere.invalid/"),
        (
            "credentials",
            """
            http://example.com@127.0.0.1/ http://1.1.1.1&@127.0.0.1#@2.2.2.2/ https://example.com:443@127.0.0.1/
            http://user:pass@example.com/ https://user@1.1.1.1/ https://:pass@1.1.1.1/ https://:@1.1.1.1/ https://@1.1.1.1/
            """,
        ),
        ("fragment", "https://1.1.1.1/# https://1.1.1.1/#x https://1.1.1.1#x https://1.1.1.1/?a=b#c"),
        (
            "port not allowed",
            """
            https://1.1.1.1:0/ https://1.1.1.1:22/ https://1.1.1.1:25/ https://1.1.1.1:6379/ https://1.1.1.1:10080/
            https://1.1.1.1:022/ https://1.1.1.1:65536/ https://1.1.1.1:99999/
            """,
        ),
        (
            "not an absolute https URL",
            """
            ftp://1.1.1.1/ file:///etc/passwd gopher://1.1.1.1/ unix:/var/run/docker.sock javascript:alert(1) ws://1.1.1.1/
            //1.1.1.1/ ///1.1.1.1/ http:///127.0.0.1/ http:127.0.0.1/ https:1.1.1.1 https:/1.1.1.1/ https:// https:///
            https://:443/ 1.1.1.1 example.com/hook /hook https://1.1.1.1:abc/ https://[::1 https://256.1.1.1.1.1.1:x/
            https://1.1.1.1:-1/ https://1.1.1.1:+443/ https://1.1.1.1:4_43/ https://h%00.example.com/ https://a..b/
            http://[fe80::1%25eth0]/ http://[fe80::1%lo]/ https://[fe80::1%lo]/ http://[fd00:ec2::254%1]/ https://.a/
            """,
        ),
        ("not a URL", "https://[1.1.1.1]/ https://xn--/ https://xn--a/ https://xn--zz--a.com/"),
    ],
)  # fmt: skip
async def test_check_url_refuses(reason: str, urls: str) -> None:
    refusals = {url: await check_url(url, []) for url in urls.split()}

    assert {url: why for url, why in refusals.items() if why is None or reason not in why} == {}


@pytest.mark.parametrize(
    "url",
    [
        "", " ", " https://1.1.1.1/", "https://1.1.1.1/ ", "https://1.1.1.1/a b", "https://1.1.1.1/\r\nhost: x",
        "https://1.1.1.1/\ta", "https://1.1.1.1/\0", "https://1.1.1.1/\x7f", "https://1.1.1.1/\u202e",
        "https://127.0.0.1\\@example.com/", "https://1.1.1.1/\\x", "https://1.1.1.1/" + "a" * 2_033,
        "http://0177.0.0.1/", "http://LOCALHOST./", "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/", "http://①②⑦.⓪.⓪.①/",
        "http://\uff11\uff12\uff17.\uff10.\uff10.\uff11/",
    ],
)  # fmt: skip
async def test_check_url_refuses_what_is_oddly_written(url: str) -> None:
    assert await check_url(url, [])


@pytest.mark.parametrize(
    "url",
    [
        "https://1.1.1.1", "https://1.1.1.1/", "HTTPS://1.1.1.1/", "https://1.1.1.1:8443/a/b?c=d&e=%20", "https://1.1/",
        "https://1.1.1.1:65535/", "https://[2606:4700::1111]:8443/", "https://[::ffff:1.1.1.1]/", "https://1.1.1.1/{x}",
        "https://1.1.1.1/ü", "https://1.1.1.1/@", "https://1.1.1.1/" + "a" * 2_032,
        "https://nowhere.invalid/",  # it may resolve by the time of the first delivery
    ],
)  # fmt: skip
async def test_check_url_accepts_public_https(url: str) -> None:
    assert await check_url(url, []) is None


@pytest.mark.parametrize(
    ("url", "allowed", "expected"),
    [
        ("http://127.0.0.1:8080/", "127.0.0.0/8", None),
        ("https://127.0.0.1/", "127.0.0.0/8", None),
        ("http://127.1/", "127.0.0.1", None),
        ("http://[::1]/", "::1", None),
        ("http://[::ffff:127.0.0.1]/", "127.0.0.0/8", None),
        ("http://localhost/", "127.0.0.0/8 ::1", None),
        ("http://1.1.1.1/", "1.1.1.0/24", None),
        ("http://10.0.0.1/", "127.0.0.0/8", "address not allowed"),
        ("http://[::1]/", "127.0.0.0/8", "address not allowed"),
        ("http://169.254.169.254/", "169.254.0.0/16", "address not allowed"),
        ("http://169.254.169.254/", "169.254.169.254", None),
        ("http://127.0.0.1:22/", "127.0.0.0/8", "port not allowed"),
    ],
)
async def test_check_url_allows_the_operator_s_networks_also_by_http(
    url: str, allowed: str, expected: str | None
) -> None:
    assert expected == await check_url(url, parse_networks(allowed))


@pytest.mark.parametrize(
    ("addresses", "scheme", "expected"),
    [
        (["1.1.1.1", "2606:4700::1111"], "https", None),
        (["1.1.1.1", "2606:4700::1111"], "http", "https is required"),
        (["1.1.1.1", "10.0.0.1"], "https", "address not allowed"),
        (["10.0.0.1"], "https", "address not allowed"),
        (["127.0.0.1", "1.1.1.1"], "https", None),
        (["127.0.0.1", "1.1.1.1"], "http", "https is required"),
        (["127.0.0.1", "127.0.0.2"], "http", None),
    ],
)
async def test_check_url_judges_every_address_of_a_name(
    names: dict[str, list[list[str]]], addresses: list[str], scheme: str, expected: str | None
) -> None:
    names["mixed.test"] = [addresses]

    assert expected == await check_url(f"{scheme}://mixed.test/", LOOPBACK)
