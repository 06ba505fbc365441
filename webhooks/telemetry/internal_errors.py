"""Internal errors: the database is unavailable, a secret cannot be decrypted, a bug. What failed is retried until it
works, so the same error occurs many times. Each one is counted; the log gets one line for all of a kind.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from webhooks.telemetry import metrics

log = logging.getLogger(__name__)

_REPEAT_LOG_SECONDS = 3600.0
"""While an error of a kind continues, it is logged again after this time."""


@dataclass
class _Kind:
    logged_at: float
    where: set[str] = field(default_factory=set)


class InternalErrors:
    """Counts and logs internal errors; a process has one. The kind of an error is its exception's type. A kind is
    resolved when something works again that had failed with it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}

    def report(self, error: Exception, where: str) -> None:
        """Count an error. Log it with its traceback if it is the first of its kind, or if an hour has passed since the
        last one was logged. `where` describes what failed and will be retried."""
        name, now = type(error).__name__, self._clock()
        metrics.internal_error(name)
        kind = self._kinds.get(name)
        if kind is None or now - kind.logged_at >= _REPEAT_LOG_SECONDS:
            log.error("%s failed and will be tried again: %s", where, name, exc_info=error)
            kind = self._kinds[name] = _Kind(now, kind.where if kind else set())
        kind.where.add(where)

    def resolved(self, where: str) -> None:
        """Note that something has worked, or will not be retried. Log each kind of error that this resolves."""
        for name in [name for name, kind in self._kinds.items() if where in kind.where]:
            del self._kinds[name]
            log.warning("%s works again after %s", where, name)
