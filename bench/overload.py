"""More is published than the machine can deliver. Is what was accepted delivered, once, and does the rate hold?

In closed loops, each publisher waits for its answer, and then publishes again without a pause, whatever the answer was.
They are measured in turn with one that pauses after a refusal, because the speed of the machine drifts."""

import statistics
import tempfile
import time
from pathlib import Path

from bench import cpu
from bench.database import running
from bench.figures import occurrence, quantile, settle
from bench.producer import Producer
from webhooks.testing.platform_process import PlatformProcess
from webhooks.testing.receiver import Receiver

SECONDS = 60
TIMES = 4
ROUNDS, LOOP_SECONDS = 5, 8
BEST = 40
LOOPS = {BEST: 0.1, 50: 0, 500: 0}
"""Publishers of a closed loop, and the seconds that each pauses after a refusal."""
BARS = {50: 0.95, 500: 0.9}


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with Receiver().serving() as receiver, running(Path(folder)) as platform:
            event = await platform.event()
            await platform.webhook(event, receiver.url("/overload"))
            producer = Producer(platform)
            await producer.feed(event, 10, 2, "warm")
            most = await loops(producer, receiver, platform, event)
            before = len(receiver.got("/overload"))
            started = time.monotonic()
            await producer.feed(event, TIMES * most, SECONDS, "offered")
            rate = (len(receiver.got("/overload")) - before) / (time.monotonic() - started)
            accepted = producer.accepted()
            await receiver.wait_for("/overload", len(accepted), timeout=120)
            await settle(receiver, "/overload")
            ids = [occurrence(request) for request in receiver.got("/overload")]
            offered = [answer for id, answer in producer.answers.items() if id.startswith("offered")]
            refusals = sorted(one.seconds * 1000 for one in offered if one.status == 503)
            print(f"{TIMES} times what the machine carries, for {SECONDS} s:")
            print(f"  carried {most:.0f}/s before, {rate:.0f}/s under overload: {rate / most:.2f} of it (bar: 0.8)")
            print(
                f"  offered {len(offered)}, refused {len(refusals)} in p50 {quantile(refusals, 0.5):.0f} ms, "
                f"p95 {quantile(refusals, 0.95):.0f} ms, waits and held answers included"
            )
            print(f"  accepted {len(accepted)}, lost {len(accepted - set(ids))}, twice {len(ids) - len(set(ids))}\n")
            await producer.close()


async def loops(producer: Producer, receiver: Receiver, platform: PlatformProcess, event: str) -> float:
    """Print what closed loops come to, and return the best rate: that of the one that pauses after a refusal."""
    rates: dict[int, list[float]] = {publishers: [] for publishers in LOOPS}
    costs: dict[int, list[float]] = {publishers: [] for publishers in LOOPS}
    refused = dict.fromkeys(LOOPS, 0)
    for _ in range(ROUNDS):
        for publishers, pause in LOOPS.items():
            before, started = len(receiver.got("/overload")), time.monotonic()
            spent, refusals = cpu.of_process(platform.pid), len(producer.answers) - len(producer.accepted())
            await producer.loop(event, publishers, LOOP_SECONDS, pause=pause)
            rates[publishers].append((len(receiver.got("/overload")) - before) / (time.monotonic() - started))
            await receiver.wait_for("/overload", len(producer.accepted()), timeout=60)
            costs[publishers].append((cpu.of_process(platform.pid) - spent) / (len(receiver.got("/overload")) - before))
            refused[publishers] += len(producer.answers) - len(producer.accepted()) - refusals
    print(f"closed loops without a pause, {ROUNDS} rounds of {LOOP_SECONDS} s beside {BEST} publishers that pause:")
    for publishers, measured in rates.items():
        ratios = [rate / best for rate, best in zip(measured, rates[BEST], strict=True)]
        times = [cost / best for cost, best in zip(costs[publishers], costs[BEST], strict=True)]
        bar = f" (bar: {BARS[publishers]})" if publishers in BARS else ""
        print(
            f"  {publishers:>3} publishers {statistics.median(measured):6.1f}/s   {statistics.median(ratios):.2f}{bar}"
            f"   refused {refused[publishers]}   CPU time of a delivery {statistics.median(times):.2f}"
        )
    return statistics.median(rates[BEST])
