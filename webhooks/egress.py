"""The only way out: every request to a stranger's address leaves through here.

A name is resolved once, every address it resolves to is judged, and the connection goes to a judged address while
Host and TLS keep the name, so nothing can change between check and use. No redirects, cookies, proxies from the
environment or content decoding: requests go straight to an httpx transport, whose client layer would add those.

httpcore 1.0.9 can lose a pool's slots when requests are cancelled, and scans its pool quadratically. So each
(tenant, origin) has a small pool of its own, and a pool whose request was cut off is retired.
"""

import asyncio
import errno
import logging
import re
import socket
import ssl
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import anyio
import httpcore
import httpx

from webhooks import USER_AGENT, outcomes
from webhooks.addresses import Address, Network, Verdict, judge

log = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 16 * 1024
"""How much of an answer's body is read and kept."""
_BODY_SECONDS = 5.0
"""How long the body may take once the status is known; it never changes the outcome."""
_LOOKUP_SECONDS = 3.0
_IDLE_SECONDS = 60.0
_OUR_LIMITS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_MAX_URL = 2_048
_URL = re.compile(
    r"https?://(?P<authority>[^/?#]*@[^/?#]*|(?:\[[0-9A-Fa-f:.]+\]|[^/?#@:%\[\].]+(?:\.[^/?#@:%\[\].]+)*\.?)"
    r"(?::(?P<port>[0-9]{1,5}))?)(?:[/?#]|$)",
    re.ASCII | re.IGNORECASE,
)
"""Host names have no empty label and no percent sign; addresses in brackets have no scope."""
_BAD_PORTS = frozenset(
    (
        1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
        110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530,
        531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190,
        5060, 5061, 6000, 6379, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
    )
)  # fmt: skip
"""The Fetch standard's list, and Redis: services that could take a request for something else."""
_MAX_POOLS = 1_000
_POOL_CONNECTIONS = 100


class AddressNotAllowedError(httpcore.ConnectError):
    """The name resolves to an address that deliveries may not go to."""


class NoAnswerError(Exception):
    """No answer came, and why: for those who ask through `Egress.transport`. `outcome` is one of webhooks.outcomes."""

    def __init__(self, outcome: str, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


@dataclass(frozen=True)
class Answer:
    """What came back, or why nothing did. `outcome` is one of webhooks.outcomes; `error` is fit for a tenant's eyes."""

    outcome: str
    status_code: int | None = None
    error: str | None = None
    body: bytes = b""
    complete: bool = True
    """Whether `body` is all of it."""
    retry_after: float | None = None


async def resolve(host: str, port: int) -> list[Address]:
    """Every address of a host name, or the one that a literal is. Raises OSError (socket.gaierror) or UnicodeError."""
    try:
        return [ip_address(host)]
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(sockaddr[0]) for *_, sockaddr in found))


async def check_url(text: str, allowed: Sequence[Network]) -> str | None:
    """Why a delivery to this URL would be refused today, for the one who configures it; None if it would not be.
    A name that does not resolve is no reason with https: it may resolve by the time of the first delivery."""
    if len(text) > _MAX_URL:
        return f"longer than {_MAX_URL} characters"
    if not text.isprintable() or " " in text or "\\" in text:
        return "not a URL"
    parts = _URL.match(text)
    if parts is None:
        return "not an absolute https URL"
    if "@" in parts["authority"]:
        return "credentials do not belong in a URL"
    if "#" in text:
        return "a fragment is never sent"
    port = int(parts["port"] or 443)
    if not 1 <= port <= 65535 or port in _BAD_PORTS:
        return "port not allowed"
    try:
        url = httpx.URL(text)
        _ = url.host  # decodes A-labels, and raises for what is none
        host = url.raw_host.decode().rstrip(".")
    except (httpx.InvalidURL, UnicodeError):
        return "not a URL"
    try:
        async with asyncio.timeout(_LOOKUP_SECONDS):
            verdicts = {judge(address, allowed) for address in await resolve(host, port)}
    except (OSError, UnicodeError):  # TimeoutError is an OSError
        return "https is required" if url.scheme == "http" else None
    if Verdict.DENIED in verdicts:
        return "address not allowed"
    if url.scheme == "http" and verdicts != {Verdict.NAMED}:
        return "https is required"
    return None


class _GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens TCP connections, but only to addresses that were judged here."""

    def __init__(self, allowed: Sequence[Network], *, plain: bool) -> None:
        self._allowed = allowed
        self._plain = plain
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await resolve(host, port)
        for address in addresses:
            verdict = judge(address, self._allowed)
            if verdict is Verdict.DENIED or (self._plain and verdict is not Verdict.NAMED):
                # The address goes to the operator's log only: told to a tenant, it would be a window on our network.
                log.warning("refused to connect to %s, which is %s", host, address)
                raise AddressNotAllowedError("address not allowed")
        failure: Exception = httpcore.ConnectError("the name has no address")
        for address in addresses:
            try:
                return await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise AddressNotAllowedError("address not allowed")

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class _GuardedTransport(httpx.AsyncHTTPTransport):
    """httpx's transport on a pool whose network backend is ours; httpx has no parameter for that."""

    def __init__(self, context: ssl.SSLContext, allowed: Sequence[Network], *, plain: bool) -> None:
        super().__init__(verify=context, trust_env=False)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=_POOL_CONNECTIONS,
            max_keepalive_connections=10,
            keepalive_expiry=30,
            network_backend=_GuardedBackend(allowed, plain=plain),
        )


class _Pool:
    """The connections to one origin for one tenant; closed when it is retired and its last request has ended."""

    def __init__(self, transport: _GuardedTransport) -> None:
        self.transport = transport
        self.retired = False
        self.used_at = 0.0
        self._in_flight = 0

    async def __aenter__(self) -> httpx.AsyncBaseTransport:
        self._in_flight += 1
        return self.transport

    async def __aexit__(self, *_: object) -> None:
        self._in_flight -= 1
        await self._close_if_done()

    async def retire(self) -> None:
        self.retired = True
        await self._close_if_done()

    async def _close_if_done(self) -> None:
        if self.retired and not self._in_flight:
            await self.transport.aclose()


class Egress:
    """Sends requests to receivers. One for each process; close it when the process ends."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed
        self._context = httpx.create_ssl_context(trust_env=False)
        self._pools: OrderedDict[tuple[str, str], _Pool] = OrderedDict()

    async def send(
        self, tenant: str, method: str, url: str, headers: dict[str, str], body: bytes, timeout: float
    ) -> Answer:
        """One request, `timeout` seconds for all of it. Never raises for what a receiver does."""
        target = httpx.URL(url)
        origin = (tenant, f"{target.scheme}://{target.netloc.decode()}")
        pool = await self._pool(origin, plain=target.scheme == "http")
        deadline = asyncio.get_running_loop().time() + timeout
        request = httpx.Request(
            method,
            target,
            headers={"accept": "*/*", **headers, "accept-encoding": "identity"},
            content=body,
            extensions={"timeout": httpx.Timeout(timeout).as_dict()},
        )
        async with pool as transport:
            try:
                async with asyncio.timeout_at(deadline):
                    response = await transport.handle_async_request(request)
            except TimeoutError:
                await self._retire(origin, pool)
                return Answer(outcomes.TIMEOUT, error=f"no answer within {timeout:.3g} s")
            except asyncio.CancelledError:
                await self._retire(origin, pool)
                raise
            except Exception as error:
                outcome, message = _classify(error)
                return Answer(outcome, error=message)
            content, complete = bytearray(), False
            try:
                async with asyncio.timeout_at(min(deadline, asyncio.get_running_loop().time() + _BODY_SECONDS)):
                    async for chunk in response.aiter_raw():
                        content += chunk
                        if len(content) >= MAX_ANSWER_BYTES:
                            break
                    else:
                        complete = True
            except TimeoutError:  # the status has come and stands, whatever becomes of the body
                await self._retire(origin, pool)
            except httpx.HTTPError:
                pass
            finally:
                await response.aclose()
        status = response.status_code
        return Answer(
            outcomes.of_status(status),
            status,
            None if response.is_success else f"{status} {httpx.codes.get_reason_phrase(status)}".strip(),
            bytes(content[:MAX_ANSWER_BYTES]),
            complete,
            outcomes.retry_after_seconds(response.headers.get("retry-after"), datetime.now(UTC)),
        )

    def transport(self, tenant: str, timeout: float) -> httpx.AsyncBaseTransport:
        """The way out for a library that brings an httpx client of its own: guarded, bounded and timed like every other
        request, `timeout` seconds for each. Raises NoAnswerError through that client."""
        return _Lent(self, tenant, timeout)

    async def close(self) -> None:
        pools, self._pools = list(self._pools.values()), OrderedDict()
        for pool in pools:
            await pool.transport.aclose()

    async def _pool(self, origin: tuple[str, str], *, plain: bool) -> _Pool:
        now = asyncio.get_running_loop().time()
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = _Pool(_GuardedTransport(self._context, self._allowed, plain=plain))
        self._pools.move_to_end(origin)
        pool.used_at = now
        eldest, unused = next(iter(self._pools.items()))
        if len(self._pools) > _MAX_POOLS or unused.used_at < now - _IDLE_SECONDS:
            await self._retire(eldest, unused)
        return pool

    async def _retire(self, origin: tuple[str, str], pool: _Pool) -> None:
        """New requests get a new pool; the old one lives on until its last request has ended."""
        if self._pools.get(origin) is pool:
            del self._pools[origin]
        await pool.retire()


class _Lent(httpx.AsyncBaseTransport):
    """Egress.send as an httpx transport."""

    def __init__(self, egress: Egress, tenant: str, timeout: float) -> None:
        self._egress = egress
        self._tenant = tenant
        self._timeout = timeout

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        headers = dict(request.headers) | {"user-agent": USER_AGENT}
        answer = await self._egress.send(
            self._tenant, request.method, str(request.url), headers, await request.aread(), self._timeout
        )
        if answer.status_code is None:
            raise NoAnswerError(answer.outcome, answer.error or answer.outcome)
        return httpx.Response(answer.status_code, content=answer.body, request=request)


def _classify(error: Exception) -> tuple[str, str]:
    """Outcome and message of a request that got no answer. The causes hold addresses and library internals, so no
    message is built from them."""
    for cause in _chain(error):
        if isinstance(cause, OSError) and cause.errno in _OUR_LIMITS:
            raise error  # our machine's fault
        match cause:
            case AddressNotAllowedError():
                return outcomes.ADDRESS_NOT_ALLOWED, "address not allowed"
            case ssl.SSLCertVerificationError():
                return outcomes.TLS_ERROR, f"certificate not accepted: {cause.verify_message}"
            case ssl.SSLError():
                return outcomes.TLS_ERROR, "TLS handshake failed"
            case socket.gaierror() | UnicodeError():
                return outcomes.DNS_ERROR, "the host name does not resolve"
            case ConnectionRefusedError():
                return outcomes.CONNECTION_REFUSED, "connection refused"
            case ConnectionResetError() | BrokenPipeError():
                return outcomes.CONNECTION_RESET, "connection reset by the receiver"
    match error:
        case httpx.TimeoutException():
            return outcomes.TIMEOUT, "no answer in time"
        case httpx.ConnectError():
            return outcomes.CONNECTION_FAILED, "connection failed"
        case httpx.ReadError() | httpx.WriteError():
            return outcomes.CONNECTION_RESET, "connection reset by the receiver"
        case httpx.RemoteProtocolError():
            return outcomes.PROTOCOL_ERROR, "the answer is not valid HTTP/1.1"
        case httpx.TransportError():
            return outcomes.CONNECTION_FAILED, "connection failed"
    raise error


def _chain(error: BaseException | None) -> Iterable[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                yield from _chain(inner)
        error = error.__cause__ or error.__context__
