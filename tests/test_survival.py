"""Killed, restarted, cut off: what was accepted is delivered all the same."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from demo.receiver import Answer, Receiver
from tests.platform_process import ROOT, PlatformProcess, free_port, running, until


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[PlatformProcess]:
    """A platform that this test may break."""
    platform = PlatformProcess(tmp_path / "platform")
    yield platform
    await platform.close()


async def test_killed_while_the_receiver_holds_the_request(own: PlatformProcess, receiver: Receiver, path: str) -> None:
    """It arrives after the restart, with the same webhook-id."""
    never = asyncio.Event()
    await own.start()
    event = await own.event()
    await own.webhook(event, receiver.tell(path, [Answer(200, before=never.wait), 200]), timeout=30)
    id = await own.delivery(await own.publish(event))
    await receiver.wait_for(path, 1)
    await own.kill()
    await own.start()
    first, second = await receiver.wait_for(path, 2, timeout=60)
    delivery = await own.wait(id, "delivered")
    await own.stop()

    assert first.headers["webhook-id"] == second.headers["webhook-id"] == id
    assert first.body == second.body
    assert len(delivery["attempts"]) == 1
    assert len(receiver.got(path)) == 2


async def test_everything_killed_during_a_backoff(own: PlatformProcess, receiver: Receiver, path: str) -> None:
    """The chain goes on where it was, at the time that it had announced."""
    await own.start()
    event = await own.event()
    await own.webhook(event, receiver.tell(path, [503, 200]), retry_policy={"initial_interval": 5})
    id = await own.delivery(await own.publish(event))
    waiting = await own.wait(id, "retrying")
    await own.kill()
    await own.start()
    assert (await own.get(f"/v1/deliveries/{id}"))["attempts"][0] == waiting["attempts"][0]
    delivery = await own.wait(id, "delivered")
    await own.stop()
    first, second = receiver.got(path)

    assert [attempt["outcome"] for attempt in delivery["attempts"]] == ["http_503", "delivered"]
    assert second.at - first.at >= 4.5


async def test_sigterm_finishes_what_is_in_flight(own: PlatformProcess, receiver: Receiver, path: str) -> None:
    """The held request ends in its answer, is sent once, and is known as delivered afterwards."""
    release = asyncio.Event()
    await own.start()
    event = await own.event()
    await own.webhook(event, receiver.tell(path, [Answer(200, before=release.wait), 500]), timeout=30)
    id = await own.delivery(await own.publish(event))
    await receiver.wait_for(path, 1)
    stopping = asyncio.create_task(own.stop())

    async def refuses() -> bool:
        try:
            await own.http.get("/health/live")
        except httpx.TransportError:
            return True
        return False

    await until(refuses, timeout=20, what="the end of the API")
    release.set()
    assert await stopping == 0
    await own.start()
    delivery = await own.wait(id, "delivered")
    await own.stop()

    assert len(delivery["attempts"]) == 1
    assert len(receiver.got(path)) == 1


async def test_our_temporal_server_is_started_again_when_it_dies(
    own: PlatformProcess, receiver: Receiver, path: str
) -> None:
    await own.start()
    event = await own.event()
    await own.webhook(event, receiver.url(path))
    server = child_named(own.pid, "start-dev")
    os.kill(server, signal.SIGKILL)

    async def accepted() -> bool:
        answer = await own.http.post("/v1/occurrences", json={"event": event, "id": "after", "data": {}})
        assert answer.status_code == 202 or (answer.status_code == 503 and answer.headers["retry-after"])
        return answer.status_code == 202

    await until(accepted, timeout=60, what="a publication")
    await receiver.wait_for(path, 1, timeout=60)
    assert await own.stop() == 0


async def test_temporal_unreachable(tmp_path: Path) -> None:
    """Configuration works, publishing answers 503 in time and says when to come back."""
    own = PlatformProcess(tmp_path / "platform", TEMPORAL_ADDRESS=f"127.0.0.1:{free_port()}")
    await own.start(ready=False)
    event = await own.event()
    started = time.monotonic()
    answer = await own.http.post("/v1/occurrences", json={"event": event, "data": {}})
    listed = await own.http.get("/v1/deliveries")
    ready = await own.http.get("/health/ready")
    assert await own.stop() == 0
    await own.close()

    assert time.monotonic() - started < 10
    for refused in (answer, listed, ready):
        assert refused.status_code == 503
        assert refused.headers["content-type"] == "application/problem+json"
        assert int(refused.headers["retry-after"]) > 0


async def test_the_resend_window_ends(tmp_path: Path, receiver: Receiver, path: str) -> None:
    """The delivery closes as expired; a resend still works, as a new run."""
    async with running(tmp_path / "platform", WEBHOOKS_RESEND_WINDOW="1") as own:
        event = await own.event()
        await own.webhook(event, receiver.tell(path, [400, 200]))
        id = await own.delivery(await own.publish(event))
        expired = await own.wait(id, "expired")

        async def listed() -> bool:
            page = await own.get("/v1/deliveries", status="expired")
            return [item["id"] for item in page["items"]] == [id]

        await until(listed, timeout=10, what="the expired delivery in the list")
        await own.post(f"/v1/deliveries/{id}/resend", expect=202)
        delivery = await own.wait(id, "delivered")

        assert expired["closed_at"]
        assert [attempt["trigger"] for attempt in delivery["attempts"]] == ["event", "resend"]


async def test_a_private_address_that_is_no_longer_allowed(
    own: PlatformProcess, receiver: Receiver, path: str, tmp_path: Path
) -> None:
    """Judged at the time of sending, not only when it was configured; the receiver gets no connection."""
    await own.start()
    event = await own.event()
    await own.webhook(event, receiver.url(path))
    await own.stop()
    async with running(own.data_dir, WEBHOOKS_EGRESS_ALLOW="") as strict:
        id = await strict.delivery(await strict.publish(event))
        delivery = await strict.wait(id, "failed")

        assert [attempt["outcome"] for attempt in delivery["attempts"]] == ["address_not_allowed"]
        assert delivery["attempts"][0]["error"] == "address not allowed"
        assert receiver.got(path) == []


async def test_what_keeps_a_platform_from_starting_is_said(own: PlatformProcess, tmp_path: Path) -> None:
    await own.start()
    for setting, value, said in (
        ("WEBHOOKS_DATA_DIR", str(own.data_dir), "WEBHOOKS_DATA_DIR"),
        ("WEBHOOKS_EGRESS_ALLOW", "10.0.0.0/99", "egress_allow"),
        ("WEBHOOKS_PORT", "http", "port"),
    ):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "api"),
            cwd=ROOT,
            env={**own.environment, "WEBHOOKS_DATA_DIR": str(tmp_path / "other"), setting: value},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        _, err = await asyncio.wait_for(process.communicate(), 60)

        assert process.returncode == 1
        assert said in err.decode()
        assert "Traceback" not in err.decode()
    await own.stop()


def child_named(pid: int, word: str) -> int:
    """The child process of `pid` whose command line holds `word`."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if word in Path(f"/proc/{child}/cmdline").read_text():
            return int(child)
    raise AssertionError(f"{pid} has no child named {word}")


async def test_worker_processes_of_their_own(tmp_path: Path, receiver: Receiver, path: str) -> None:
    """An API without a worker accepts and waits; a worker delivers; when it is killed during a request another one does
    it again, with the same webhook-id."""
    never = asyncio.Event()
    own = PlatformProcess(tmp_path / "platform", WEBHOOKS_EMBEDDED_WORKER="false")
    await own.start(ready=False)

    async def worker() -> asyncio.subprocess.Process:
        environment = {**own.environment, "TEMPORAL_ADDRESS": f"127.0.0.1:{own.temporal_port}"}
        with (own.data_dir / "worker.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "worker.py"), cwd=ROOT, env=environment, stdout=log, stderr=log
            )

    event = await own.event()
    await own.webhook(event, receiver.tell(path, [Answer(200, before=never.wait), 200]), timeout=30)

    async def accepted() -> bool:
        return (
            await own.http.post("/v1/occurrences", json={"event": event, "id": "waits", "data": {}})
        ).status_code == 202

    await until(accepted, timeout=30, what="Temporal")
    assert await own.is_ready() is False
    first = await worker()
    await receiver.wait_for(path, 1)
    first.kill()
    await first.wait()
    second = await worker()
    await until(own.is_ready, timeout=30, what="a polling worker")
    one, two = await receiver.wait_for(path, 2, timeout=60)
    delivery = await own.wait(two.headers["webhook-id"], "delivered")
    second.terminate()
    assert await asyncio.wait_for(second.wait(), 60) == 0
    assert await own.stop() == 0
    await own.close()

    assert one.headers["webhook-id"] == two.headers["webhook-id"]
    assert len(delivery["attempts"]) == 1
