"""Takeover, with a stand-in for Temporal's answers."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.client import Client

from webhooks.isolation import takeover
from webhooks.isolation.lanes import Lanes
from webhooks.temporal.names import TENANT_ID, WEBHOOK_ID

QUEUE = "queue"


class Temporal:
    """Who polls, and the delayed deliveries that it shows."""

    def __init__(self, us: str, *others: str) -> None:
        self.identity = us
        self.pollers = [SimpleNamespace(identity=name) for name in others]
        self.queries: list[str] = []
        self.delayed = ["t/first", "t/second"]

    async def describe(self, _: object, task_queue: str) -> object:
        assert task_queue == QUEUE
        return self

    async def found(self, _: object, query: str) -> AsyncIterator[object]:
        self.queries.append(query)
        for name in self.delayed:
            yield SimpleNamespace(
                id=name,
                execution_time=datetime.now(UTC) + timedelta(minutes=5),
                typed_search_attributes={TENANT_ID: "t", WEBHOOK_ID: "w"},
            )


async def take_over(
    temporal: Temporal, lanes: Lanes, known: set[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[int, int]:
    """Return how many are new, and how many wait."""
    monkeypatch.setattr(takeover, "describe_task_queue", temporal.describe)
    monkeypatch.setattr(takeover, "found", temporal.found)
    count = await takeover.take_over(cast("Client", cast("Any", temporal)), lanes, QUEUE, known)
    return count, lanes.snapshot("w").waiting


async def test_the_smallest_poller_takes_over_each_delivery_once(monkeypatch: pytest.MonkeyPatch) -> None:
    temporal, lanes, known = Temporal("a", "b"), Lanes(), set[str]()
    first = await take_over(temporal, lanes, known, monkeypatch)
    temporal.delayed.append("t/third")
    second = await take_over(temporal, lanes, known, monkeypatch)
    delivery = lanes.next_to_resume()

    assert (first, second) == ((2, 2), (1, 3))
    assert delivery
    assert (delivery.workflow_id, delivery.started) == ("t/first", False)


async def test_the_others_leave_it_to_the_smallest(monkeypatch: pytest.MonkeyPatch) -> None:
    temporal = Temporal("b", "a")

    assert await take_over(temporal, Lanes(), set(), monkeypatch) == (0, 0)
    assert temporal.queries == []


async def test_what_a_living_process_holds_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    temporal = Temporal("a", "b", "c")
    await take_over(temporal, Lanes(), set(), monkeypatch)
    [query] = temporal.queries

    assert all(f"HeldBy != '{name}'" in query for name in ("a", "b", "c"))
