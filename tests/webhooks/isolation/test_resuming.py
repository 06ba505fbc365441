"""Resuming, with a stand-in for Temporal: who is resumed, and what follows when that fails."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from webhooks.contracts import PROCEED_SIGNAL
from webhooks.isolation import resuming
from webhooks.isolation.lane import Condition
from webhooks.isolation.lanes import Lanes


class Temporal:
    """Keeps who was resumed, and how: `start` or the signal's name. Fails for those in `failing`."""

    def __init__(self) -> None:
        self.resumed: list[tuple[str, str]] = []
        self.failing: dict[str, RPCStatusCode] = {}

    async def proceed(self, _: object, task_queue: str, workflow_id: str) -> None:
        assert task_queue == "queue"
        self.resume(workflow_id, "start")

    def get_workflow_handle(self, workflow_id: str) -> "Handle":
        return Handle(self, workflow_id)

    def resume(self, workflow_id: str, how: str) -> None:
        self.resumed.append((workflow_id, how))
        if status := self.failing.get(workflow_id):
            raise RPCError("as the test wants it", status, b"")


class Handle:
    def __init__(self, temporal: Temporal, workflow_id: str) -> None:
        self._temporal, self._workflow_id = temporal, workflow_id

    async def signal(self, name: str, **_: object) -> None:
        self._temporal.resume(self._workflow_id, name)


@pytest.fixture
def temporal(monkeypatch: pytest.MonkeyPatch) -> Temporal:
    temporal = Temporal()

    async def nothing(*_: object) -> int:
        return 0

    monkeypatch.setattr(resuming, "proceed", temporal.proceed)
    monkeypatch.setattr(resuming, "take_over", nothing)
    return temporal


@contextlib.asynccontextmanager
async def resumed(temporal: Temporal, lanes: Lanes, count: int) -> AsyncIterator[None]:
    """Resumes, and enters the block after this many tries."""
    client = cast("Client", cast("Any", temporal))
    async with resuming.resuming(client, lanes, "queue", rate=1_000), asyncio.timeout(10):
        await asyncio.sleep(0)
        lanes.on_room()
        while len(temporal.resumed) < count:  # noqa: ASYNC110  the stand-in has no event for it
            await asyncio.sleep(0.005)
        yield


async def test_delayed_deliveries_are_started_and_waiting_ones_signalled(temporal: Temporal) -> None:
    lanes = Lanes()
    for n in range(100):  # more than a new lane is wide
        lanes.try_acquire("t", "w", f"waiting-{n}")
    width = lanes.snapshot("w").in_flight
    lanes.add_delayed("t", "other", "delayed", 600)
    async with resumed(temporal, lanes, 1):
        assert temporal.resumed == [("delayed", "start")]
    temporal.resumed.clear()
    lanes.release("t", "w", Condition.HEALTHY)
    async with resumed(temporal, lanes, 1):
        assert temporal.resumed[0] == (f"waiting-{width}", PROCEED_SIGNAL)


@pytest.mark.parametrize("behind", [1, 3])
async def test_a_delivery_behind_one_that_is_gone_is_resumed(temporal: Temporal, behind: int) -> None:
    """Otherwise the one that is gone would be the next one for ever."""
    lanes, names = Lanes(), [f"behind-{n}" for n in range(behind)]
    for name in ("gone", *names):
        lanes.add_delayed("t", "w", name, 600)
    temporal.failing["gone"] = RPCStatusCode.NOT_FOUND
    async with resumed(temporal, lanes, 1 + behind):
        assert [name for name, _ in temporal.resumed] == ["gone", *names]
    assert lanes.snapshot("w").waiting == behind, "the one that is gone counts no longer"


async def test_while_temporal_is_away_the_oldest_stays_the_next(temporal: Temporal) -> None:
    lanes = Lanes()
    for name in ("oldest", "next"):
        lanes.add_delayed("t", "w", name, 600)
    temporal.failing["oldest"] = RPCStatusCode.UNAVAILABLE
    async with resumed(temporal, lanes, 3):
        temporal.failing.clear()
        while ("next", "start") not in temporal.resumed:  # noqa: ASYNC110  the stand-in has no event for it
            await asyncio.sleep(0.005)
    tries = [name for name, _ in temporal.resumed]

    assert tries == ["oldest"] * (len(tries) - 1) + ["next"]
    assert len(tries) >= 5


async def test_what_a_killed_server_lists_late_is_searched_for_again(
    temporal: Temporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the first searches may come too early; the next regular one is a minute later."""
    lanes, late, searches = Lanes(), len(resuming._FIRST_TAKEOVERS_SECONDS), 0

    async def take_over(*_: object) -> int:
        nonlocal searches
        searches += 1
        if searches <= late:
            return 0
        lanes.add_delayed("t", "w", "late", 600)
        return 1

    monkeypatch.setattr(resuming, "take_over", take_over)
    monkeypatch.setattr(resuming, "_FIRST_TAKEOVERS_SECONDS", (0.0,) * late)
    monkeypatch.setattr(resuming, "_POLL_SECONDS", 0.01)
    async with resumed(temporal, lanes, 1):
        pass

    assert late > 1
    assert [id for id, _ in temporal.resumed] == ["late"]
