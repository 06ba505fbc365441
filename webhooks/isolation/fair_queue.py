"""Who waits, and who is next. Tenants take turns, and in each tenant its callers do: one with 500 publishers does not
keep out another with one. What one caller has waiting goes in order."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field


@dataclass(frozen=True, eq=False)
class Waiting:
    """One that waits. `turn` is done when its wait is over, for whatever reason."""

    tenant: str
    caller: str
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class FairQueue:
    """Knows neither times nor bounds: see waiting_room.py."""

    def __init__(self) -> None:
        self._tenants: OrderedDict[str, OrderedDict[str, OrderedDict[Waiting, None]]] = OrderedDict()
        """By tenant and caller. The ones that were served longest ago come first."""
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, waiting: Waiting) -> None:
        callers = self._tenants.setdefault(waiting.tenant, OrderedDict())
        callers.setdefault(waiting.caller, OrderedDict())[waiting] = None
        self._length += 1

    def next(self) -> Waiting:
        """Remove the next one, and return it. Raises StopIteration if nobody waits."""
        callers = next(iter(self._tenants.values()))
        waiting = next(iter(next(iter(callers.values()))))
        self._tenants.move_to_end(waiting.tenant)
        callers.move_to_end(waiting.caller)
        self.remove(waiting)
        return waiting

    def last_of_most(self) -> Waiting:
        """Return the one that came last, of the caller that has most waiting, in the tenant that has most waiting.
        Raises ValueError if nobody waits."""
        callers = max(self._tenants.values(), key=lambda callers: sum(map(len, callers.values())))
        line = max(callers.values(), key=len)
        return next(reversed(line))

    def remove(self, waiting: Waiting) -> None:
        """Remove one, if it is there."""
        callers = self._tenants.get(waiting.tenant, OrderedDict())
        line = callers.get(waiting.caller, OrderedDict())
        if waiting in line:
            del line[waiting]
            self._length -= 1
            if not line:
                del callers[waiting.caller]
            if not callers:
                del self._tenants[waiting.tenant]
