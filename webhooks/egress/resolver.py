"""Resolves host names with c-ares, which needs no thread for a lookup. The event loop's getaddrinfo has a few threads
for everyone, so the slow names of one tenant would delay the lookups of all others."""

import asyncio
import socket
from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import aiodns

from webhooks.egress.addresses import Address
from webhooks.egress.retiring import Retiring
from webhooks.errors import WebhooksError

_LOOKUP_SECONDS = 3.0
"""How long a lookup may take, with all its tries."""
_TRY_SECONDS = 1.0
"""How long c-ares waits for one name server."""
_TRIES = 2
"""How often c-ares asks each name server."""
_MAX_CACHE_SECONDS = 60.0
"""How long addresses are kept, if their TTL is not shorter."""
_NOT_FOUND_CACHE_SECONDS = 1.0
"""How long it is kept that a name does not exist."""
_NO_ANSWER_CACHE_SECONDS = 30.0
"""How long it is kept that the name server does not answer. Longer, because each such lookup occupies one of the
tenant's lookups for seconds."""
_MAX_CACHED_NAMES = 1_000
"""With one more, the oldest is forgotten."""
_CHANNEL_SECONDS = 1.0
"""How long a c-ares channel is used, and so how long c-ares itself may keep an answer."""
_MAX_CONCURRENT_LOOKUPS = 50
"""Of one tenant. A lookup costs a socket."""
_NO_ANSWER = (aiodns.error.ARES_ETIMEOUT, aiodns.error.ARES_ECONNREFUSED)
"""c-ares's error codes for a name server that does not answer."""


class NotResolvedError(WebhooksError):
    """A host name has no address. The message may be shown to the tenant."""


@dataclass(frozen=True)
class _Known:
    """The result of a lookup: addresses, or why there are none."""

    addresses: list[Address]
    failure: str
    until: float
    """When it is no longer used, in seconds of the event loop's clock."""


class Resolver:
    """Resolves host names and keeps the results for a while. A process has one, and closes it at its end. `options` are
    those of c-ares; by default it uses the name servers of the system."""

    def __init__(self, **options: Any) -> None:
        self._options = {"timeout": _TRY_SECONDS, "tries": _TRIES, **options}
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._lookups: dict[str, asyncio.Task[_Known]] = {}
        self._slots: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_MAX_CONCURRENT_LOOKUPS))
        self._channel: _Channel | None = None

    async def addresses(self, tenant: str, host: str) -> list[Address]:
        """Return every address of a host name; of an address literal, itself. Raises NotResolvedError."""
        name = host.lower().removesuffix(".")
        if is_literal(name):
            return [ip_address(name)]
        known = self._fresh(name) or await self._join(name) or await self._start(tenant, name)
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
        """Return the result that is kept and still valid, if there is one."""
        known = self._known.get(name)
        return known if known and asyncio.get_running_loop().time() < known.until else None

    async def _join(self, name: str) -> _Known | None:
        """Wait for the lookup of `name` that is running; return None if there is none."""
        lookup = self._lookups.get(name)
        return await asyncio.shield(lookup) if lookup else None

    async def _start(self, tenant: str, name: str) -> _Known:
        """Wait for one of the tenant's slots, start a lookup and return its result. The lookup keeps the slot until it
        ends, even if its caller no longer waits for it."""
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
            async with asyncio.timeout(_LOOKUP_SECONDS), await self._current_channel() as dns:
                found = await dns.getaddrinfo(name, type=socket.SOCK_STREAM)
        except (TimeoutError, aiodns.error.DNSError, UnicodeError) as error:
            code = error.args[0] if isinstance(error, aiodns.error.DNSError) else None
            no_answer = isinstance(error, TimeoutError) or code in _NO_ANSWER
            failure = "the name server gave no answer in time" if no_answer else "the host name does not resolve"
            known = _Known([], failure, now() + (_NO_ANSWER_CACHE_SECONDS if no_answer else _NOT_FOUND_CACHE_SECONDS))
        else:
            addresses = list(dict.fromkeys(ip_address(node.addr[0].decode()) for node in found.nodes))
            failure = "" if addresses else "the host name does not resolve"
            ttls = [*(node.ttl for node in found.nodes), *(alias.ttl for alias in found.cnames)]
            known = _Known(addresses, failure, now() + min([_MAX_CACHE_SECONDS, *ttls]))
        self._known[name] = known
        self._known.move_to_end(name)
        if len(self._known) > _MAX_CACHED_NAMES:
            self._known.popitem(last=False)
        return known

    async def _current_channel(self) -> "_Channel":
        """Return a channel that is at most _CHANNEL_SECONDS old. c-ares keeps answers for up to an hour, without a
        limit in number, and this cannot be switched off; a new channel begins with none."""
        now = asyncio.get_running_loop().time()
        if self._channel is None or self._channel.opened_at + _CHANNEL_SECONDS < now:
            old, self._channel = self._channel, _Channel(aiodns.DNSResolver(**self._options), now)
            if old:
                await old.retire()
        return self._channel


class _Channel(Retiring[aiodns.DNSResolver]):
    """A c-ares channel. Lookups that are running when it is retired end first."""

    def __init__(self, dns: aiodns.DNSResolver, opened_at: float) -> None:
        super().__init__(dns, dns.close)
        self.opened_at = opened_at


def is_literal(host: str) -> bool:
    """Return whether `host` is an IP address and not a name."""
    try:
        ip_address(host.removesuffix("."))
    except ValueError:
        return False
    return True
