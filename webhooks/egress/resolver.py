"""Host names to addresses, by c-ares: its lookups wait for name servers without a thread each, so slow names of one
tenant cannot hold those of another, as they do with the event loop's getaddrinfo and its few threads."""

import asyncio
import contextlib
import socket
from collections import OrderedDict, defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import aiodns

from webhooks.egress.addresses import Address

_LOOKUP_SECONDS = 3.0
_ONE_TRY_SECONDS = 1.0
_LONGEST_KEPT = 60.0
_FAILURE_KEPT, _SILENCE_KEPT = 1.0, 30.0
"""Of a name that does not exist, and of one whose name server gave no answer: that takes a slot for a while."""
_CHANNEL_SECONDS = 1.0
_MOST_KEPT = 1_000
_AT_ONCE = 50
"""Lookups of one tenant; they cost a socket each, and no thread."""
_NO_ANSWER = (aiodns.error.ARES_ETIMEOUT, aiodns.error.ARES_ECONNREFUSED)


class NotResolvedError(Exception):
    """The message is fit for a tenant's eyes."""


@dataclass(frozen=True)
class _Known:
    """What a lookup found: addresses, or why there are none. `until` is in the event loop's seconds."""

    addresses: list[Address]
    failure: str
    until: float


class Resolver:
    """One for each process; close it when the process ends. `options` are c-ares's own, the system's by default."""

    def __init__(self, **options: Any) -> None:
        self._options = {"timeout": _ONE_TRY_SECONDS, "tries": 2, **options}
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._lookups: dict[str, asyncio.Task[_Known]] = {}
        self._slots: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_AT_ONCE))
        self._channel: _Channel | None = None

    async def addresses(self, tenant: str, host: str) -> list[Address]:
        """Every address of a host name, or the one that a literal is. Raises NotResolvedError."""
        name = host.lower().removesuffix(".")
        if is_literal(name):
            return [ip_address(name)]
        known = self._fresh(name) or await self._join(name) or await self._begin(tenant, name)
        if known.failure:
            raise NotResolvedError(known.failure)
        return known.addresses

    async def close(self) -> None:
        lookups = list(self._lookups.values())
        for lookup in lookups:
            lookup.cancel()
        await asyncio.gather(*lookups, return_exceptions=True)
        if self._channel:
            await self._channel.retire()

    def _fresh(self, name: str) -> _Known | None:
        known = self._known.get(name)
        return known if known and asyncio.get_running_loop().time() < known.until else None

    async def _join(self, name: str) -> _Known | None:
        lookup = self._lookups.get(name)
        return await asyncio.shield(lookup) if lookup else None

    async def _begin(self, tenant: str, name: str) -> _Known:
        """Waits for one of the tenant's slots, which the lookup keeps until it ends, whoever waits for it."""
        slots = self._slots[tenant]
        await slots.acquire()
        if known := self._fresh(name) or await self._join(name):
            slots.release()
            return known

        def ended(_: object) -> None:
            del self._lookups[name]
            slots.release()

        lookup = self._lookups[name] = asyncio.create_task(self._look_up(name))
        lookup.add_done_callback(ended)
        return await asyncio.shield(lookup)

    async def _look_up(self, name: str) -> _Known:
        now = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(_LOOKUP_SECONDS), self._open() as dns:
                found = await dns.getaddrinfo(name, type=socket.SOCK_STREAM)
        except (TimeoutError, aiodns.error.DNSError, UnicodeError) as error:
            code = error.args[0] if isinstance(error, aiodns.error.DNSError) else None
            late = isinstance(error, TimeoutError) or code in _NO_ANSWER
            failure = "the name server gave no answer in time" if late else "the host name does not resolve"
            known = _Known([], failure, now() + (_SILENCE_KEPT if late else _FAILURE_KEPT))
        else:
            seconds = min((_LONGEST_KEPT, *(node.ttl for node in found.nodes), *(name.ttl for name in found.cnames)))
            addresses = list(dict.fromkeys(ip_address(node.addr[0].decode()) for node in found.nodes))
            known = _Known(addresses, "" if addresses else "the host name does not resolve", now() + seconds)
        self._known[name] = known
        self._known.move_to_end(name)
        if len(self._known) > _MOST_KEPT:
            self._known.popitem(last=False)
        return known

    @contextlib.asynccontextmanager
    async def _open(self) -> AsyncIterator[aiodns.DNSResolver]:
        """c-ares remembers answers too, without a bound in number and for up to an hour, and cannot be told not to. So
        its channel is replaced each second."""
        now = asyncio.get_running_loop().time()
        if self._channel is None or self._channel.opened_at + _CHANNEL_SECONDS < now:
            old, self._channel = self._channel, _Channel(aiodns.DNSResolver(**self._options), now)
            if old:
                await old.retire()
        channel = self._channel
        channel.users += 1
        try:
            yield channel.dns
        finally:
            channel.users -= 1
            await channel.close_if_done()


@dataclass
class _Channel:
    """Closed when it is retired and its last lookup has ended."""

    dns: aiodns.DNSResolver
    opened_at: float
    users: int = 0
    retired: bool = False

    async def retire(self) -> None:
        self.retired = True
        await self.close_if_done()

    async def close_if_done(self) -> None:
        if self.retired and not self.users:
            await self.dns.close()


def is_literal(host: str) -> bool:
    try:
        ip_address(host.removesuffix("."))
    except ValueError:
        return False
    return True
