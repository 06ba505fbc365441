"""The connections that are kept for a while, apart for each tenant and origin.

httpcore 1.0.9 can lose a pool's slots when requests are cancelled, and scans its pool quadratically. So each
(tenant, origin) has a small pool of its own, and a pool whose request was cut off is retired.
"""

import asyncio
import ssl
from collections import OrderedDict
from typing import Any

import httpcore
import httpx

from webhooks.egress.guard import Guard, GuardedBackend, ProxyBackend

_IDLE_SECONDS = 60.0
_MAX_POOLS = 1_000
_POOL_CONNECTIONS = 100


class _Transport(httpx.AsyncHTTPTransport):
    """httpx's transport on a pool whose network backend is ours; httpx has no parameter for that."""

    def __init__(
        self, context: ssl.SSLContext, backend: httpcore.AsyncNetworkBackend, proxy: httpx.Proxy | None
    ) -> None:
        super().__init__(verify=context, trust_env=False)
        options: dict[str, Any] = {
            "ssl_context": context,
            "max_connections": _POOL_CONNECTIONS,
            "max_keepalive_connections": 10,
            "keepalive_expiry": 30,
            "network_backend": backend,
        }
        if proxy is None:
            self._pool = httpcore.AsyncConnectionPool(**options)
        else:
            self._pool = httpcore.AsyncHTTPProxy(str(proxy.url), proxy.raw_auth, **options)

    async def close_dirty(self) -> None:
        """Closes kept connections with bytes beyond the answer that was asked for: httpcore would take them for the
        beginning of the next one."""
        for connection in self._pool.connections:
            if connection.is_idle() and _leftover(connection):
                await connection.aclose()


def _leftover(connection: Any) -> bytes:
    """What was read and not used. httpcore has no interface for it."""
    while connection is not None and not hasattr(connection, "_h11_state"):
        connection = connection._connection
    return bytes(connection._h11_state.trailing_data[0]) if connection else b""


class Pool:
    """The connections to one origin for one tenant; closed when it is retired and its last request has ended."""

    def __init__(self, key: tuple[str, str], transport: _Transport) -> None:
        self.key = key
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

    async def close_dirty(self) -> None:
        await self.transport.close_dirty()

    async def retire(self) -> None:
        self.retired = True
        await self._close_if_done()

    async def _close_if_done(self) -> None:
        if self.retired and not self._in_flight:
            await self.transport.aclose()


class Pools:
    """All of a process."""

    def __init__(self, guard: Guard, proxy: httpx.Proxy | None, context: ssl.SSLContext) -> None:
        self._guard = guard
        self._proxy = proxy
        self._context = context
        self._pools: OrderedDict[tuple[str, str], Pool] = OrderedDict()

    async def get(self, tenant: str, target: httpx.URL) -> Pool:
        key, now = (tenant, f"{target.scheme}://{target.netloc.decode()}"), asyncio.get_running_loop().time()
        pool = self._pools.get(key)
        if pool is None:
            if self._proxy:
                backend: httpcore.AsyncNetworkBackend = ProxyBackend()
            else:
                backend = GuardedBackend(self._guard, tenant, plain=target.scheme == "http")
            pool = self._pools[key] = Pool(key, _Transport(self._context, backend, self._proxy))
        self._pools.move_to_end(key)
        pool.used_at = now
        eldest = next(iter(self._pools.values()))
        if len(self._pools) > _MAX_POOLS or eldest.used_at < now - _IDLE_SECONDS:
            await self.retire(eldest)
        return pool

    async def retire(self, pool: Pool) -> None:
        """New requests get a new pool; the old one lives on until its last request has ended."""
        if self._pools.get(pool.key) is pool:
            del self._pools[pool.key]
        await pool.retire()

    async def close(self) -> None:
        pools, self._pools = list(self._pools.values()), OrderedDict()
        for pool in pools:
            await pool.transport.aclose()
