"""Results that may be some seconds old."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """Keeps the last `most` results, each for some seconds. Simultaneous callers share one computation. One that fails
    is not kept."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._kept: OrderedDict[Hashable, tuple[float, asyncio.Future[Value]]] = OrderedDict()
        """Each with the second in which it was asked for."""

    async def get(
        self, key: Hashable, seconds: float | Callable[[Value], float], compute: Callable[[], Awaitable[Value]]
    ) -> Value:
        """Return the result of the key, at most `seconds` old; a function says it of a result. Raises what `compute`
        raises."""
        now = self._clock()
        asked_at, result = self._kept.get(key) or (0.0, None)
        if result is None or (result.done() and (_failed(result) or asked_at + _age(seconds, result) <= now)):
            result = asyncio.ensure_future(compute())
            result.add_done_callback(_failed)  # otherwise asyncio would report what nobody waits for any more
            self._kept[key] = (now, result)
            self._kept.move_to_end(key)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return await asyncio.shield(result)  # others wait for it too


def _age(seconds: float | Callable[[Value], float], result: "asyncio.Future[Value]") -> float:
    return seconds(result.result()) if callable(seconds) else seconds


def _failed(result: "asyncio.Future[Value]") -> bool:
    return result.cancelled() or result.exception() is not None
