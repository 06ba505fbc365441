"""Receiving while a part of the platform is away, under a flood of refused requests, and how long an answer takes."""

import asyncio
import os
import signal
import time
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.api.test_received import JSON, listed, send, source
from tests.support.senders import OTHER_SECRET, STANDARD_SECRET, github, message
from webhooks.testing.platform_process import Json, PlatformProcess, running, until


@pytest.mark.thorough
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


@pytest.mark.thorough
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


@pytest.mark.thorough
async def test_the_tenant_s_rate_counts_what_is_received(tmp_path: Path) -> None:
    async with running(tmp_path / "platform", WEBHOOKS_PUBLISH_RATE="1") as platform:
        made = await source(platform, "none", await platform.event(), duplicate_window=0)
        answers = [await send(platform, made, b"{}", JSON) for _ in range(4)]

    assert {answer.status_code for answer in answers} == {200, 429}
    assert all(answer.headers.get("retry-after") == "1" for answer in answers if answer.status_code == 429)


async def test_64_requests_of_one_source_are_taken_at_a_time(platform: PlatformProcess) -> None:
    """They send their bodies slowly, and are refused only when these have come. Another source has room meanwhile."""
    slow, other = [await source(platform, "github", await platform.event()) for _ in range(2)]
    body = message("github")
    right = github(STANDARD_SECRET, body)
    head = f"POST /in/{slow['id']} HTTP/1.1\r\nhost: localhost\r\nx-hub-signature-256: sha256=0\r\n"
    head += "content-length: 2\r\nconnection: close\r\n\r\n"
    opened = [await asyncio.open_connection("127.0.0.1", platform.port) for _ in range(64)]
    for _, writer in opened:
        writer.write(head.encode())

    async def is_full() -> bool:
        return (await send(platform, slow, b"{}", github(OTHER_SECRET, b"{}"))).status_code == 503

    await until(is_full, timeout=9, what="64 requests of a source")
    refused = await send(platform, slow, body, right)
    elsewhere = await send(platform, other, body, right)
    for _, writer in opened:
        writer.write(b"{}")
    answers = [(await reader.read(-1)).partition(b" ")[2][:3] for reader, _ in opened]
    for _, writer in opened:
        writer.close()
    after = await send(platform, slow, body, right)

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert (elsewhere.status_code, after.status_code) == (200, 200)
    assert answers == [b"401"] * 64


async def test_an_equal_body_is_a_duplicate_for_as_long_as_the_window(platform: PlatformProcess) -> None:
    window = 3
    made = await source(platform, "none", await platform.event(), duplicate_window=window)
    await asyncio.sleep(window - time.time() % window)  # the windows begin at multiples: the first is found in the next
    arrived: list[Json] = []

    async def stored_again() -> bool:
        nonlocal arrived
        assert (await send(platform, made, b'{"n": 1}', JSON)).status_code == 200
        arrived = (await platform.get("/v1/received", source=made["id"], verdict="unverified"))["items"]
        return len(arrived) == 2

    await until(stored_again, timeout=30, what="a message of its own")
    second, first = (datetime.fromisoformat(item["received_at"]) for item in arrived)

    assert second - first >= timedelta(seconds=window)
    duplicates = (await platform.get("/v1/received", source=made["id"], verdict="duplicate"))["items"]
    assert {item["occurrence_id"] for item in duplicates} <= {item["id"] for item in arrived}
    assert duplicates


async def send_patiently(platform: PlatformProcess, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
    async with httpx.AsyncClient(base_url=platform.http.base_url, timeout=30) as stranger:
        return await stranger.post(path, content=body, headers=headers)
