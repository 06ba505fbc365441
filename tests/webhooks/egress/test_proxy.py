"""Everything through the operator's proxy, against one on loopback."""

import asyncio
import contextlib
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme

from tests.support.name_server import NameServer
from tests.support.sockets import LOOPBACK, OK, answering, listening, port_of, serving, silence, watching_connects
from webhooks import outcomes
from webhooks.credentials.authentication import ClientCredentials
from webhooks.egress.client import Answer, Egress
from webhooks.egress.guard import ProxyFaultError
from webhooks.sending.oauth_tokens import Tokens
from webhooks.testing.receiver import Receiver

CREDENTIALS = "Basic " + b64encode(b"user:p@ss").decode()


@dataclass
class Proxy:
    """Joins whoever asks to one receiver, wherever he wanted to go: names mean what the proxy says."""

    to: int = 0
    answer: bytes | None = None
    """Said instead of joining."""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["Proxy"]:
        async with serving(self._talk) as url:
            self.url = url
            yield self

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode().rstrip().split("\r\n")
        self.asked.append((first, {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}))
        if self.answer is not None:
            writer.write(self.answer)
            await writer.drain()
            return
        back, forth = await asyncio.open_connection("127.0.0.1", self.to)
        if first.startswith("CONNECT"):
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:
            method, url, version = first.split()
            forth.write(f"{method} /{url.split('/', 3)[3]} {version}\r\n".encode() + head.split(b"\r\n", 1)[1])
        try:
            await asyncio.gather(_pour(reader, forth), _pour(back, writer))
        finally:
            forth.close()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        writer.write_eof()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    async with Proxy().serving() as proxy:
        yield proxy


@contextlib.asynccontextmanager
async def through(proxy_url: str, authority: trustme.CA | None = None) -> AsyncIterator[Egress]:
    """Its own resolver has no name server: nothing may be looked up."""
    async with NameServer().serving() as names:
        with authority.cert_pem.tempfile() if authority else contextlib.nullcontext() as bundle:
            ca_bundle = Path(bundle) if bundle else None
            egress = Egress(LOOPBACK, proxy=proxy_url, resolver=names.resolver(), ca_bundle=ca_bundle)
        yield egress
        await egress.close()
        assert names.asked == {}


async def send(egress: Egress, url: str, timeout: float = 5) -> Answer:
    return await egress.send("acme", "POST", url, {"x-custom": "1"}, b'{"a":1}', timeout)


def trusted(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_https_goes_through_a_tunnel_with_the_name_that_the_proxy_looks_up(
    proxy: Proxy, authority: trustme.CA
) -> None:
    heads: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b'{"a":1}'):
            heads.append(head)
            writer.write(OK)

    async with serving(script, trusted(authority, "receiver.test")) as url:
        proxy.to = int(url.split(":")[2].rstrip("/"))
        with watching_connects() as connects:
            async with through(proxy.url.replace("//", "//user:p%40ss@"), authority) as egress:
                answers = [await send(egress, "https://receiver.test/hook") for _ in range(2)]
                assert await egress.check_url("acme", "https://receiver.test/hook") is None

    assert [answer.outcome for answer in answers] == ["delivered"] * 2
    [(first, headers)] = proxy.asked  # the second request took the same tunnel
    assert first == "CONNECT receiver.test:443 HTTP/1.1"
    assert headers["proxy-authorization"] == CREDENTIALS
    assert b"\r\nHost: receiver.test\r\n" in heads[0] or b"\r\nhost: receiver.test\r\n" in heads[0]
    assert b"proxy-authorization" not in heads[0].lower()
    assert {address for address in connects if isinstance(address, tuple)} <= {
        ("127.0.0.1", int(proxy.url.split(":")[2].rstrip("/"))),
        ("127.0.0.1", proxy.to),  # the proxy's own
    }


async def test_the_timing_of_a_tunnel_has_no_lookup_and_tells_no_address(proxy: Proxy, authority: trustme.CA) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b'{"a":1}'):
            writer.write(OK)

    async with serving(script, trusted(authority, "receiver.test")) as url:
        proxy.to = int(url.split(":")[2].rstrip("/"))
        async with through(proxy.url.replace("//", "//user:p%40ss@"), authority) as egress:
            exchanges = [(await send(egress, "https://receiver.test/hook")).exchange for _ in range(2)]

    new, kept = exchanges
    assert new
    assert kept
    assert list(new.timing()) == ["connect", "tls", "wait", "read"]
    assert list(kept.timing()) == ["wait", "read"]
    assert (new.remote_address, kept.remote_address) == (None, None)
    assert not any(name.lower() == b"proxy-authorization" for name, _ in new.request_headers)


async def test_of_a_tunnel_that_the_proxy_refuses_only_connecting_is_there(proxy: Proxy) -> None:
    proxy.answer = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n"
    async with through(proxy.url) as egress:
        answer = await send(egress, "https://receiver.test/")

    assert answer.outcome == outcomes.CONNECTION_FAILED
    assert answer.exchange
    assert list(answer.exchange.timing()) == ["connect"]
    assert (answer.exchange.remote_address, answer.exchange.response_headers) == (None, [])


async def test_a_request_in_absolute_form_does_not_record_the_proxy_s_credentials(proxy: Proxy) -> None:
    async with serving(answering(OK)) as url:
        proxy.to = int(url.split(":")[2].rstrip("/"))
        async with through(proxy.url.replace("//", "//user:p%40ss@")) as egress:
            answer = await send(egress, url)

    assert answer.exchange
    assert list(answer.exchange.timing()) == ["connect", "wait", "read"]
    assert answer.exchange.remote_address is None
    assert not any(name.lower() == b"proxy-authorization" for name, _ in answer.exchange.request_headers)


async def test_a_dot_at_the_end_of_a_name_stays_out_of_the_tunnel_and_of_its_tls(
    proxy: Proxy, authority: trustme.CA
) -> None:
    async with serving(answering(OK), trusted(authority, "receiver.test")) as url:
        proxy.to = int(url.split(":")[2].rstrip("/"))
        async with through(proxy.url, authority) as egress:
            assert (await send(egress, "https://receiver.test./")).outcome == "delivered"

    assert proxy.asked[0][0] == "CONNECT receiver.test:443 HTTP/1.1"


async def test_a_kept_tunnel_that_closes_as_the_next_request_comes_is_replaced(
    proxy: Proxy, authority: trustme.CA
) -> None:
    requests = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        for answer in (OK, b""):
            await reader.readuntil(b'{"a":1}')
            requests += 1
            writer.write(answer)

    async with serving(script, trusted(authority, "receiver.test")) as url:
        proxy.to = int(url.split(":")[2].rstrip("/"))
        async with through(proxy.url, authority) as egress:
            answers = [await send(egress, "https://receiver.test/") for _ in range(2)]

    assert [answer.outcome for answer in answers] == ["delivered"] * 2
    assert (requests, len(proxy.asked)) == (3, 2)


async def test_an_odd_header_of_the_proxy_s_own_answer_is_not_the_receiver_s_answer(proxy: Proxy) -> None:
    proxy.answer = b"HTTP/1.1 200 Connected\r\nX Y: 7\r\n\r\n"
    async with through(proxy.url) as egress:
        assert (await send(egress, "https://receiver.test/")).outcome == outcomes.PROTOCOL_ERROR


async def test_http_to_a_named_address_goes_through_in_absolute_form(
    proxy: Proxy, receiver: Receiver, path: str
) -> None:
    proxy.to = receiver.port
    async with through(proxy.url) as egress:
        answer = await send(egress, f"http://127.0.0.9:8080{path}")

    assert answer.outcome == "delivered"
    assert proxy.asked[0][0] == f"POST http://127.0.0.9:8080{path} HTTP/1.1"
    assert receiver.got(path)[0].headers["host"] == "127.0.0.9:8080"
    assert receiver.got(path)[0].body == b'{"a":1}'


async def test_a_token_is_asked_for_through_it_as_well(proxy: Proxy) -> None:
    body = b'{"access_token": "t0ken", "token_type": "Bearer"}'
    proxy.answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )
    authentication = ClientCredentials(
        type="OAuth 2.0 Client Credentials", token_url="http://127.0.0.9/token", client_id="id", client_secret="secret"
    )
    async with through(proxy.url) as egress:
        assert await Tokens(egress).get("acme", "webhook", authentication) == "t0ken"

    assert proxy.asked[0][0] == "POST http://127.0.0.9/token HTTP/1.1"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://10.0.0.1/", "address not allowed"),
        ("https://169.254.169.254/", "address not allowed"),
        ("https://[::ffff:10.0.0.1]/", "address not allowed"),
        ("https://127.1/", "address not allowed"),
        ("https://localhost/", "address not allowed"),
        ("https://LOCALHOST./", "address not allowed"),
        ("http://localhost/", "address not allowed"),
        ("https://api.localhost/", "address not allowed"),
        ("http://1.1.1.1/", "https is required"),
        ("http://receiver.test/", "https is required"),
    ],
)
async def test_what_needs_no_lookup_is_still_refused_here(proxy: Proxy, url: str, reason: str) -> None:
    async with through(proxy.url) as egress:
        assert await egress.check_url("acme", url) == reason
        assert await send(egress, url) == Answer(outcomes.ADDRESS_NOT_ALLOWED, error=reason)

    assert proxy.asked == []


@pytest.mark.parametrize("status", ["403 Forbidden", "502 Bad Gateway", "503 Unavailable", "504 Gateway Timeout"])
async def test_what_the_proxy_cannot_connect_to_is_the_receiver_s_failure(proxy: Proxy, status: str) -> None:
    proxy.answer = f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n".encode()
    async with through(proxy.url) as egress:
        answer = await send(egress, "https://receiver.test/")

    assert answer == Answer(outcomes.CONNECTION_FAILED, error="the proxy could not connect")


@pytest.mark.parametrize("url", ["https://receiver.test/", "http://127.0.0.9/"])
@pytest.mark.parametrize("timeout", [0.5, 5])
async def test_a_proxy_that_refuses_our_credentials_is_our_own_fault(proxy: Proxy, url: str, timeout: float) -> None:
    proxy.answer = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"
    async with through(proxy.url.replace("//", "//user:canary@")) as egress:
        with pytest.raises(ProxyFaultError) as caught:
            await send(egress, url, timeout)

    assert "407" in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("status", ["400 Bad Request", "405 Method Not Allowed", "501 Not Implemented"])
async def test_a_proxy_that_is_none_is_our_own_fault(proxy: Proxy, status: str) -> None:
    proxy.answer = f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n".encode()
    async with through(proxy.url) as egress:
        with pytest.raises(ProxyFaultError):
            await send(egress, "https://receiver.test/")


@pytest.mark.parametrize("url", ["https://receiver.test/", "http://127.0.0.9/"])
async def test_a_proxy_that_nobody_runs_is_our_own_fault(url: str) -> None:
    with listening() as bound:
        port = port_of(bound)
    async with through(f"http://127.0.0.1:{port}") as egress:
        with pytest.raises(ProxyFaultError):
            await send(egress, url)


async def test_a_proxy_that_takes_no_connection_is_our_own_fault_before_the_request_s_time_is_up() -> None:
    with listening() as full:
        full.listen(0)
        async with asyncio.timeout(10):
            fill = [asyncio.create_task(asyncio.open_connection(*full.getsockname())) for _ in range(3)]
            await asyncio.wait(fill, timeout=0.2)
            async with through(f"http://127.0.0.1:{port_of(full)}") as egress:
                with pytest.raises(ProxyFaultError):
                    await send(egress, "https://receiver.test/", timeout=1)
        for task in fill:
            task.cancel()
        for opened in await asyncio.gather(*fill, return_exceptions=True):
            if isinstance(opened, tuple):
                opened[1].close()


async def test_a_tunnel_that_never_opens_is_a_timeout() -> None:
    """The proxy may be waiting for the receiver: nobody can tell."""
    async with serving(silence) as url, through(url) as egress:
        answer = await send(egress, "https://receiver.test/", timeout=0.5)

    assert answer.outcome == outcomes.TIMEOUT


async def test_a_receiver_s_own_407_is_its_own_behind_a_tunnel(proxy: Proxy, authority: trustme.CA) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b'{"a":1}')
        writer.write(b"HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n")

    async with serving(script, trusted(authority, "receiver.test")) as url:
        proxy.to = int(url.split(":")[2].rstrip("/"))
        async with through(proxy.url, authority) as egress:
            assert (await send(egress, "https://receiver.test/")).outcome == "http_407"


async def test_a_certificate_for_another_name_is_refused_behind_a_tunnel(proxy: Proxy, authority: trustme.CA) -> None:
    async with serving(silence, trusted(authority, "other.test")) as url:
        proxy.to = int(url.split(":")[2].rstrip("/"))
        async with through(proxy.url, authority) as egress:
            assert (await send(egress, "https://receiver.test/")).outcome == outcomes.TLS_ERROR


async def test_the_environment_s_proxies_are_ignored_for_the_operator_s_setting(
    proxy: Proxy, receiver: Receiver, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.to = receiver.port
    with listening() as other:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port_of(other)}")
        monkeypatch.setenv("NO_PROXY", "*")
        async with through(proxy.url) as egress:
            assert (await send(egress, f"http://127.0.0.9{path}")).outcome == "delivered"

    assert len(proxy.asked) == 1
