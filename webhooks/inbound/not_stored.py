"""Requests that were not stored, kept in memory for a while: refused ones, duplicates, and challenges.

Nothing durable is written for them, and their number is bounded: to send many must not cost much."""

import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from webhooks.deliveries.windows import Position
from webhooks.ids import uuid7

MAX_OF_SOURCE = 100
MAX_SOURCES = 1_000
KEPT_SECONDS = 3_600.0


class Verdict(StrEnum):
    """What became of a request. The first two are stored as occurrences."""

    VERIFIED = "verified"
    UNVERIFIED = "unverified"
    REFUSED = "refused"
    DUPLICATE = "duplicate"
    CHALLENGE = "challenge"


STORED = frozenset((Verdict.VERIFIED, Verdict.UNVERIFIED))


@dataclass(frozen=True)
class NotStored:
    """A request that was not stored. `status` is what it was answered with, and `reason` says why. `occurrence_id` is
    that of which it is a duplicate."""

    tenant: str
    source_id: str
    event: str
    verdict: Verdict
    reason: str
    status: int
    address: str = ""
    content_type: str = ""
    occurrence_id: str | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: str = field(default_factory=lambda: f"not-stored-{uuid7()}")
    kept_until: float = field(default_factory=lambda: time.monotonic() + KEPT_SECONDS)

    @property
    def position(self) -> Position:
        return Position(self.at, self.id, "")


class LastNotStored:
    """The last requests of each source that were not stored. A process has one."""

    def __init__(self) -> None:
        self._by_source: OrderedDict[str, deque[NotStored]] = OrderedDict()

    def add(self, request: NotStored) -> None:
        """Keep a request. The oldest of its source, and those of the source that was quiet longest, make room."""
        found = self._by_source.setdefault(request.source_id, deque(maxlen=MAX_OF_SOURCE))
        found.append(request)
        self._by_source.move_to_end(request.source_id)
        if len(self._by_source) > MAX_SOURCES:
            self._by_source.popitem(last=False)

    def of_tenant(self, tenant: str) -> Iterator[NotStored]:
        """Yield those of a tenant that are not too old, in no order."""
        now = time.monotonic()
        for found in self._by_source.values():
            if found[-1].tenant == tenant:
                yield from (request for request in found if request.kept_until > now)

    def find(self, tenant: str, id: str) -> NotStored | None:
        """Return one, or None."""
        return next((request for request in self.of_tenant(tenant) if request.id == id), None)
