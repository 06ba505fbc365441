"""Who was refused for publishing too fast gets the same answer again, and nobody else does."""

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
from webhooks.isolation.backlog import LocalBacklog
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


async def call(inside: SecurityHeaders, authorization: bytes | None) -> Answer:
    headers = [] if authorization is None else [(b"authorization", authorization)]
    scope = {"type": "http", "method": "POST", "path": "/v1/occurrences", "headers": headers}
    answer: Answer = []

    async def send(message: MutableMapping[str, Any]) -> None:
        answer.append({**message})

    await inside(scope, None, send)  # type: ignore[arg-type]
    return answer


def guarding(inside: Inside) -> SecurityHeaders:
    return SecurityHeaders(Admission(inside, SimpleNamespace(backlog=LocalBacklog())))  # type: ignore[arg-type]


async def test_the_same_caller_gets_the_same_answer_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    inside = Inside(limited=True)
    app = guarding(inside)
    first, *repeated = [await call(app, b"Bearer a") for _ in range(5)]
    await call(app, b"Bearer b")
    asked = inside.asked
    later = time.monotonic() + admission._REFUSED_SECONDS
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


async def test_a_flood_is_refused_and_the_key_works_again(tmp_path: Path) -> None:
    platform = PlatformProcess(tmp_path, WEBHOOKS_PUBLISH_RATE="2")
    try:
        await platform.start()
        event = await platform.event()
        body = {"event": event, "data": {}}
        answers = [await platform.http.post("/v1/occurrences", json=body) for _ in range(40)]
        refused = [answer for answer in answers if answer.status_code == 429]
        while (again := await platform.http.post("/v1/occurrences", json=body)).status_code == 429:
            pass
    finally:
        await platform.close()

    assert len(refused) > 20
    assert {len(answer.headers.get_list("x-content-type-options")) for answer in refused} == {1}
    assert again.status_code == 202
