"""Summaries of closed runs, which never change: a list reads each history once."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Summary = TypeVar("Summary")

_MOST = 20_000
"""About 40 MB."""
_SECONDS = 300.0
"""Then it is read again: its data may have become unreadable."""


class Summaries(Generic[Summary]):
    """Keeps a summary of each delivery whose newest run has closed, for at most 5 minutes; those read last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, most: int = _MOST) -> None:
        self._clock = clock
        self._most = most
        self._kept: OrderedDict[str, tuple[str, float, Summary]] = OrderedDict()
        """By workflow id, which names the tenant: the run, the second from which it is too old, and the summary."""

    def get(self, workflow_id: str, run_id: str) -> Summary | None:
        """Return the summary of this run, if it is kept."""
        kept = self._kept.get(workflow_id)
        if kept is None or kept[0] != run_id or kept[1] <= self._clock():
            return None
        self._kept.move_to_end(workflow_id)
        return kept[2]

    def keep(self, workflow_id: str, run_id: str, summary: Summary) -> None:
        """Keep the summary of a closed run."""
        self._kept[workflow_id] = (run_id, self._clock() + _SECONDS, summary)
        self._kept.move_to_end(workflow_id)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def forget(self, workflow_id: str) -> None:
        """Forget what was erased: Temporal's visibility still finds it for a moment."""
        self._kept.pop(workflow_id, None)
