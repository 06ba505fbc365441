"""Joins what the producer was told, what the receiver got and what the monitor shows."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.faults.ledger import Arrived, Tried
from webhooks.testing.platform_process import Json

RECORDED_SECONDS = 1.0
"""How long after its answer a request may still be unknown to Temporal."""


@dataclass(frozen=True)
class Exposure:
    """From `start` to `end` (monotonic seconds) what is on its way may have to be sent again."""

    start: float
    end: float

    def holds(self, request: Arrived) -> bool:
        return request.at <= self.end and request.at + request.hold + RECORDED_SECONDS >= self.start


@dataclass(frozen=True)
class Verdict:
    """`longest` is in seconds, from the first try to publish to the first arrival. `broken` says which rules, with the
    ids."""

    accepted: int
    delivered: int
    lost: int
    twice: int
    longest: float
    broken: tuple[str, ...]


def check(
    tries: Sequence[Tried],
    arrivals: Sequence[Arrived],
    monitor: Mapping[str, Json],
    exposures: Sequence[Exposure],
    webhooks_of: Mapping[str, Sequence[str]],
) -> Verdict:
    """`monitor` holds what it shows of each delivery, and `webhooks_of` the webhooks of each occurrence."""
    published = {f"{one.id}~{webhook}": one.body for one in tries for webhook in webhooks_of[one.id]}
    first_tried: dict[str, float] = {}
    for one in tries:
        for webhook in webhooks_of[one.id]:
            first_tried.setdefault(f"{one.id}~{webhook}", one.at)
    accepted = {f"{one.id}~{webhook}" for one in tries if one.status == 202 for webhook in webhooks_of[one.id]}
    got: dict[str, list[Arrived]] = defaultdict(list)
    for request in sorted(arrivals, key=lambda request: request.at):
        got[request.id].append(request)
    taken = {id: [one for one in requests if one.status == 200] for id, requests in got.items()}

    def broken() -> Iterator[str]:
        for one in tries:
            if one.status not in (0, 202, 503):
                yield f"{one.id}: published, answered {one.status}"
        for id in published.keys() - accepted:
            yield f"{id}: never accepted"
        for id in got.keys() - published.keys():
            yield f"{id or 'a request without webhook-id'}: received, never published"
        for id in got.keys() & published.keys():
            if any(one.body != published[id] for one in got[id]):
                yield f"{id}: received with another body"
            if not all(one.verified for one in got[id]):
                yield f"{id}: received with a wrong signature"
        for id in accepted:
            yield from _disagreements(id, got[id], monitor.get(id), exposures)

    return Verdict(
        accepted=len(accepted),
        delivered=sum(1 for id in accepted if taken.get(id)),
        lost=sum(1 for id in accepted if not taken.get(id) and (monitor.get(id) or {}).get("status") != "failed"),
        twice=sum(1 for id in accepted if len(taken.get(id, ())) > 1),
        longest=max((got[id][0].at - first_tried[id] for id in accepted if got[id]), default=0),
        broken=tuple(broken()),
    )


def _is_record_of(status: int | None, arrival: Arrived, exposures: Sequence[Exposure]) -> bool:
    """Return whether an attempt with this status in the monitor can be the request that arrived. A process that was
    frozen when the answer came records a timeout, which has no status."""
    return status == arrival.status or (status is None and any(exposure.holds(arrival) for exposure in exposures))


def _disagreements(id: str, got: Sequence[Arrived], shown: Json | None, exposures: Sequence[Exposure]) -> Iterator[str]:
    """Of one delivery's arrivals with its line in the monitor."""
    if shown is None:
        yield f"{id}: accepted, not in the monitor"
        return
    if shown["status"] != "delivered" or not any(one.status == 200 for one in got):
        yield f"{id}: {shown['status']} in the monitor, received {[one.status for one in got]}"
        return
    recorded = [attempt["status_code"] for attempt in shown["attempts"]]
    arrivals = iter(got)
    if not all(any(_is_record_of(status, one, exposures) for one in arrivals) for status in recorded):  # in this order
        yield f"{id}: attempts {recorded} in the monitor, received {[one.status for one in got]}"
    repeated = len(got) - len(recorded)
    if repeated > sum(any(exposure.holds(one) for one in got) for exposure in exposures):
        times = [round(one.at, 2) for one in got]
        yield f"{id}: received {[one.status for one in got]} at {times}, recorded {recorded}, no fault explains it"
