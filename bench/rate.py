"""Time from publication to first byte, and our rate beside an empty workflow's on the same server."""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from bench import database
from bench.engine import Once, engine
from bench.figures import loss, occurrence, quantile, settle
from bench.producer import Producer
from webhooks.testing.platform_process import PlatformProcess
from webhooks.testing.receiver import Receiver

RATE = 20
"""Occurrences per second while the latency is measured."""
SECONDS = 30
BURST = 500
MAX_CONCURRENT = 50
ROUNDS = 7
EMPTY = "empty workflow"


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with Receiver().serving() as receiver, database.running(Path(folder)) as platform:
            await latency(platform, receiver)
            async with database.traced(platform, receiver.url("")) as traced:
                await rates(platform, traced, receiver)


async def latency(platform: PlatformProcess, receiver: Receiver) -> None:
    """Publish at a fixed rate (an open loop), and print how long each took to arrive."""
    event = await platform.event()
    await platform.webhook(event, receiver.url("/latency"))
    published: dict[str, float] = {}

    async def publish(n: int) -> None:
        id = f"latency-{n}"
        published[id] = time.monotonic()
        await platform.publish(event, {"n": n}, id=id)

    await asyncio.gather(*(publish(-n) for n in range(1, 21)))  # warm connections and caches
    await receiver.wait_for("/latency", 20)
    start, tasks = time.monotonic(), []
    for n in range(RATE * SECONDS):
        await asyncio.sleep(max(0.0, start + n / RATE - time.monotonic()))
        tasks.append(asyncio.create_task(publish(n)))
    await asyncio.gather(*tasks)
    await receiver.wait_for("/latency", len(published))
    await settle(receiver, "/latency")
    arrived = {occurrence(request): request.at for request in reversed(receiver.got("/latency"))}
    waits = sorted(
        (arrived[id] - at) * 1000 for id, at in published.items() if id in arrived and not id.startswith("latency--")
    )
    print(f"publish to first byte at {RATE}/s for {SECONDS} s:")
    print(f"  p50 {quantile(waits, 0.5):.1f} ms   p95 {quantile(waits, 0.95):.1f} ms   max {waits[-1]:.1f} ms")
    print(f"  {loss(receiver, '/latency', set(published))}\n")


async def rates(platform: PlatformProcess, traced: PlatformProcess, receiver: Receiver) -> None:
    """Finish BURST workflows in each way in turn, MAX_CONCURRENT at a time: ratios hold while the speed drifts."""
    event = await platform.event()
    webhook = await platform.webhook(event, receiver.url("/rate"))
    producers = Producer(platform), Producer(traced)
    async with engine(await platform.temporal(), platform, event, webhook["id"]) as (empty, deliver):
        ways: dict[str, Once] = {
            EMPTY: empty,
            "delivery, same process": deliver,
            "through the API": lambda _: producers[0].insist(event),
            "through the API, traced": lambda _: producers[1].insist(event),
        }
        results: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, once in ways.items():
                before = len(receiver.got("/rate"))
                started = time.monotonic()
                await in_parallel(once)
                if name != EMPTY:
                    await receiver.wait_for("/rate", before + BURST)
                results[name].append(BURST / (time.monotonic() - started))
                await settle(receiver, "/rate")
    print(f"rate, {MAX_CONCURRENT} concurrent, {ROUNDS} rounds of {BURST} in turn (median of the rounds):")
    for name, measured in results.items():
        ratios = [ours / theirs for ours, theirs in zip(measured, results[EMPTY], strict=True)]
        print(f"  {name:<24} {statistics.median(measured):6.0f}/s   {statistics.median(ratios):.2f} of an {EMPTY}")
    accepted = producers[0].accepted() | producers[1].accepted()
    print(f"  through the API, traced or not: {loss(receiver, '/rate', accepted)}\n")
    for producer in producers:
        await producer.close()


async def in_parallel(once: Once) -> None:
    numbers = iter(range(BURST))

    async def worker() -> None:
        for n in numbers:
            await once(n)

    await asyncio.gather(*(worker() for _ in range(MAX_CONCURRENT)))
