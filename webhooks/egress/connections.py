"""Connections that are kept open between requests: a pool for each tenant, origin and client certificate.

The pools are ours, because httpcore's looks at every connection, and asks the system about each idle one, for each
request. httpcore makes the connections, and speaks HTTP on them.
"""

import asyncio
import ssl
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import httpcore
import httpx

from webhooks.egress.guard import Guard, GuardedBackend, ProxyBackend
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

Connection = httpcore.AsyncConnectionInterface
_Key = tuple[str, str, ClientCertificate | None]
"""Tenant, origin, and the client certificate that is shown."""


class Pool:
    """The connections of one tenant to one origin with one client certificate, or with none. Each is lent to one
    request at a time."""

    def __init__(self, key: _Key, make: Callable[[], Connection]) -> None:
        """`make` returns a connection that is not open yet."""
        self.key = key
        self.used_at = 0.0
        """When a request last asked for it, in seconds of the event loop's clock."""
        self._make = make
        self._slots = asyncio.Semaphore(_MAX_CONNECTIONS_PER_POOL)
        self._lent: set[Connection] = set()
        self._idle: deque[Connection] = deque()
        """The one that was used last is at the end."""
        self._closed = False

    async def take(self, *, kept: bool = True) -> Connection:
        """Return a connection when one is free: one that was kept, if there is one and `kept` allows it, or a new one.
        `give_back` must follow."""
        await self._slots.acquire()
        try:
            connection = (await self._last_kept() if kept else None) or self._make()
        except BaseException:
            self._slots.release()
            raise
        self._lent.add(connection)
        return connection

    async def give_back(self, connection: Connection) -> None:
        """Keep the connection for the next request if its last answer was read to the end; close any other one."""
        self._lent.discard(connection)
        try:
            if self._idle and self._idle[0].has_expired():
                await self._idle.popleft().aclose()
            full = self._closed or len(self._idle) >= _MAX_IDLE_CONNECTIONS_PER_POOL
            # httpcore would read bytes beyond the end of an answer as the beginning of the next one.
            if connection.is_available() and not full and not _unread_bytes(connection):
                self._idle.append(connection)
            else:
                await connection.aclose()
        finally:
            self._slots.release()

    async def forget_kept(self) -> None:
        """Close the connections that are not in use."""
        while self._idle:
            await self._idle.popleft().aclose()

    async def close(self, *, also_lent: bool = False) -> None:
        """Close it. Connections in use are closed when they come back; at once with `also_lent`."""
        self._closed = True
        await self.forget_kept()
        for connection in list(self._lent) if also_lent else ():
            await connection.aclose()

    async def _last_kept(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.has_expired():
                return connection
            await connection.aclose()
        return None


def _unread_bytes(connection: Any) -> bytes:
    """Return the bytes that were received after the last answer. httpcore has no public interface for them."""
    while connection is not None and not hasattr(connection, "_h11_state"):
        connection = connection._connection
    return bytes(connection._h11_state.trailing_data[0]) if connection else b""


class Pools:
    """All pools of a process."""

    def __init__(self, guard: Guard, proxy: httpx.Proxy | None, contexts: Contexts) -> None:
        self._guard = guard
        self._proxy = proxy
        self._contexts = contexts
        self._pools: OrderedDict[_Key, Pool] = OrderedDict()

    async def get(self, tenant: str, target: httpcore.URL, certificate: ClientCertificate | None = None) -> Pool:
        """Return the pool for `target`, and make it if there is none. Raises BadCertificateError."""
        key = (tenant, str(target.origin), certificate)
        context, now = await self._contexts.get(certificate), asyncio.get_running_loop().time()
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(key, self._maker(tenant, target.origin, context))
        self._pools.move_to_end(key)
        pool.used_at = now
        oldest = next(iter(self._pools.values()))
        if len(self._pools) > _MAX_POOLS or oldest.used_at < now - _POOL_IDLE_SECONDS:
            del self._pools[oldest.key]
            await oldest.close()
        return pool

    def _maker(self, tenant: str, origin: httpcore.Origin, context: ssl.SSLContext) -> Callable[[], Connection]:
        """Return what makes connections to `origin`."""
        options: dict[str, Any] = {"ssl_context": context, "keepalive_expiry": _CONNECTION_IDLE_SECONDS}
        if self._proxy:
            through = httpcore.AsyncHTTPProxy(
                str(self._proxy.url), self._proxy.raw_auth, network_backend=ProxyBackend(), **options
            )
            return lambda: through.create_connection(origin)
        backend = GuardedBackend(self._guard, tenant, plain=origin.scheme == b"http")
        return lambda: httpcore.AsyncHTTPConnection(origin, network_backend=backend, **options)

    async def close(self) -> None:
        """Close all connections, also those in use."""
        pools, self._pools = list(self._pools.values()), OrderedDict()
        for pool in pools:
            await pool.close(also_lent=True)
