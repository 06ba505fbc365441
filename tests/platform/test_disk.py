"""The disk of the embedded platform is full while it runs."""

import asyncio
import time
from pathlib import Path

import pytest

from tests.support.file_system import fill, mounted
from webhooks.testing.platform_process import running, until
from webhooks.testing.receiver import Receiver

FULL = "No space left on device"


@pytest.mark.thorough
async def test_a_full_disk_is_named_soon_and_its_end_is_noticed(tmp_path: Path, receiver: Receiver) -> None:
    disk = tmp_path / "disk"
    with mounted(disk, "size=96m"):
        async with running(tmp_path, WEBHOOKS_DATA_DIR=str(disk)) as platform:
            event = await platform.event()
            await platform.webhook(event, receiver.url("/disk"))
            await platform.wait(await platform.delivery(await platform.publish(event)), "delivered")
            fill(disk / "filler")

            async def is_unready() -> bool:
                return not await platform.is_ready()

            await until(is_unready, timeout=20, what="a failing readiness check")
            ready = await platform.http.get("/health/ready")
            began = time.monotonic()
            refused = await platform.http.post("/v1/occurrences", json={"event": event, "data": {}})
            took = time.monotonic() - began
            for n in range(60):  # until the write-ahead log has to grow
                created = await platform.http.post("/v1/events", json={"key": f"full-{n}", "description": "x" * 1000})
                if created.status_code != 201:
                    break
            live = await platform.lives()
            (disk / "filler").unlink()
            await until(platform.is_ready, timeout=30, what="readiness")
            async with asyncio.timeout(30):
                await platform.wait(await platform.delivery(await platform.publish(event)), "delivered")
            log = platform.log

    assert (ready.status_code, refused.status_code, created.status_code, live) == (503, 503, 503, True)
    assert FULL in ready.json()["detail"]
    assert FULL in refused.json()["detail"]
    assert created.json()["detail"] == "the disk of the configuration database is full"
    assert took < 4  # without a wait for Temporal, which has 5 s
    assert refused.headers["retry-after"]
    assert f"cannot write to WEBHOOKS_DATA_DIR {disk}: {FULL}. Nothing is accepted until this is over" in log
    assert f"can write to WEBHOOKS_DATA_DIR {disk} again" in log
    assert len(receiver.got("/disk")) == 2
