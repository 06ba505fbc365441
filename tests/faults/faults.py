"""What is done to the platform, one function a fault; each begins, and mostly ends, under load."""

import asyncio
import contextlib
import fcntl
import os
import random
import re
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from temporalio.api.workflowservice.v1 import GetSystemInfoRequest

from tests.faults.checker import Verdict
from tests.faults.drill import Drill
from tests.faults.ledger_receiver import LATER_SECONDS
from tests.workflows.replaying import SAVED, load, replayer
from webhooks.temporal import dev_binary
from webhooks.testing.child_process import ChildProcess
from webhooks.testing.platform_process import Json, PlatformProcess, until

Fault = Callable[[Drill], Awaitable[Verdict]]

BEFORE, DOWN, AFTER = 3.0, 2.0, 3.0
"""Seconds of load before a fault, while something is down, and after it is back."""
_LONG = 20.0
_RESENT = 60
_MANY = 1_000
"""Deliveries that a job resends, at 10 per second."""


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
        await _kill_all(drill, platform, drill.load([platform]))
        return await drill.verdict(platform)


async def received_and_killed(drill: Drill) -> Verdict:
    """What a sender got a 200 for is delivered. It loses a tenth of the answers, and sends again."""
    async with drill.single() as platform:
        await _kill_all(drill, platform, drill.sent_to_a_source(platform))
        return await drill.verdict(platform)


async def resent_and_killed(drill: Drill) -> Verdict:
    """A job resends what failed, and everything is killed in the middle of it. It goes on by itself."""
    async with drill.single() as platform:
        async with drill.load([platform], rate=1):
            parked = await drill.webhook(platform, "/parked", "parked")
            occurrences = [f"parked-{n}" for n in range(_RESENT)]
            for id in occurrences:
                await drill.producer.publish(parked, id)
            await drill.until_tried({*occurrences})
            deliveries = {drill.delivery(id) for id in occurrences}
            await _until_listed(platform, "failed", deliveries)
            started = await platform.post("/v1/deliveries/resend", {"filter": {"event": [parked]}}, expect=202)
            await drill.until_resent(deliveries, _RESENT // 3)
            await _crash(drill, platform)
            left = deliveries - drill.resent(deliveries)
            assert left, "the job had ended before the fault"
            job = await _ended(platform, started["job"]["id"])
            assert (job["state"], job["found"], job["skipped"]) == ("done", _RESENT, {}), job
        return await drill.verdict(platform)


async def fan_out_killed(drill: Drill) -> Verdict:
    """An occurrence for 1,000 webhooks, published before everything is killed, after it, and at the end."""
    async with drill.single() as platform:
        event = await drill.webhook(platform, "/", "many", count=_MANY)
        async with drill.load([platform], rate=2):
            await drill.producer.publish(event, "many-0")
            await drill.until_arrived("many-0", _MANY // 4)
            await _crash(drill, platform)
            await drill.producer.publish(event, "many-0")
            await drill.until_arrived("many-0", _MANY)
            await drill.producer.publish(event, "many-0")
        return await drill.verdict(platform)


async def _ended(platform: PlatformProcess, id: str) -> Json:
    """The job, when it has ended."""
    job: Json = {}

    async def ended() -> bool:
        nonlocal job
        answer = await platform.http.get(f"/v1/jobs/{id}")
        job = answer.json() if answer.status_code == 200 else job
        return bool(job and job["ended_at"])

    await until(ended, timeout=300, what="the end of the job", shown=lambda: str(job))
    return job


async def _kill_all(drill: Drill, platform: PlatformProcess, load: AbstractAsyncContextManager[object]) -> None:
    async with load:
        await asyncio.sleep(BEFORE)
        await _crash(drill, platform)
        await asyncio.sleep(AFTER)


async def _crash(drill: Drill, platform: PlatformProcess) -> None:
    """Kill the platform and its Temporal server, and start them again."""
    async with drill.exposed():
        os.kill(platform.temporal_pid, signal.SIGKILL)
        await platform.kill()
    await asyncio.sleep(DOWN)
    await platform.start()


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


async def restarted(drill: Drill) -> Verdict:
    """Stopped cleanly with deliveries in backoff, awaiting a resend and in flight, and started again on the same data.
    Today's code before and after: what older code began is in the saved histories, which must replay."""
    async with drill.single() as platform:
        async with _every_state(drill, platform):
            assert await platform.stop() == 0
            await platform.start()
        for file in SAVED:
            await replayer().replay_workflow(load(file))
        return await drill.verdict(platform)


async def temporal_upgraded(drill: Drill) -> Verdict:
    """The same, and an older Temporal server wrote the data directory: the one that `make temporal` builds with Go, or
    the program that TEST_OLDER_TEMPORAL names. Nothing may be sent twice."""
    older = Path(os.environ.get("TEST_OLDER_TEMPORAL") or dev_binary.go_built())
    before = await dev_binary.server_version(older)
    newer = await dev_binary.find_temporal(lambda _: None)
    after = await dev_binary.server_version(newer)
    if before is None or after is None or _numbers(before) >= _numbers(after):
        raise SkippedError(f"needs a Temporal server older than {after}; TEST_OLDER_TEMPORAL may name its program")
    with tempfile.TemporaryDirectory() as folder:  # of PATH, where the program must be called `temporal`
        (Path(folder) / "temporal").symlink_to(older)
        async with drill.single(f"{folder}{os.pathsep}{os.environ['PATH']}") as platform:
            async with _every_state(drill, platform):
                assert await _server_version(platform) == before
                assert await platform.stop() == 0
                platform.environment["PATH"] = os.environ["PATH"]
                await platform.start()
                assert await _server_version(platform) == after
                await _until_listed(platform, "failed", {drill.delivery(f"parked-{n}") for n in range(10)})
            ends = {drill.delivery(f"{prefix}-{n}") for prefix in ("later", "parked") for n in range(10)}
            await _until_listed(platform, "delivered", ends)
            return await drill.verdict(platform)


async def _until_listed(platform: PlatformProcess, status: str, ids: set[str]) -> None:
    """Until the monitor's list, which Temporal's search serves, shows these with this status."""

    async def listed() -> bool:
        found, cursor = set[str](), dict[str, str]()
        while True:
            answer = await platform.http.get("/v1/deliveries", params={"status": status, "limit": 100, **cursor})
            if answer.status_code != 200:
                return False
            page = answer.json()
            found |= {one["id"] for one in page["items"]}
            if ids <= found or not page["next_cursor"]:
                return ids <= found
            cursor = {"cursor": page["next_cursor"]}

    await until(listed, timeout=60, what=f"{ids} listed as {status}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


async def _server_version(platform: PlatformProcess) -> str:
    client = await platform.temporal()
    return (await client.workflow_service.get_system_info(GetSystemInfoRequest())).server_version


@contextlib.asynccontextmanager
async def _every_state(drill: Drill, platform: PlatformProcess) -> AsyncIterator[None]:
    """The block begins with deliveries in backoff, awaiting a resend and in flight. After it, those that await a resend
    are sent again."""
    async with drill.load([platform], rate=5):
        later = await drill.webhook(platform, "/later", "later")
        parked = await drill.webhook(platform, "/parked", "parked")
        for n in range(10):
            drill.producer.begin(later, f"later-{n}")
            drill.producer.begin(parked, f"parked-{n}")
        await drill.until_tried({f"{prefix}-{n}" for prefix in ("later", "parked") for n in range(10)})
        await drill.in_flight()
        yield
        for n in range(10):
            await _resend(platform, drill.delivery(f"parked-{n}"))
        await asyncio.sleep(LATER_SECONDS / 2)


async def _resend(platform: PlatformProcess, delivery: str) -> None:
    """As a careful client does it: again after a 503."""

    async def accepted() -> bool:
        answer = await platform.http.post(f"/v1/deliveries/{delivery}/resend")
        assert answer.status_code in (202, 503), answer.text
        return answer.status_code == 202

    await until(accepted, timeout=180, what=f"resend of {delivery}")


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
    "inbound": ("kill -9 while webhooks are received", received_and_killed),
    "bulk": ("kill -9 in the middle of a bulk resend", resent_and_killed),
    "sigterm": ("SIGTERM, started again", terminated),
    "frozen": ("the worker frozen for 20 s", worker_frozen),
    "frozen-beside": ("one of two workers frozen for 20 s", worker_frozen_beside_another),
    "database": ("configuration database away for 20 s", database_away),
    "disk": ("configuration's disk full", disk_full),
    "answer": ("a third of the answers lost", answer_lost),
    "together": ("one id published 100 times at once", published_together),
    "restart": ("restarted with deliveries in each state", restarted),
    "upgrade": ("upgrade of the Temporal server", temporal_upgraded),
    "fanout": ("kill -9 while 1,000 webhooks get one", fan_out_killed),
    "restarts": ("workers killed at random for 30 s", workers_restarted),
}


async def run(fault: Fault, folder: Path) -> Verdict:
    """Raises SkippedError, or AssertionError if the platform does not come back at all."""
    async with Drill(folder).receiving() as drill:
        return await fault(drill)
