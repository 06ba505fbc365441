"""Who was refused for publishing too fast gets the same answer again, later, and nobody else does."""

import asyncio
import time
from collections.abc import MutableMapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from api import admission
from api.admission import Admission
from api.headers import SecurityHeaders
from webhooks.isolation import held_back
from webhooks.isolation.backlog import LocalBacklog
from webhooks.isolation.held_back import HeldBack
from webhooks.isolation.waiting_room import WaitingRoom
from webhooks.testing.platform_process import PlatformProcess

Answer = list[MutableMapping[str, Any]]


class Inside:
    """Answers every request with a 429, with or without the headers of a limit, and counts them."""

    def __init__(self, *, limited: bool) -> None:
        self._headers = [(b"ratelimit", b'"key";r=0;t=1')] if limited else []
        self.asked = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        await send({"type": "http.response.start", "status": 429, "headers": [*self._headers]})
        await send({"type": "http.response.body", "body": b"too fast"})


async def call(app: Admission, authorization: bytes | None) -> Answer:
    headers = [] if authorization is None else [(b"authorization", authorization)]
    scope = {"type": "http", "method": "POST", "path": "/v1/occurrences", "headers": headers}
    answer: Answer = []

    async def send(message: MutableMapping[str, Any]) -> None:
        answer.append({**message})

    await app(scope, asyncio.Event().wait, send)  # type: ignore[arg-type]
    return answer


def guarding(inside: Inside) -> Admission:
    platform = SimpleNamespace(room=WaitingRoom(LocalBacklog(), 1, 1), held_back=HeldBack())
    return Admission(SecurityHeaders(inside), platform)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_back, "HELD_SECONDS", 0.01)


async def test_the_same_caller_gets_the_same_answer_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    inside = Inside(limited=True)
    monkeypatch.setattr(admission, "_LIMITED_SECONDS", 60)
    app = guarding(inside)
    first, *repeated = [await call(app, b"Bearer a") for _ in range(5)]
    await call(app, b"Bearer b")
    asked = inside.asked
    later = time.monotonic() + 60
    monkeypatch.setattr(time, "monotonic", lambda: later)
    await call(app, b"Bearer a")

    assert all(answer == first for answer in repeated), "also without a header more"
    assert asked == 2
    assert inside.asked == 3


@pytest.mark.parametrize(("limited", "authorization"), [(True, None), (False, b"Bearer wrong")])
async def test_others_are_asked_each_time(limited: bool, authorization: bytes | None) -> None:
    """Callers without the header have their own cookies, and a 429 for wrong keys is about an address."""
    inside = Inside(limited=limited)
    app = guarding(inside)
    for _ in range(3):
        await call(app, authorization)

    assert inside.asked == 3


async def test_who_comes_too_early_is_answered_late_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_back, "HELD_SECONDS", 60)
    refusals = HeldBack()
    refusals.note("early")
    held = [asyncio.create_task(refusals.hold("early")) for _ in range(held_back._MAX_HELD_PER_CALLER)]
    await asyncio.sleep(0)
    waiting = refusals.held()
    await refusals.hold("other")
    await refusals.hold("early")  # one more than a caller may have
    held.pop().cancel()
    await asyncio.sleep(0)
    held.append(asyncio.create_task(refusals.hold("early")))
    await asyncio.sleep(0)
    again = refusals.held()
    refusals.close()
    await asyncio.wait(held)
    await refusals.hold("early")

    assert waiting == again == held_back._MAX_HELD_PER_CALLER
    assert (refusals.held(), refusals._held) == (0, {})


@pytest.mark.thorough
async def test_a_flood_is_refused_and_the_key_works_again(tmp_path: Path) -> None:
    platform = PlatformProcess(tmp_path, WEBHOOKS_PUBLISH_RATE="2")
    try:
        await platform.start()
        event = await platform.event()
        body = {"event": event, "data": {}}
        answers = await asyncio.gather(*(platform.http.post("/v1/occurrences", json=body) for _ in range(40)))
        refused = [answer for answer in answers if answer.status_code == 429]
        while (again := await platform.http.post("/v1/occurrences", json=body)).status_code == 429:
            pass
    finally:
        await platform.close()

    assert len(refused) > 20
    assert {len(answer.headers.get_list("x-content-type-options")) for answer in refused} == {1}
    assert again.status_code == 202
