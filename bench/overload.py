"""More is published than the machine can deliver. Is what was accepted delivered, once, and does the rate hold?"""

import asyncio
import tempfile
import time
from pathlib import Path

from bench.database import running
from bench.figures import occurrence, quantile, settle
from bench.producer import Producer
from webhooks.testing.receiver import Receiver

SECONDS = 60
TIMES = 4


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with Receiver().serving() as receiver, running(Path(folder)) as platform:
            event = await platform.event()
            await platform.webhook(event, receiver.url("/overload"))
            producer = Producer(platform)
            await producer.feed(event, 10, 2, "warm")
            most = await busiest(producer, receiver, event)
            before, answered = len(receiver.got("/overload")), len(producer.answers)
            started = time.monotonic()
            await producer.feed(event, TIMES * most, SECONDS, "offered")
            rate = (len(receiver.got("/overload")) - before) / (time.monotonic() - started)
            accepted = producer.accepted()
            await receiver.wait_for("/overload", len(accepted), timeout=120)
            await settle(receiver, "/overload")
            ids = [occurrence(request) for request in receiver.got("/overload")]
            refusals = sorted(one.seconds * 1000 for one in producer.answers.values() if one.status == 503)
            print(f"{TIMES} times what the machine carries, for {SECONDS} s:")
            print(f"  carried {most:.0f}/s before, {rate:.0f}/s under overload: {rate / most:.2f} of it (bar: 0.8)")
            print(
                f"  offered {len(producer.answers) - answered}, refused {len(refusals)} in p50 "
                f"{quantile(refusals, 0.5):.1f} ms, p95 {quantile(refusals, 0.95):.1f} ms (bar: 50 ms)"
            )
            print(f"  accepted {len(accepted)}, lost {len(accepted - set(ids))}, twice {len(ids) - len(set(ids))}\n")
            await producer.close()


async def busiest(producer: Producer, receiver: Receiver, event: str) -> float:
    """Return the deliveries per second while forty publications are always on their way."""
    numbers, end = iter(range(1_000_000)), time.monotonic() + 15

    async def publish() -> None:
        while time.monotonic() < end:
            await producer.publish(event, f"busy-{(n := next(numbers))}")
            if producer.answers[f"busy-{n}"].status != 202:
                await asyncio.sleep(0.1)

    before, started = len(receiver.got("/overload")), time.monotonic()
    await asyncio.gather(*(publish() for _ in range(40)))
    return (len(receiver.got("/overload")) - before) / (time.monotonic() - started)
