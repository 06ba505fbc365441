"""Summaries of deliveries that cannot have changed: a list reads each history once."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Summary = TypeVar("Summary")

_MOST = 20_000
"""About 40 MB."""
CLOSED_SECONDS = 300.0
"""A closed run never changes, but its data may become unreadable."""
WAITING_SECONDS = 5.0
"""A delivery that waits changes when the wait is over. Before that, a person or a job can end the wait: in this process
that is noticed at once, in others after this time."""
BUSY_SECONDS = 1.0
"""During an attempt, or before it. Many who look at the same list cost one reading."""


@dataclass(frozen=True)
class _Kept(Generic[Summary]):
    run_id: str
    closed: bool
    until: float
    summary: Summary


class Summaries(Generic[Summary]):
    """Keeps a summary of the newest run of each delivery, those read last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, most: int = _MOST) -> None:
        self._clock = clock
        self._most = most
        self._kept: OrderedDict[str, _Kept[Summary]] = OrderedDict()
        """By workflow id, which names the tenant."""
        self.changes = 0
        """How many deliveries were forgotten."""

    def get(self, workflow_id: str, run_id: str, *, closed: bool) -> Summary | None:
        """Return the summary of this run, if it is kept. That of an open run is not returned when it has closed."""
        kept = self._kept.get(workflow_id)
        if kept is None or kept.run_id != run_id or kept.until <= self._clock() or closed > kept.closed:
            return None
        self._kept.move_to_end(workflow_id)
        return kept.summary

    def keep(
        self, workflow_id: str, run_id: str, summary: Summary, seconds: float, *, closed: bool, since: int
    ) -> None:
        """Keep the summary of a run for some seconds. `since` is what `changes` was before the run was read. If a
        delivery was forgotten after that, nothing is kept: the summary may be older than the change."""
        if since != self.changes:
            return
        self._kept[workflow_id] = _Kept(run_id, closed, self._clock() + seconds, summary)
        self._kept.move_to_end(workflow_id)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def forget(self, workflow_id: str) -> None:
        """Forget a delivery that is changed or erased now."""
        self.changes += 1
        self._kept.pop(workflow_id, None)
