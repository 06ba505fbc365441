"""What the benchmarks have in common: how results are counted."""

import asyncio
from collections import Counter

from webhooks.testing.receiver import Received, Receiver


def occurrence(request: Received) -> str:
    """Return the id of the occurrence that a request delivers."""
    return request.headers["webhook-id"].partition("~")[0]


def loss(receiver: Receiver, path: str, published: set[str]) -> str:
    got = Counter(occurrence(request) for request in receiver.got(path))
    lost = sum(1 for id in published if not got[id])
    doubled = sum(1 for id in published if got[id] > 1)
    return f"published {len(published)}, lost {lost}, doubled {doubled}"


def quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


async def settle(receiver: Receiver, path: str) -> None:
    """Wait until nothing has arrived for a second, so that a duplicate is not missed."""
    count = -1
    while count != len(receiver.got(path)):
        count = len(receiver.got(path))
        await asyncio.sleep(1)
