"""Receiving while a part of the platform is away, under a flood of refused requests, and how long an answer takes."""

import os
import signal
import statistics
import time
from pathlib import Path

import httpx
import pytest

from tests.api.test_received import JSON, listed, send, source
from tests.support.senders import OTHER_SECRET, STANDARD_SECRET, github, message
from webhooks.testing.platform_process import PlatformProcess, running

_ANSWERED = 0.05
"""Seconds, at the median."""


async def test_without_temporal_a_sender_is_told_to_come_again(own: PlatformProcess) -> None:
    await own.start()
    made = await source(own, "github", await own.event())
    body = message("github")
    headers = github(STANDARD_SECRET, body)
    os.kill(own.temporal_pid, signal.SIGSTOP)
    try:
        away = await send_patiently(own, made["url"], body, headers)
    finally:
        os.kill(own.temporal_pid, signal.SIGCONT)
    back = await send_patiently(own, made["url"], body, headers)
    items = await listed(own, made, 1, verdict="verified")

    assert away.status_code == 503
    assert away.headers["retry-after"]
    assert back.status_code == 200
    assert len(items) == 1


async def test_an_address_that_is_refused_too_often_is_refused_at_once(tmp_path: Path) -> None:
    async with running(tmp_path / "platform", WEBHOOKS_MAX_FAILED_AUTHENTICATIONS="5") as platform:
        made, other = [await source(platform, "github", await platform.event()) for _ in range(2)]
        body = message("github")
        wrong = [(await send(platform, made, body, github(OTHER_SECRET, body))).status_code for _ in range(8)]
        elsewhere = await send(platform, other, body, github(STANDARD_SECRET, body))
        unknown = [(await send(platform, {"url": f"/in/{n}"}, body, JSON)).status_code for n in range(8)]

    assert wrong == [401] * 6 + [429] * 2
    assert elsewhere.status_code == 200
    assert unknown == [404] * 6 + [429] * 2


async def test_the_tenant_s_rate_counts_what_is_received(tmp_path: Path) -> None:
    async with running(tmp_path / "platform", WEBHOOKS_PUBLISH_RATE="1") as platform:
        made = await source(platform, "none", await platform.event(), duplicate_window=0)
        answers = [await send(platform, made, b"{}", JSON) for _ in range(4)]

    assert {answer.status_code for answer in answers} == {200, 429}
    assert all(answer.headers.get("retry-after") == "1" for answer in answers if answer.status_code == 429)


@pytest.mark.quiet
async def test_an_answer_takes_less_than_50_ms_at_the_median(platform: PlatformProcess) -> None:
    made = await source(platform, "github", await platform.event())
    seconds = []
    async with httpx.AsyncClient(base_url=platform.http.base_url) as sender:
        for _ in range(100):
            body = message("github")
            headers, start = github(STANDARD_SECRET, body), time.perf_counter()
            assert (await sender.post(made["url"], content=body, headers=headers)).status_code == 200
            seconds.append(time.perf_counter() - start)

    print(f"median {statistics.median(seconds) * 1000:.1f} ms, p95 {sorted(seconds)[94] * 1000:.1f} ms")  # noqa: T201
    assert statistics.median(seconds) < _ANSWERED


async def send_patiently(platform: PlatformProcess, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
    async with httpx.AsyncClient(base_url=platform.http.base_url, timeout=30) as stranger:
        return await stranger.post(path, content=body, headers=headers)
