"""What is done to the platform, one function a fault; each begins, and mostly ends, under load."""

import asyncio
import contextlib
import fcntl
import os
import random
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from tests.faults.checker import Verdict
from tests.faults.drill import Drill
from tests.faults.ledger_receiver import LATER_SECONDS
from tests.workflows.replaying import SAVED, load, replayer
from webhooks.testing.child_process import ChildProcess
from webhooks.testing.platform_process import PlatformProcess, until

Fault = Callable[[Drill], Awaitable[Verdict]]

BEFORE, DOWN, AFTER = 3.0, 2.0, 3.0
"""Seconds of load before a fault, while something is down, and after it is back."""
_LONG = 20.0


class SkippedError(Exception):
    """This machine does not allow the fault; the message says why."""


async def worker_killed(drill: Drill) -> Verdict:
    async with drill.split() as split:
        async with drill.load(split.apis):
            await asyncio.sleep(BEFORE)
            async with drill.exposed():
                await split.workers[0].kill()
            await asyncio.sleep(DOWN)
            await split.workers[0].spawn()
            await asyncio.sleep(AFTER)
        return await drill.verdict(split.apis[0])


async def api_killed(drill: Drill) -> Verdict:
    """No worker in it: nothing may be sent twice."""
    async with drill.split() as split:
        [api] = split.apis
        async with drill.load([api]):
            await asyncio.sleep(BEFORE)
            await drill.in_flight()
            await api.kill()
            await asyncio.sleep(DOWN)
            await api.start()
            await asyncio.sleep(AFTER)
        return await drill.verdict(api)


async def temporal_killed(drill: Drill) -> Verdict:
    """Until it is back, no worker can record what it has sent."""
    async with drill.split() as split:
        async with drill.load(split.apis):
            await asyncio.sleep(BEFORE)
            async with drill.exposed():
                await split.temporal.kill()
                await asyncio.sleep(DOWN)
                await split.temporal.spawn()
            await asyncio.sleep(AFTER)
        return await drill.verdict(split.apis[0])


async def all_killed(drill: Drill) -> Verdict:
    async with drill.single() as platform:
        async with drill.load([platform]):
            await asyncio.sleep(BEFORE)
            async with drill.exposed():
                os.kill(platform.temporal_pid, signal.SIGKILL)
                await platform.kill()
            await asyncio.sleep(DOWN)
            await platform.start()
            await asyncio.sleep(AFTER)
        return await drill.verdict(platform)


async def terminated(drill: Drill) -> Verdict:
    """A clean end finishes what is on the wire: nothing may be sent twice."""
    async with drill.single() as platform:
        async with drill.load([platform]):
            await asyncio.sleep(BEFORE)
            await drill.in_flight()
            assert await platform.stop() == 0
            await platform.start()
            await asyncio.sleep(AFTER)
        return await drill.verdict(platform)


async def worker_frozen(drill: Drill) -> Verdict:
    async with drill.split() as split:
        async with drill.load(split.apis):
            await asyncio.sleep(BEFORE)
            await _freeze(drill, split.workers[0])
            await asyncio.sleep(AFTER)
        return await drill.verdict(split.apis[0])


async def worker_frozen_beside_another(drill: Drill) -> Verdict:
    """The other one takes over, and the frozen one wakes with what it held."""
    async with drill.split(workers=2) as split:
        async with drill.load(split.apis):
            await asyncio.sleep(BEFORE)
            await _freeze(drill, split.workers[0])
            await asyncio.sleep(AFTER)
        return await drill.verdict(split.apis[0])


async def _freeze(drill: Drill, worker: ChildProcess) -> None:
    async with drill.exposed(after=2):
        worker.signal(signal.SIGSTOP)
        await asyncio.sleep(_LONG)
        worker.signal(signal.SIGCONT)


async def database_away(drill: Drill) -> Verdict:
    """Neither readers nor writers get in. Nothing is sent meanwhile, so nothing may be sent twice."""
    async with drill.single() as platform:
        async with drill.load([platform]):
            await asyncio.sleep(BEFORE)
            with _locked(platform.data_dir / "webhooks.db-shm"):
                refused = await platform.http.post("/v1/events", json={"key": "refused"})
                assert refused.status_code == 503, refused.text
                await asyncio.sleep(_LONG)
            await asyncio.sleep(AFTER)
        return await drill.verdict(platform)


@contextlib.contextmanager
def _locked(index: Path) -> Iterator[None]:
    """Takes every lock of SQLite's WAL index, where even readers need one (its bytes 120 to 127)."""
    with index.open("r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX, 8, 120)
        yield
        fcntl.lockf(file, fcntl.LOCK_UN, 8, 120)


async def disk_full(drill: Drill) -> Verdict:
    """The configuration's disk. What it refuses it has not kept, what it accepted it has, and deliveries go on."""
    disk = drill.folder / "disk"
    with _small_disk(disk):
        async with drill.split(data_dir=disk) as split:
            [api] = split.apis
            async with drill.load([api]):
                await asyncio.sleep(BEFORE)
                _fill(disk / "filler")
                answers = {f"full-{n}": await _create(api, f"full-{n}") for n in range(60)}
                seen = len(drill.arrived())
                await asyncio.sleep(AFTER)
                assert len(drill.arrived()) > seen, "nothing was delivered while the disk was full"
                assert set(answers.values()) >= {503}, answers
                assert set(answers.values()) <= {201, 503}, answers
                (disk / "filler").unlink()
                answers["space"] = await _create(api, "space")
                assert answers["space"] == 201
                await api.kill()
                await api.start()
                for key, status in answers.items():
                    kept = (await api.http.get(f"/v1/events/{key}")).status_code
                    assert kept == (200 if status == 201 else 404), f"{key}: answered {status}, and then {kept}"
            return await drill.verdict(api)


def _fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


async def _create(api: PlatformProcess, key: str) -> int:
    return (await api.http.post("/v1/events", json={"key": key, "description": "x" * 1000})).status_code


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        raise SkippedError("a small disk needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


async def answer_lost(drill: Drill) -> Verdict:
    """A third of the calls is cut before their answer, and made again."""
    async with drill.single() as platform:
        async with drill.load([platform], hangs_up=1 / 3):
            await asyncio.sleep(BEFORE + AFTER)
        return await drill.verdict(platform)


async def published_together(drill: Drill) -> Verdict:
    """One id a hundred times at once, to two APIs, three times over."""
    async with drill.split(apis=2) as split:
        async with drill.load(split.apis, rate=5) as event:
            for n in range(3):
                await asyncio.sleep(1)
                await asyncio.gather(*(drill.producer.publish(event, f"load-together-{n}") for _ in range(100)))
        return await drill.verdict(split.apis[0])


async def upgraded(drill: Drill) -> Verdict:
    """Stopped cleanly with deliveries in backoff, parked and in flight, and started again on the same data. Today's
    code before and after: what older code began is in the saved histories, which must replay."""
    async with drill.single() as platform:
        async with drill.load([platform], rate=10):
            later = await drill.webhook(platform, "/later", "later")
            parked = await drill.webhook(platform, "/parked", "parked")
            for n in range(10):
                drill.producer.begin(later, f"later-{n}")
                drill.producer.begin(parked, f"parked-{n}")
            for n in range(10):
                await _until_shown(platform, drill, f"later-{n}", "retrying")
                await _until_shown(platform, drill, f"parked-{n}", "failed")
            await drill.in_flight()
            assert await platform.stop() == 0
            await platform.start()
            for n in range(10):
                await platform.post(f"/v1/deliveries/{drill.delivery(f'parked-{n}')}/resend", expect=202)
            await asyncio.sleep(LATER_SECONDS / 2)
        for file in SAVED:
            await replayer().replay_workflow(load(file))
        return await drill.verdict(platform)


async def _until_shown(platform: PlatformProcess, drill: Drill, id: str, status: str) -> None:
    async def shown() -> bool:
        answer = await platform.http.get(f"/v1/deliveries/{drill.delivery(id)}")
        return answer.status_code == 200 and answer.json()["status"] == status

    await until(shown, timeout=30, what=f"{id} {status}")


async def workers_restarted(drill: Drill) -> Verdict:
    """Half a minute, every 3 s each of three workers with a chance of 30 %."""
    async with drill.split(workers=3) as split:
        async with drill.load(split.apis):
            for _ in range(10):
                await asyncio.sleep(3)
                for worker in split.workers:
                    if random.random() < 0.3:
                        async with drill.exposed():
                            await worker.kill()
                        await worker.spawn()
        return await drill.verdict(split.apis[0])


FAULTS: dict[str, tuple[str, Fault]] = {
    "worker": ("kill -9 of the worker", worker_killed),
    "api": ("kill -9 of the API", api_killed),
    "temporal": ("kill -9 of Temporal", temporal_killed),
    "all": ("kill -9 of everything", all_killed),
    "sigterm": ("SIGTERM, started again", terminated),
    "frozen": ("the worker frozen for 20 s", worker_frozen),
    "frozen-beside": ("one of two workers frozen for 20 s", worker_frozen_beside_another),
    "database": ("configuration database away for 20 s", database_away),
    "disk": ("configuration's disk full", disk_full),
    "answer": ("a third of the answers lost", answer_lost),
    "together": ("one id published 100 times at once", published_together),
    "upgrade": ("upgrade (today's code, saved histories)", upgraded),
    "restarts": ("workers killed at random for 30 s", workers_restarted),
}


async def run(fault: Fault, folder: Path) -> Verdict:
    """Raises SkippedError, or AssertionError if the platform does not come back at all."""
    async with Drill(folder).receiving() as drill:
        return await fault(drill)
