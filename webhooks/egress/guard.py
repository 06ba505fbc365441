"""Which connections may be opened: a name's addresses are judged, and the connection goes to a judged address, so that
nothing can change between check and use."""

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

log = logging.getLogger(__name__)

_PROXY_SECONDS = 5.0
_PIECE, _MOST_READ = 2_048, 160 * 1024
"""Bytes of an answer: at once, and in all. httpcore refuses a head of over 100 KiB, we keep 16 KiB of a body."""


class AddressNotAllowedError(httpcore.ConnectError):
    """No request may go there. The message is fit for a tenant's eyes."""


class ProxyFaultError(Exception):
    """The operator's proxy does not do its part. No receiver's fault."""


class Guard:
    """Looks names up and judges what they stand for. `allowed` are the operator's networks. `proxied`: a proxy looks
    names up instead, and decides where they lead; only what needs no lookup is judged here."""

    def __init__(self, resolver: Resolver, allowed: Sequence[Network], *, proxied: bool = False) -> None:
        self._resolver = resolver
        self._allowed = allowed
        self._proxied = proxied

    async def addresses(self, tenant: str, host: str, *, plain: bool) -> list[Address]:
        """Where a connection may go. One address that is not allowed refuses the whole name. `plain`: without TLS,
        which is for the operator's networks only. Raises AddressNotAllowedError or NotResolvedError."""
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
                # The address goes to the operator's log only: told to a tenant, it would be a window on our network.
                log.warning("refused to connect to %s, which is %s", host, address)
                raise AddressNotAllowedError("address not allowed")
        if plain and set(verdicts.values()) != {Verdict.OPERATOR_ALLOWED}:
            raise AddressNotAllowedError("https is required")
        return addresses

    def _judge(self, address: Address) -> Verdict:
        verdict = judge(address, self._allowed)
        return Verdict.DENIED if verdict is Verdict.PUBLIC and _is_ours(address) else verdict


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens TCP connections, but only to addresses that were judged here."""

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
            if peer is None:  # it is gone already
                raise httpcore.ReadError("reset")
            log.error("a connection to %s went to %s", address, peer[0])
            raise AddressNotAllowedError("address not allowed")
        raise failure

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise AddressNotAllowedError("address not allowed")

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class ProxyBackend(httpcore.AnyIOBackend):
    """Opens connections to the operator's proxy, which is not judged. Raises ProxyFaultError."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        # Shorter than the request's own deadline, which would be charged to the receiver.
        timeout = _PROXY_SECONDS if timeout is None else min(timeout / 2, _PROXY_SECONDS)
        try:
            return _Stream(await super().connect_tcp(host, port, timeout, local_address, socket_options))
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            raise ProxyFaultError("no connection to the proxy of WEBHOOKS_EGRESS_PROXY") from error


class _Stream(httpcore.AsyncNetworkStream):
    """Bounds what is read of an answer, and lets others run in between: the parser takes its time for many small parts.
    Closes its socket when a TLS handshake is cut off by a deadline, which httpcore's own stream leaves open."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner
        self._read = 0

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._read >= _MOST_READ:
            raise httpcore.RemoteProtocolError("the answer is too long")
        data = await self._inner.read(min(max_bytes, _PIECE), timeout)
        self._read += len(data)
        await asyncio.sleep(0)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._read = 0  # another request begins
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


def _is_ours(address: Address) -> bool:
    """Whether this machine has the address: who connects to an address of his own has it on both sides. A datagram
    socket is connected without a packet, so this knows before anybody is reached, needs no list of interfaces, and
    follows them when they change."""
    family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return ip_address(probe.getsockname()[0]) == address
    except OSError:  # no way there, so no way to ourselves
        return False
