"""Our own faults: a database that is away, a secret that cannot be opened, a bug. What meets one is tried again until
it works, so a fault comes many times; it is counted each time, and logged once.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from webhooks.telemetry import metrics

log = logging.getLogger(__name__)

_REMIND_SECONDS = 3600.0


@dataclass
class _Kind:
    logged_at: float
    where: set[str] = field(default_factory=set)


class InternalErrors:
    """One for each process. A kind of fault is an exception's type; it lasts until something works again that failed
    by it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}

    def report(self, error: Exception, where: str) -> None:
        """Logs the first of its kind with its trace, and one an hour while it lasts. `where` is what will be tried
        again."""
        name, now = type(error).__name__, self._clock()
        metrics.internal_error(name)
        kind = self._kinds.get(name)
        if kind is None or now - kind.logged_at >= _REMIND_SECONDS:
            log.error("%s failed and will be tried again: %s", where, name, exc_info=error)
            kind = self._kinds[name] = _Kind(now, kind.where if kind else set())
        kind.where.add(where)

    def resolved(self, where: str) -> None:
        """What had failed there has worked, or is no longer to be tried."""
        for name in [name for name, kind in self._kinds.items() if where in kind.where]:
            del self._kinds[name]
            log.warning("%s works again after %s", where, name)
