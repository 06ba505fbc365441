"""Latency by step, rate, and CPU time of a delivery, each beside an empty workflow's on the same server.

Producer and empty workflow have processes of their own. Everything is measured in turn, in rounds: the speed of the
machine drifts, so ratios are taken within a round, and their median counts."""

import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from temporalio.client import Client

from bench import cpu, database, remote, steps
from bench.figures import loss, occurrence, quantile, settle
from bench.remote import Remote
from webhooks.ids import delivery_id, workflow_id
from webhooks.testing.platform_process import PlatformProcess
from webhooks.testing.receiver import Receiver

RATE = 10
"""Occurrences per second while the latency is measured, and as many yardsticks."""
SECONDS = 5
"""Of one round."""
BURST = 300
MAX_CONCURRENT = 50
ROUNDS = 7
EMPTY, DELIVERY, TRACED = "empty workflow", "delivery", "delivery, traced"


@dataclass(frozen=True)
class Scene:
    """A platform with one webhook, its receiver, and the processes that publish and run empty workflows."""

    platform: PlatformProcess
    receiver: Receiver
    event: str
    webhook_id: str
    producer: Remote
    yardstick: Remote
    path: str = "/bench"

    async def deliver(self, producer: Remote) -> None:
        """Publish a burst and wait until it has arrived."""
        before = len(self.receiver.got(self.path))
        await producer.ask("burst", self.event, BURST, MAX_CONCURRENT)
        await self.receiver.wait_for(self.path, before + BURST, timeout=120)

    def pid(self, way: str) -> int:
        """Return the process that works in this way, beside Temporal's server."""
        return self.yardstick.pid if way == EMPTY else self.platform.pid

    def spent(self, way: str) -> dict[str, float]:
        """Return the CPU seconds so far of the server, and of the process that works in this way."""
        return {cpu.SERVER: cpu.of_process(self.platform.temporal_pid), **cpu.of_threads(self.pid(way))}


@contextlib.asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    async with contextlib.AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(Receiver().serving())
        platform = await stack.enter_async_context(database.running(folder))
        event = await platform.event()
        webhook = await platform.webhook(event, receiver.url(Scene.path))
        producer = await stack.enter_async_context(publishing_to(platform))
        yardstick = await stack.enter_async_context(
            remote.running("bench.yardstick", f"127.0.0.1:{platform.temporal_port}")
        )
        one = Scene(platform, receiver, event, str(webhook["id"]), producer, yardstick)
        await one.deliver(producer)  # warms connections and caches
        await yardstick.ask("burst", BURST, MAX_CONCURRENT)
        yield one


def publishing_to(platform: PlatformProcess) -> contextlib.AbstractAsyncContextManager[Remote]:
    """Run a producer in a process of its own."""
    return remote.running("bench.publishing", str(platform.port), platform.key)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with scene(Path(folder)) as one:
            await latency(one)
            async with (
                database.traced(one.platform, one.receiver.url("")) as traced,
                publishing_to(traced) as producer,
            ):
                await rates(one, producer)


async def latency(one: Scene) -> None:
    """Publish at a fixed rate (an open loop), and print how long each step took, beside the yardsticks in the same
    seconds."""
    client = await one.platform.temporal()
    to_wall_clock = time.time() - time.monotonic()
    waits: list[float] = []
    starts: list[float] = []
    wholes: list[float] = []
    by_step: list[list[float]] = []
    ratios: list[float] = []
    published: set[str] = set()
    for number in range(ROUNDS + 1):
        prefix = f"latency-{number}-"
        answers, yardsticks = await asyncio.gather(
            one.producer.ask("feed", one.event, RATE, SECONDS, prefix), one.yardstick.ask("feed", RATE, SECONDS)
        )
        arrived = await _arrivals(one, set(answers))
        if not number:  # warms up
            continue
        published |= set(answers)
        round_waits = [arrived[id] - at for id, (at, _) in answers.items()]
        round_starts, round_wholes = zip(*yardsticks, strict=True)
        waits += round_waits
        starts += round_starts
        wholes += round_wholes
        ratios.append(statistics.median(round_waits) / statistics.median(round_starts))
        times = {
            workflow_id("default", delivery_id(id, one.webhook_id)): (to_wall_clock + at, to_wall_clock + arrived[id])
            for id, (at, _) in answers.items()
        }
        by_step += await _steps(client, times)
    print(f"publish to first byte at {RATE}/s, {ROUNDS} rounds of {SECONDS} s:")
    _print_times("whole", waits)
    for name, values in zip(steps.NAMES, zip(*by_step, strict=True), strict=True):
        _print_times(f"  {name}", values)
    print(f"beside it at {RATE}/s, on the same server:")
    _print_times("bare start call", starts)
    _print_times(EMPTY, wholes)
    print(f"  a delivery's p50 is {statistics.median(ratios):.2f} of a bare start call's (median of the rounds)")
    print(f"  {loss(one.receiver, one.path, published)}\n")


async def _arrivals(one: Scene, wanted: set[str]) -> dict[str, float]:
    while True:
        requests = one.receiver.got(one.path)
        arrived = {occurrence(request): request.at for request in reversed(requests)}
        if wanted <= arrived.keys():
            return arrived
        await one.receiver.wait_for(one.path, len(requests) + 1)


async def _steps(client: Client, times: dict[str, tuple[float, float]]) -> list[list[float]]:
    await asyncio.sleep(0.5)  # the last workflows complete
    return await steps.of_all(client, times)


def _print_times(name: str, seconds: list[float] | tuple[float, ...]) -> None:
    ordered = sorted(second * 1000 for second in seconds)
    print(f"  {name:<18} p50 {quantile(ordered, 0.5):6.1f} ms   p95 {quantile(ordered, 0.95):6.1f} ms")


async def rates(one: Scene, traced: Remote) -> None:
    """Finish BURST in each way in turn, MAX_CONCURRENT at a time. Print rate and CPU time."""
    rate: dict[str, list[float]] = {EMPTY: [], DELIVERY: [], TRACED: []}
    spent: dict[str, list[dict[str, float]]] = {EMPTY: [], DELIVERY: []}

    async def once(way: str) -> None:
        before, started = one.spent(way), time.monotonic()
        if way == EMPTY:
            await one.yardstick.ask("burst", BURST, MAX_CONCURRENT)
        else:
            await one.deliver(one.producer if way == DELIVERY else traced)
        rate[way].append(BURST / (time.monotonic() - started))
        await settle(one.receiver, one.path)
        after = one.spent(way)
        if way in spent:
            spent[way].append({part: (after[part] - before[part]) / BURST * 1000 for part in after})

    for number in range(ROUNDS):
        for way in list(rate)[:: 1 if number % 2 else -1]:
            await once(way)
    print(f"rate, {MAX_CONCURRENT} concurrent, {ROUNDS} rounds of {BURST} in turn (median of the rounds):")
    for way, measured in rate.items():
        ratios = [ours / theirs for ours, theirs in zip(measured, rate[EMPTY], strict=True)]
        print(f"  {way:<18} {statistics.median(measured):6.0f}/s   {statistics.median(ratios):.2f} of an {EMPTY}")
    print("CPU time in the same rounds, ms of each:")
    for way, rounds in spent.items():
        parts = {part: statistics.median(one[part] for one in rounds) for part in rounds[0]}
        ratio = statistics.median((one[cpu.PYTHON] + one[cpu.RUST]) / one[cpu.SERVER] for one in rounds)
        print(
            f"  {way:<18} Temporal's server {parts[cpu.SERVER]:5.1f}   Python {parts[cpu.PYTHON]:5.1f}   "
            f"SDK in Rust {parts[cpu.RUST]:5.1f}   Python and SDK {ratio:.2f} of the server"
        )
    print()
