"""Limits of a running platform: publications, and requests with invalid keys."""

import asyncio
from pathlib import Path

import pytest

from webhooks.testing.platform_process import PlatformProcess


@pytest.mark.thorough
async def test_who_calls_too_often_is_told_when_to_come_again(tmp_path: Path) -> None:
    platform = PlatformProcess(tmp_path, WEBHOOKS_PUBLISH_RATE="100", WEBHOOKS_MAX_FAILED_AUTHENTICATIONS="3")
    try:
        await platform.start(ready=True)
        event = await platform.event()
        made = await platform.post("/v1/api-keys", {"name": "slow", "role": "publisher", "publish_rate": 1})
        body = {"event": event, "data": {}}
        async with platform.called_with(made["key"]) as slow, platform.called_with("wrong") as wrong:
            answers = [await slow.http.post("/v1/occurrences", json=body)]
            answers += await asyncio.gather(*(slow.http.post("/v1/occurrences", json=body) for _ in range(9)))
            reads = await slow.http.get("/v1/events")
            refused = [await wrong.http.get("/v1/events") for _ in range(5)]
            valid = await platform.http.post("/v1/occurrences", json=body)
    finally:
        await platform.close()
    limited = [answer for answer in answers if answer.status_code == 429]

    assert answers[0].status_code == 202
    assert answers[0].headers["ratelimit-policy"] == '"key";q=1;w=1, "tenant";q=100;w=1'
    assert answers[0].headers["ratelimit"] == '"key";r=0;t=1, "tenant";r=99;t=1'
    assert len(limited) > 3
    assert limited[0].headers["retry-after"] == "1"
    assert limited[0].headers["ratelimit"] == '"key";r=0;t=1'
    assert "the key may publish 1 occurrences per second" in limited[0].json()["detail"]
    assert reads.status_code == 200
    assert "ratelimit" not in reads.headers
    assert [answer.status_code for answer in refused] == [401, 401, 401, 429, 429]
    assert 50 < int(refused[3].headers["retry-after"]) <= 60
    assert refused[3].headers["content-type"] == "application/problem+json"
    assert valid.status_code == 202, "the address does not matter for a valid key"
    assert made["publish_rate"] == 1
