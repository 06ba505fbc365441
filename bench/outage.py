"""One receiver does not answer for an hour, and 20,000 deliveries wait for it. How much slower is another webhook, what
does the waiting cost, and what happens when the receiver answers again?"""

import asyncio
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from temporalio.client import Client

from bench.figures import occurrence, quantile
from bench.producer import Producer
from webhooks.testing.platform_process import PlatformProcess
from webhooks.testing.receiver import Receiver, Reply

MINUTES = int(os.environ.get("BENCH_MINUTES", "60"))
WAITING = int(os.environ.get("BENCH_WAITING", "20000"))
PILING = 40
"""Occurrences per second for the silent receiver, until WAITING deliveries wait."""
SECONDS = 60
"""Duration of each measurement."""
SETTLE = 130
"""Seconds after which the first start delays have ended: they are two minutes at most."""
LINE_EVERY = 300
SAMPLE = 200
BACK_SECONDS = 180
BAR = 1.5


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with outage(Path(folder)) as scene:
            print(f"{WAITING} deliveries wait for a receiver that never answers, {MINUTES} minutes:", flush=True)
            alone = await scene.healthy(10, SECONDS, "alone")
            scene.say(f"10/s alone: p95 {alone:.1f} ms")
            await scene.pile_up()
            await asyncio.gather(scene.healthy(10, SETTLE, "settling"), scene.feed_silent(20, SETTLE))
            beside, _ = await asyncio.gather(scene.healthy(10, SECONDS, "beside"), scene.feed_silent(20, SECONDS))
            scene.say(f"10/s beside 20/s to it: p95 {beside:.1f} ms, {beside / alone:.2f} of alone (bar: {BAR})")
            await scene.hour()
            await scene.back(alone)


@contextlib.asynccontextmanager
async def outage(folder: Path) -> AsyncIterator["Outage"]:
    async with Receiver().serving() as receiver, contextlib.AsyncExitStack() as stack:
        platform = PlatformProcess(folder)
        stack.push_async_callback(platform.close)  # a clean end would wait for the hanging requests
        await platform.start()
        healthy, silent = await platform.event(), await platform.event()
        await platform.webhook(healthy, receiver.url("/healthy"))
        url = receiver.tell("/silent", [Reply(200, before=asyncio.Event().wait)])
        webhook = await platform.webhook(silent, url, retry_policy={"maximum_attempts": 100})
        producer = Producer(platform)
        await producer.feed(healthy, 10, 2, "warm")
        client = await platform.temporal()
        yield Outage(platform, receiver, producer, client, healthy, silent, webhook["id"])
        await producer.close()


@dataclass
class Used:
    """Files and memory of a process and its Temporal server, and the CPU seconds of both. Memory in bytes."""

    sockets: int
    memory: int
    temporal_memory: int
    cpu: float

    @classmethod
    def by(cls, pid: int) -> "Used":
        ours = psutil.Process(pid)
        [server] = ours.children()
        cpu = sum(sum(process.cpu_times()[:2]) for process in (ours, server))
        return cls(ours.num_fds(), ours.memory_info().rss, server.memory_info().rss, cpu)


@dataclass
class Outage:
    platform: PlatformProcess
    receiver: Receiver
    producer: Producer
    client: Client
    healthy_event: str
    silent_event: str
    webhook_id: str
    started: float = 0

    def __post_init__(self) -> None:
        self.started = time.monotonic()

    def say(self, line: str) -> None:
        print(f"  minute {(time.monotonic() - self.started) / 60:4.0f}  {line}", flush=True)

    async def healthy(self, rate: float, seconds: float, prefix: str) -> float:
        """Return the p95 in milliseconds from publication to arrival at the healthy receiver."""
        await self.producer.feed(self.healthy_event, rate, seconds, prefix)
        wanted = {id for id in self.producer.accepted() if id.startswith(f"{prefix}-")}
        got: dict[str, float] = {}
        while not wanted <= got.keys():  # a publication that was not accepted may still arrive
            requests = await self.receiver.wait_for("/healthy", len(got) + 1)
            got = {occurrence(request): request.at for request in reversed(requests)}
            await asyncio.sleep(0.1)
        return quantile(sorted((got[id] - self.producer.answers[id].at) * 1000 for id in wanted), 0.95)

    async def feed_silent(self, rate: float, seconds: float) -> None:
        await self.producer.feed(self.silent_event, rate, seconds, f"silent-{time.monotonic():.0f}")

    async def pile_up(self) -> None:
        while len(self._silent()) < WAITING:
            await asyncio.gather(self.feed_silent(PILING, 30), self.healthy(10, 30, f"piling-{time.monotonic():.0f}"))
        self.say(f"{len(self._silent())} accepted for it, {len(self.receiver.got('/silent'))} requests made")

    async def hour(self) -> None:
        """Print a line of what is used every few minutes, until MINUTES after the beginning."""
        some = sorted(self._silent())[:: max(1, len(self._silent()) // SAMPLE)]
        writes, since = await self._writes(some), time.monotonic()
        end = self.started + MINUTES * 60
        before = Used.by(self.platform.pid)
        while (left := end - time.monotonic()) > 1:
            seconds = min(left, LINE_EVERY)
            begun = time.monotonic()
            p95 = await self.healthy(5, seconds, f"hour-{begun:.0f}")
            now = Used.by(self.platform.pid)
            traffic = await self.platform.get(f"/v1/webhooks/{self.webhook_id}/traffic")
            cpu = (now.cpu - before.cpu) / (time.monotonic() - begun)
            self.say(
                f"healthy p95 {p95:6.1f} ms at 5/s   CPU {cpu:4.0%} of a core   memory {now.memory >> 20} MB, Temporal "
                f"{now.temporal_memory >> 20} MB   files {now.sockets}   in flight {traffic['in_flight']}, "
                f"waiting {traffic['waiting']}"
            )
            before = now
        later = await self._writes(some)
        hours = (time.monotonic() - since) / 3600
        each = statistics.mean(after - before for after, before in zip(later, writes, strict=True)) / hours
        self.say(
            f"10,000 waiting deliveries cost {each * 10_000:,.0f} writes an hour (measured on {len(some)} of them)"
        )

    async def back(self, alone: float) -> None:
        """Let the receiver answer again, and measure."""
        self.receiver.tell("/silent", [200])
        for _ in range(BACK_SECONDS // SECONDS):
            before = len(self.receiver.got("/silent"))
            p95 = await self.healthy(10, SECONDS, f"back-{time.monotonic():.0f}")
            rate = (len(self.receiver.got("/silent")) - before) / SECONDS
            self.say(f"it answers again: {rate:.1f}/s to it, healthy p95 {p95:.1f} ms, {p95 / alone:.2f} of alone")

    def _silent(self) -> set[str]:
        return {id for id in self.producer.accepted() if id.startswith("silent")}

    async def _writes(self, ids: list[str]) -> list[int]:
        """Return how often the state of each delivery has been written."""
        written = []
        for id in ids:
            handle = self.client.get_workflow_handle(f"default/{id}~{self.webhook_id}")
            written.append((await handle.describe()).raw_info.state_transition_count)
        return written
