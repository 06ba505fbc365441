"""Connections that are kept open between requests: a pool for each tenant, origin and client certificate.

Pools are small and separate because httpcore 1.0.9 scans a pool quadratically. It can also lose slots of a pool when
requests are cancelled, so a pool is retired when one of its requests was cancelled or timed out.
"""

import asyncio
import ssl
from collections import OrderedDict
from typing import Any

import httpcore
import httpx

from webhooks.egress.guard import Guard, GuardedBackend, ProxyBackend
from webhooks.egress.retiring import Retiring
from webhooks.egress.tls import ClientCertificate, Contexts

_POOL_IDLE_SECONDS = 60.0
"""A pool without a request for this long is closed."""
_MAX_POOLS = 1_000
"""With one more, the least recently used pool is closed. Bounds memory and open sockets."""
_MAX_CONNECTIONS_PER_POOL = 100
"""Open connections of one tenant to one origin; further requests wait for a free one."""
_MAX_IDLE_CONNECTIONS_PER_POOL = 10
"""Connections that stay open for the next request."""
_CONNECTION_IDLE_SECONDS = 30
"""An unused connection is closed after this time."""


class _Transport(httpx.AsyncHTTPTransport):
    """httpx's transport with our network backend. httpx has no parameter for the backend, so its pool is replaced."""

    def __init__(
        self, context: ssl.SSLContext, backend: httpcore.AsyncNetworkBackend, proxy: httpx.Proxy | None
    ) -> None:
        super().__init__(verify=context, trust_env=False)
        options: dict[str, Any] = {
            "ssl_context": context,
            "max_connections": _MAX_CONNECTIONS_PER_POOL,
            "max_keepalive_connections": _MAX_IDLE_CONNECTIONS_PER_POOL,
            "keepalive_expiry": _CONNECTION_IDLE_SECONDS,
            "network_backend": backend,
        }
        if proxy is None:
            self._pool = httpcore.AsyncConnectionPool(**options)
        else:
            self._pool = httpcore.AsyncHTTPProxy(str(proxy.url), proxy.raw_auth, **options)

    async def close_dirty(self) -> None:
        """Close idle connections that hold bytes beyond the end of the last answer: httpcore would read them as the
        beginning of the next answer."""
        for connection in self._pool.connections:
            if connection.is_idle() and _unread_bytes(connection):
                await connection.aclose()


def _unread_bytes(connection: Any) -> bytes:
    """Return the bytes that were received after the last answer. httpcore has no public interface for them."""
    while connection is not None and not hasattr(connection, "_h11_state"):
        connection = connection._connection
    return bytes(connection._h11_state.trailing_data[0]) if connection else b""


_Key = tuple[str, str, ClientCertificate | None]
"""Tenant, origin, and the client certificate that is shown."""


class Pool(Retiring[_Transport]):
    """The connections of one tenant to one origin with one client certificate, or with none."""

    def __init__(self, key: _Key, transport: _Transport) -> None:
        super().__init__(transport, transport.aclose)
        self.key = key
        self.used_at = 0.0
        """When a request last asked for it, in seconds of the event loop's clock."""


class Pools:
    """All pools of a process."""

    def __init__(self, guard: Guard, proxy: httpx.Proxy | None, contexts: Contexts) -> None:
        self._guard = guard
        self._proxy = proxy
        self._contexts = contexts
        self._pools: OrderedDict[_Key, Pool] = OrderedDict()

    async def get(self, tenant: str, target: httpx.URL, certificate: ClientCertificate | None = None) -> Pool:
        """Return the pool for `target`, and make it if there is none. Raises BadCertificateError."""
        key = (tenant, f"{target.scheme}://{target.netloc.decode()}", certificate)
        context, now = await self._contexts.get(certificate), asyncio.get_running_loop().time()
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = self._new(key, context)
        self._pools.move_to_end(key)
        pool.used_at = now
        oldest = next(iter(self._pools.values()))
        if len(self._pools) > _MAX_POOLS or oldest.used_at < now - _POOL_IDLE_SECONDS:
            await self.retire(oldest)
        return pool

    async def renew(self, pool: Pool) -> Pool:
        """Return a pool without connections, for a request that found a connection of `pool` closed. The other idle
        connections of `pool` are not used any more: they are as old."""
        new = self._new(pool.key, await self._contexts.get(pool.key[2]))
        if self._pools.get(pool.key) is pool:
            self._pools[pool.key], new.used_at = new, pool.used_at
            await pool.retire()
        else:  # another request has renewed it; `new` is for one request, and is closed behind it
            await new.retire()
        return new

    def _new(self, key: _Key, context: ssl.SSLContext) -> Pool:
        tenant, origin, _ = key
        if self._proxy:
            backend: httpcore.AsyncNetworkBackend = ProxyBackend()
        else:
            backend = GuardedBackend(self._guard, tenant, plain=origin.startswith("http:"))
        return Pool(key, _Transport(context, backend, self._proxy))

    async def retire(self, pool: Pool) -> None:
        """Give new requests a new pool. The old one is closed when its last request has ended."""
        if self._pools.get(pool.key) is pool:
            del self._pools[pool.key]
        await pool.retire()

    async def close(self) -> None:
        """Close all connections, also those in use."""
        pools, self._pools = list(self._pools.values()), OrderedDict()
        for pool in pools:
            await pool.resource.aclose()
