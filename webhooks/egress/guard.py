"""Which connections may be opened (SSRF guard). A host name is resolved once, its addresses are checked, and the
connection goes to a checked address: a second lookup could give another one (DNS rebinding)."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address, ip_address
from typing import Any

import anyio
import httpcore

from webhooks.egress.addresses import Address, Network, Verdict, judge
from webhooks.egress.resolver import Resolver, is_literal
from webhooks.errors import WebhooksError

log = logging.getLogger(__name__)

_PROXY_CONNECT_SECONDS = 5.0
"""How long a connection to the operator's proxy may take."""
_READ_BYTES = 2_048
"""Bytes that are read in one step. Between two steps, other tasks run."""
_MAX_ANSWER_READ_BYTES = 160 * 1024
"""Bytes that are read of one answer: more than the head that httpcore accepts (100 KiB) and the body that we keep
(16 KiB) together."""


class AddressNotAllowedError(WebhooksError, httpcore.ConnectError):
    """No request may go to this address. The message may be shown to the tenant."""


class ProxyFaultError(WebhooksError):
    """The operator's proxy failed. This is an internal error: it does not count against the receiver."""


class Guard:
    """Resolves host names and checks their addresses. `allowed` are the operator's networks. With `proxied`, the proxy
    resolves names and decides about their addresses; the guard then checks only what needs no lookup."""

    def __init__(self, resolver: Resolver, allowed: Sequence[Network], *, proxied: bool = False) -> None:
        self._resolver = resolver
        self._allowed = allowed
        self._proxied = proxied

    async def addresses(self, tenant: str, host: str, *, plain: bool) -> list[Address]:
        """Return the addresses that a connection to `host` may go to. If one address is not allowed, the whole name
        is refused. `plain` means without TLS, which only the operator's networks may have. Returns an empty list if
        the proxy resolves the name. Raises AddressNotAllowedError or NotResolvedError."""
        if self._proxied and not is_literal(host):
            if f".{host}".removesuffix(".").endswith(".localhost"):
                raise AddressNotAllowedError("address not allowed")
            if plain:
                raise AddressNotAllowedError("https is required")
            return []
        addresses = await self._resolver.addresses(tenant, host)
        verdicts = {address: self._judge(address) for address in addresses}
        for address, verdict in verdicts.items():
            if verdict is Verdict.DENIED:
                # Only the operator's log gets the address: it would tell a tenant about our network.
                log.warning("refused to connect to %s: its address %s is not allowed", host, address)
                raise AddressNotAllowedError("address not allowed")
        if plain and set(verdicts.values()) != {Verdict.OPERATOR_ALLOWED}:
            raise AddressNotAllowedError("https is required")
        return addresses

    def _judge(self, address: Address) -> Verdict:
        verdict = judge(address, self._allowed)
        return Verdict.DENIED if verdict is Verdict.PUBLIC and _is_of_this_machine(address) else verdict


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens TCP connections to addresses that the guard allows, and to no others."""

    def __init__(self, guard: Guard, tenant: str, *, plain: bool) -> None:
        self._guard = guard
        self._tenant = tenant
        self._plain = plain
        self._inner: httpcore.AsyncNetworkBackend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception = httpcore.ConnectError("the name has no address")
        for address in await self._guard.addresses(self._tenant, host, plain=self._plain):
            try:
                stream = await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
                continue
            peer = stream.get_extra_info("server_addr")
            if peer and ip_address(peer[0]) == address:
                return _Stream(stream)
            await stream.aclose()
            if peer is None:  # the receiver has closed it already
                raise httpcore.ReadError("reset")
            log.error("a connection to %s was opened to %s instead: refused", address, peer[0])
            raise AddressNotAllowedError("address not allowed")
        raise failure

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise AddressNotAllowedError("address not allowed")

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class ProxyBackend(httpcore.AnyIOBackend):
    """Opens connections to the operator's proxy, whose address is not checked. Raises ProxyFaultError."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        # Shorter than the request's deadline: a timeout of the whole request would count against the receiver.
        timeout = _PROXY_CONNECT_SECONDS if timeout is None else min(timeout / 2, _PROXY_CONNECT_SECONDS)
        try:
            return _Stream(await super().connect_tcp(host, port, timeout, local_address, socket_options))
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            raise ProxyFaultError("cannot connect to the proxy of WEBHOOKS_EGRESS_PROXY") from error


class _Stream(httpcore.AsyncNetworkStream):
    """Limits how much is read of an answer, and lets other tasks run between two reads: parsing many small chunks takes
    long. Also closes the socket when a TLS handshake is cancelled, which httpcore's stream does not."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner
        self._read = 0

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._read >= _MAX_ANSWER_READ_BYTES:
            raise httpcore.RemoteProtocolError("the answer is too long")
        data = await self._inner.read(min(max_bytes, _READ_BYTES), timeout)
        self._read += len(data)
        await asyncio.sleep(0)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._read = 0  # the next request begins
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        try:
            return await self._inner.start_tls(ssl_context, server_hostname, timeout)
        except asyncio.CancelledError:
            await self._inner.aclose()
            raise


def _is_of_this_machine(address: Address) -> bool:
    """Return whether this machine has the address: a socket connected to an address of its own machine has it on both
    ends. Connecting a datagram socket sends no packet. Unlike a list of interfaces, this is never out of date."""
    family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return ip_address(probe.getsockname()[0]) == address
    except OSError:  # no route to the address, so it is not ours
        return False
