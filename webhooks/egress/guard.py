"""Which connections may be opened (SSRF guard). A host name is resolved once, its addresses are checked, and the
connection goes to a checked address: a second lookup could give another one (DNS rebinding)."""

import asyncio
import logging
import socket
from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address, ip_address
from typing import Any

import aiohappyeyeballs
import anyio
import anyio.abc
import httpcore
from aiohappyeyeballs import AddrInfoType

from webhooks.egress import exchange
from webhooks.egress.addresses import Address, Network, Verdict, judge, smallest_network
from webhooks.egress.resolver import Resolver, is_literal
from webhooks.egress.streams import Stream
from webhooks.errors import WebhooksError

log = logging.getLogger(__name__)

_PROXY_CONNECT_SECONDS = 5.0
"""How long a connection to the operator's proxy may take."""
_NEXT_ADDRESS_SECONDS = 0.25
"""How long an address has for itself before the next one is tried beside it (RFC 8305, 8)."""
_MAX_CONCURRENT_CONNECTS = 8
"""Sockets that one request may open at the same time. A tenant can give a name hundreds of addresses."""


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
        """Return the addresses that a connection to `host` may go to: those of its addresses that are allowed. `plain`
        means without TLS, which only the operator's networks may have. Returns an empty list if the proxy resolves the
        name. Raises AddressNotAllowedError if no address is allowed, or NotResolvedError."""
        if self._proxied and not is_literal(host):
            if f".{host}".removesuffix(".").endswith(".localhost"):
                raise AddressNotAllowedError("address not allowed")
            if plain:
                raise AddressNotAllowedError("https is required")
            return []
        addresses = await self._resolver.addresses(tenant, host)
        verdicts = {address: self._judge(address) for address in addresses}
        denied = [address for address, verdict in verdicts.items() if verdict is Verdict.DENIED]
        usable = [
            address
            for address, verdict in verdicts.items()
            if verdict is Verdict.OPERATOR_ALLOWED or (verdict is Verdict.PUBLIC and not plain)
        ]
        if denied:
            # Only the operator's log gets the addresses: they would tell a tenant about our network.
            missing = ", ".join(str(smallest_network(address)) for address in denied)
            if usable:
                log.debug("of the addresses of %s, WEBHOOKS_EGRESS_ALLOW does not allow %s", host, missing)
            else:
                log.warning("refused to connect to %s: WEBHOOKS_EGRESS_ALLOW does not allow %s", host, missing)
        if usable:
            return usable
        raise AddressNotAllowedError("address not allowed" if len(denied) == len(addresses) else "https is required")

    def is_public(self, address: Address) -> bool:
        """Return whether an address says nothing about the operator's network: it is in none of the operator's
        networks, and not of this machine."""
        return self._judge(address) is Verdict.PUBLIC

    def _judge(self, address: Address) -> Verdict:
        verdict = judge(address, self._allowed)
        return Verdict.DENIED if verdict is Verdict.PUBLIC and _is_of_this_machine(address) else verdict


class _TcpBackend(httpcore.AsyncNetworkBackend):
    """Opens no Unix sockets."""

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise AddressNotAllowedError("address not allowed")

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class GuardedBackend(_TcpBackend):
    """Opens TCP connections to addresses that the guard allows, and to no others."""

    def __init__(self, guard: Guard, tenant: str, *, plain: bool) -> None:
        self._guard = guard
        self._tenant = tenant
        self._plain = plain

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        literal = is_literal(host)
        if not literal:
            exchange.begin(exchange.DNS)
        allowed = await self._guard.addresses(self._tenant, host, plain=self._plain)
        exchange.begin(exchange.CONNECT)
        try:
            connected = await _connect(allowed, port, timeout)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout("timeout") from error
        except (OSError, RuntimeError) as error:
            raise httpcore.ConnectError("no address could be connected to") from error
        try:
            peer = ip_address(connected.getpeername()[0])
            if peer in allowed:
                for option in socket_options or ():
                    connected.setsockopt(*option)
                shown = f"[{peer}]:{port}" if isinstance(peer, IPv6Address) else f"{peer}:{port}"
                remote_address = shown if literal or self._guard.is_public(peer) else None
                exchange.sent_to(remote_address)
                return Stream(await anyio.abc.SocketStream.from_socket(connected), remote_address)
        except (OSError, ValueError) as error:  # the receiver has closed it already
            connected.close()
            raise httpcore.ReadError("reset") from error
        except asyncio.CancelledError:
            connected.close()
            raise
        connected.close()
        log.error("a connection to %s was opened to %s instead: refused", host, peer)
        raise AddressNotAllowedError("address not allowed")


async def _connect(addresses: Sequence[Address], port: int, timeout: float | None) -> socket.socket:
    """Return a socket that is connected to one of `addresses`, the first that answers. IPv6 and IPv4 take turns. Raises
    OSError or RuntimeError if no address can be connected to, TimeoutError if none answers in time."""
    clock = asyncio.get_running_loop().time
    groups = [addresses[n : n + _MAX_CONCURRENT_CONNECTS] for n in range(0, len(addresses), _MAX_CONCURRENT_CONNECTS)]
    deadline = None if timeout is None else clock() + timeout
    failure: Exception = OSError("the name has no address")
    for number, group in enumerate(groups):
        share = None if deadline is None else (deadline - clock()) / (len(groups) - number)
        try:
            async with asyncio.timeout(share):
                return await aiohappyeyeballs.start_connection(
                    [_socket_address(address, port) for address in group], happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS
                )
        except (OSError, RuntimeError) as error:  # uvloop raises RuntimeError for some failures of sockets
            failure = error
    raise failure


def _socket_address(address: Address, port: int) -> AddrInfoType:
    """Return an address as `getaddrinfo` does."""
    if isinstance(address, IPv6Address):
        return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (str(address), port, 0, 0)
    return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (str(address), port)


class ProxyBackend(_TcpBackend):
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
        exchange.begin(exchange.CONNECT)
        timeout = _PROXY_CONNECT_SECONDS if timeout is None else min(timeout / 2, _PROXY_CONNECT_SECONDS)
        try:
            async with asyncio.timeout(timeout):
                return Stream(await anyio.connect_tcp(host, port))
        except (OSError, anyio.BrokenResourceError) as error:  # TimeoutError is an OSError
            raise ProxyFaultError("cannot connect to the proxy of WEBHOOKS_EGRESS_PROXY") from error


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
