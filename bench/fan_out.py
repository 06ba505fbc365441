"""An occurrence for many webhooks: how long it takes until it is accepted, and until the last webhook has it. And how
much it slows a healthy webhook of another event.

The last figure is a ratio of two p95 from publication to arrival at the healthy receiver: while the deliveries to 1,000
webhooks are started, and while nothing else happens, in turn. Each is the median of the p95 of every six seconds, as in
`bench/isolation.py`.
"""

import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

from bench import database
from bench.figures import quantile
from bench.isolation import BAR, PART, arrivals
from bench.producer import Producer
from webhooks.testing.platform_process import PlatformProcess
from webhooks.testing.receiver import Receiver

COUNTS = (60, 1_000)
ROUNDS = 3
RATE = 10
"""Occurrences per second for the healthy webhook."""
PARTS = 3
"""Of each round, of PART seconds."""
LONGEST = 600


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with Receiver().serving() as receiver, database.running(Path(folder)) as platform:
            print(f"one occurrence for many webhooks ({ROUNDS} times, median):")
            events = {count: await crowd(platform, receiver, count) for count in COUNTS}
            for count, event in events.items():
                await until_all_have_it(platform, receiver, event, count)
            await beside(platform, receiver, events[COUNTS[-1]], COUNTS[-1])


async def crowd(platform: PlatformProcess, receiver: Receiver, count: int) -> str:
    event = await platform.event()
    for _ in range(count):
        await platform.webhook(event, receiver.url(f"/{count}"))
    return event


async def until_all_have_it(platform: PlatformProcess, receiver: Receiver, event: str, count: int) -> None:
    accepted, arrived = list[float](), list[float]()
    for number in range(ROUNDS):
        started = time.monotonic()
        await platform.publish(event, id=f"{count}-{number}")
        accepted.append(time.monotonic() - started)
        requests = await receiver.wait_for(f"/{count}", (number + 1) * count, LONGEST)
        arrived.append(requests[-1].at - started)
    times = Counter(request.headers["webhook-id"] for request in receiver.got(f"/{count}"))
    print(
        f"  {count:>5} webhooks: accepted in {statistics.median(accepted):.2f} s, all have it after "
        f"{statistics.median(arrived):.1f} s; lost {ROUNDS * count - len(times)}, doubled "
        f"{sum(number > 1 for number in times.values())}",
        flush=True,
    )


async def beside(platform: PlatformProcess, receiver: Receiver, many: str, count: int) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.url("/healthy"))
    producer = Producer(platform)
    await producer.feed(event, RATE, 2, "warm")
    alone, busy = list[list[float]](), list[list[float]]()
    for number in range(ROUNDS):
        await measure(producer, receiver, event, f"alone{number}", alone)
        before = len(receiver.got(f"/{count}"))
        await platform.publish(many, id=f"beside-{number}")
        await measure(producer, receiver, event, f"beside{number}", busy)
        await receiver.wait_for(f"/{count}", before + count, LONGEST)
    p95 = [statistics.median(quantile(sorted(part), 0.95) for part in parts) for parts in (alone, busy)]
    print(
        f"  {RATE}/s to a healthy one: p95 {p95[0]:.1f} ms alone, {p95[1]:.1f} ms while {count} are started: "
        f"{p95[1] / p95[0]:.2f} (bar: {BAR})"
    )
    await producer.close()


async def measure(producer: Producer, receiver: Receiver, event: str, prefix: str, parts: list[list[float]]) -> None:
    for number in range(PARTS):
        mark = f"{prefix}-{number}"
        await producer.feed(event, RATE, PART, mark)
        wanted = {id for id in producer.accepted() if id.startswith(f"{mark}-")}
        got = await arrivals(receiver, "/healthy", wanted)
        parts.append([(got[id] - producer.answers[id].at) * 1000 for id in wanted])
