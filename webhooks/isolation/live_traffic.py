"""Whether live deliveries are under way: those of publications, not those of jobs and fan-outs."""

import time
from collections.abc import Callable

_PRESENT_SECONDS = 1.0


class LiveTraffic:
    """One for each process with a worker."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last_at: float | None = None

    def note(self) -> None:
        """Remember that a live delivery begins now."""
        self._last_at = self._clock()

    def present(self) -> bool:
        """Return whether one has begun in the last second."""
        return self._last_at is not None and self._clock() - self._last_at < _PRESENT_SECONDS
