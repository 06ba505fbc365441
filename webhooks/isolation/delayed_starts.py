"""New deliveries for a receiver in trouble: Temporal stores them, and starts them later.

To start a delivery only to find its circuit open costs more than to deliver it. So a new one gets a start delay of a
few times the trouble's age: then few start by themselves before the trouble is over. When there is room again,
resuming.py starts them early.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

from webhooks.errors import WebhooksError
from webhooks.isolation.lanes import Lanes

_MAX_CONCURRENT = 2
"""Delayed starts that are being stored. They are not urgent, so they leave Temporal to what is."""
_MAX_PENDING = 32
_SHORTEST_DELAY_SECONDS = 60.0
_LONGEST_DELAY_SECONDS = 6 * 3_600.0
_DELAY_PER_AGE = 4
"""The delay, as a multiple of the trouble's age."""


class TooManyDelayedError(WebhooksError):
    """A receiver in trouble is published to faster than its deliveries can be stored without slowing others."""


class DelayedStarts:
    """One for each process that has lanes."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._pending = 0
        self._gate = asyncio.Semaphore(_MAX_CONCURRENT)

    def delay(self, webhook_id: str) -> float:
        """Return the start delay of a new delivery in seconds, varied by up to a factor of two; 0 for none."""
        age = self._lanes.troubled_for(webhook_id)
        if age is None:
            return 0
        seconds = min(max(age * _DELAY_PER_AGE, _SHORTEST_DELAY_SECONDS), _LONGEST_DELAY_SECONDS)
        return seconds * random.uniform(1, 2)  # noqa: S311  spreads load, guards nothing

    @contextlib.asynccontextmanager
    async def storing(self) -> AsyncIterator[None]:
        """Hold a place while a delayed start is being stored. Raises TooManyDelayedError if 32 are pending already."""
        if self._pending >= _MAX_PENDING:
            raise TooManyDelayedError
        self._pending += 1
        try:
            async with self._gate:
                yield
        finally:
            self._pending -= 1

    def add(self, tenant: str, webhook_id: str, workflow_id: str, seconds: float) -> None:
        """Remember a delivery that is stored, so that it is started early when its receiver has room."""
        self._lanes.add_delayed(tenant, webhook_id, workflow_id, seconds)
