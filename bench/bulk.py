"""How much does a job slow a healthy webhook? A webhook is created after 10,000 occurrences were published, and a job
replays them to it, as fast as a job may (`WEBHOOKS_JOB_RATE`). The job is paused and resumed in turn.

The figure is a ratio of two p95 from publication to arrival at the healthy receiver: while the job works, and while it
is paused. Each is the median of the p95 of every six seconds, as in `bench/isolation.py`.
"""

import asyncio
import contextlib
import os
import statistics
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bench.figures import occurrence, quantile
from bench.isolation import BAR, PART, arrivals
from bench.producer import Producer
from webhooks.testing.platform_process import Json, PlatformProcess, until
from webhooks.testing.receiver import Receiver

MISSED = int(os.environ.get("BENCH_MISSED", "10000"))
"""Occurrences that can be replayed: more than the job sends in all rounds."""
ROUNDS, SECONDS, RATE = 4, 30, 10
"""Of each round: so long while the job is paused, and so long while it works, with so many occurrences per second."""
MAX_CONCURRENT = 20


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with replay(Path(folder)) as scene:
            print(f"a healthy webhook beside a job that replays {MISSED}, {RATE}/s, {ROUNDS} times {SECONDS} s each:")
            for number in range(ROUNDS):
                await scene.measure(f"alone-{number}", scene.alone)
                await scene.ask("resume", "running")
                before = len(await scene.receiver.wait_for("/missed", scene.sent + 1))
                await scene.measure(f"beside-{number}", scene.beside)
                print(f"  round {number + 1}: the job has sent {scene.sent - before} in {SECONDS} s", flush=True)
                await scene.ask("pause", "paused")
            scene.report()


@contextlib.asynccontextmanager
async def replay(folder: Path) -> AsyncIterator["Replay"]:
    async with Receiver().serving() as receiver, contextlib.AsyncExitStack() as stack:
        platform = PlatformProcess(folder)
        stack.push_async_callback(platform.close)
        await platform.start()
        healthy, missed, since = await platform.event(), await platform.event(), datetime.now(UTC).isoformat()
        await platform.webhook(healthy, receiver.url("/healthy"))
        producer = Producer(platform)
        left = iter(range(MISSED))

        async def publish() -> None:
            for _ in left:
                await producer.insist(missed)

        await asyncio.gather(*(publish() for _ in range(MAX_CONCURRENT)))
        webhook = await platform.webhook(missed, receiver.url("/missed"))
        started = await platform.post(f"/v1/webhooks/{webhook['id']}/replay", {"since": since}, expect=202)
        scene = Replay(platform, receiver, producer, healthy, started["job"]["id"])
        await scene.ask("pause", "paused")
        await producer.feed(healthy, RATE, 2, "warm")
        yield scene
        await producer.close()


@dataclass
class Replay:
    platform: PlatformProcess
    receiver: Receiver
    producer: Producer
    event: str
    job_id: str
    alone: list[list[float]] = field(default_factory=list)
    beside: list[list[float]] = field(default_factory=list)
    """Milliseconds from publication to arrival, for each PART seconds."""

    @property
    def sent(self) -> int:
        """Requests of the job that have arrived."""
        return len(self.receiver.got("/missed"))

    async def job(self) -> Json:
        return await self.platform.get(f"/v1/jobs/{self.job_id}")

    async def ask(self, what: str, state: str) -> None:
        """Ask the job for something, and wait until it is so."""
        await self.platform.post(f"/v1/jobs/{self.job_id}/{what}", expect=202)

        async def is_so() -> bool:
            job = await self.job()
            assert not job["ended_at"], "the job has ended: BENCH_MISSED is too small"
            return bool(job["state"] == state)

        await until(is_so, timeout=60, what=f"a job that is {state}")

    async def measure(self, prefix: str, parts: list[list[float]]) -> None:
        for number in range(SECONDS // PART):
            mark = f"{prefix}-{number}"
            await self.producer.feed(self.event, RATE, PART, mark)
            wanted = {id for id in self.producer.accepted() if id.startswith(f"{mark}-")}
            got = await arrivals(self.receiver, "/healthy", wanted)
            parts.append([(got[id] - self.producer.answers[id].at) * 1000 for id in wanted])

    def report(self) -> None:
        alone, beside = (
            statistics.median(quantile(sorted(part), 0.95) for part in of) for of in (self.alone, self.beside)
        )
        sent = [occurrence(request) for request in self.receiver.got("/missed")]
        refused = len(self.producer.answers) - len(self.producer.accepted())
        print(f"  p95 alone {alone:.1f} ms, beside the job {beside:.1f} ms: {beside / alone:.2f} of alone (bar: {BAR})")
        print(f"  replayed {len(sent)}, of these twice {len(sent) - len({*sent})}; refused publications {refused}\n")
