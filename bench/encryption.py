"""CPU time of a delivery with what Temporal stores encrypted, and clear: two platforms in turn, so that the ratio holds
while the speed of the machine drifts."""

import asyncio
import statistics
import tempfile
from pathlib import Path

from bench import cpu
from bench.database import running
from bench.figures import settle
from webhooks.testing.platform_process import Json, PlatformProcess
from webhooks.testing.receiver import Receiver

ROUNDS = 8
BURST = 120
_CONCURRENT = 20
_DATA: Json = {"order": {"id": 4711, "lines": [{"sku": f"sku-{n}", "quantity": n} for n in range(20)]}}
"""About a KiB."""


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with (
            Receiver().serving() as receiver,
            running(folder / "clear", WEBHOOKS_ENCRYPT_PAYLOADS="false") as clear,
            running(folder / "encrypted", WEBHOOKS_ENCRYPT_PAYLOADS="true") as encrypted,
        ):
            spent: dict[str, list[float]] = {"clear": [], "encrypted": []}
            events = {way: await _prepared(platform, receiver, way) for way, platform in _ways(clear, encrypted)}
            for number in range(ROUNDS + 1):  # the first one warms up
                for way, platform in _ways(clear, encrypted)[:: 1 if number % 2 else -1]:
                    each = await _round(platform, receiver, events[way], f"/{way}")
                    spent[way] += [each] if number else []
    ratios = [ours / theirs for ours, theirs in zip(spent["encrypted"], spent["clear"], strict=True)]
    print(f"CPU time of a delivery, {ROUNDS} rounds of {BURST} in turn (median of the rounds):")
    for way, measured in spent.items():
        print(f"  {way:<10} {statistics.median(measured) * 1000:5.2f} ms")
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"  encrypted / clear {middle:.3f}   half of the rounds between {low:.3f} and {high:.3f}\n")


def _ways(clear: PlatformProcess, encrypted: PlatformProcess) -> list[tuple[str, PlatformProcess]]:
    return [("clear", clear), ("encrypted", encrypted)]


async def _prepared(platform: PlatformProcess, receiver: Receiver, way: str) -> str:
    event = await platform.event()
    await platform.webhook(event, receiver.url(f"/{way}"))
    return event


async def _round(platform: PlatformProcess, receiver: Receiver, event: str, path: str) -> float:
    """Deliver BURST occurrences, and return the CPU seconds of each, Temporal's server included."""
    had, before = len(receiver.got(path)), sum(cpu.of(platform).values())
    numbers = iter(range(BURST))

    async def publish() -> None:
        for _ in numbers:
            await platform.publish(event, _DATA)

    await asyncio.gather(*(publish() for _ in range(_CONCURRENT)))
    await receiver.wait_for(path, had + BURST)
    await settle(receiver, path)
    return (sum(cpu.of(platform).values()) - before) / BURST
