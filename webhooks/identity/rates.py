"""How often somebody may call: publications of a tenant and of a key, and failed authentications of an address.

Counted in this process: with N processes, N times as much is allowed."""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from webhooks.errors import WebhooksError
from webhooks.identity.caller import Caller

WINDOW_SECONDS = 1
"""Publications are counted over the last second."""
_FAILURES_WINDOW_SECONDS = 60.0
_MAX_ADDRESSES = 10_000
"""Kept in memory. With one more, the oldest is forgotten."""
_NETWORK_BITS = 64
"""Of an IPv6 address: one machine can have all the others."""


@dataclass(frozen=True)
class Quota:
    """How much of a limit is left. `name` says whose limit it is."""

    name: str
    limit: int
    remaining: int


class TooManyPublicationsError(WebhooksError):
    """A tenant or a key publishes too fast."""

    def __init__(self, quota: Quota) -> None:
        super().__init__(f"the {quota.name} may publish {quota.limit} occurrences per second")
        self.quota = quota


class PublishRates:
    """One for each process. `of_tenant` is the setting `publish_rate`; None: no limit."""

    def __init__(self, of_tenant: int | None) -> None:
        self._of_tenant = of_tenant
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def take(self, caller: Caller) -> list[Quota]:
        """Count a publication, and return what is left of each limit. Raises TooManyPublicationsError."""
        quotas = []
        for name, rate, whose in (
            ("key", caller.publish_rate, caller.key_id),
            ("tenant", self._of_tenant, caller.tenant),
        ):
            if rate is not None and whose:
                item = RateLimitItemPerSecond(rate)
                allowed = await self._limiter.hit(item, name, whose)
                left = (await self._limiter.get_window_stats(item, name, whose)).remaining if allowed else 0
                quotas.append(Quota(name, rate, max(left, 0)))
                if not allowed:
                    raise TooManyPublicationsError(quotas[-1])
        return quotas


class FailedAuthentications:
    """Counts failed authentications of each address. One for each process."""

    def __init__(self, maximum: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`maximum`: of one address, in a minute."""
        self._maximum = maximum
        self._clock = clock
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """Failures of each address, and when its minute ends."""

    def exceeded(self, address: str, scope: str = "") -> float | None:
        """Return for how many seconds the requests of this address are refused; None if they are not."""
        count, until = self._counts.get(scope + network_of(address), (0, 0.0))
        left = until - self._clock()
        return left if count > self._maximum and left > 0 else None

    def add(self, address: str, scope: str = "") -> float | None:
        """Count a failure. If the address has had too many, return for how many seconds the next ones are refused.
        Each `scope` is counted for itself."""
        now, network = self._clock(), scope + network_of(address)
        count, until = self._counts.get(network, (0, 0.0))
        if now >= until:
            count, until = 0, now + _FAILURES_WINDOW_SECONDS
            self._counts.pop(network, None)  # the oldest come first
        self._counts[network] = count + 1, until
        if len(self._counts) > _MAX_ADDRESSES:
            self._counts.popitem(last=False)
        return until - now if count >= self._maximum else None


def network_of(address: str) -> str:
    """Return an IPv4 address as it is, and of an IPv6 address the network that one machine can have."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if ip.version == 4:
        return address
    return str(ipaddress.ip_network((ip, _NETWORK_BITS), strict=False))
