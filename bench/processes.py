"""One process and two, and the embedded Temporal server on one core and on two: a platform for each, in turn, so that
the ratios hold while the speed of the machine drifts."""

import contextlib
import statistics
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bench import cpu, database
from bench.figures import loss, settle
from bench.rate import publishing_to
from bench.remote import Remote
from webhooks.testing.platform_process import PlatformProcess
from webhooks.testing.receiver import Receiver

ROUNDS = 5
BURST = 200
_CONCURRENT = 50
WAYS = {
    "1 process": ("1", "1"),
    "2 processes": ("2", "1"),
    "2 processes, server on 2 cores": ("2", "2"),
}
"""WEBHOOKS_PROCESSES, and the Temporal server's GOMAXPROCS. The first one is what the others are compared with."""


@dataclass(frozen=True)
class _Way:
    platform: PlatformProcess
    producer: Remote
    event: str
    path: str


@dataclass(frozen=True)
class _Round:
    """Deliveries per second, and CPU seconds of a delivery."""

    rate: float
    spent: Counter[str]

    @property
    def whole(self) -> float:
        return sum(self.spent.values())


async def main() -> None:
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        receiver = await stack.enter_async_context(Receiver().serving())
        ways: dict[str, _Way] = {}
        for number, (name, (processes, cores)) in enumerate(WAYS.items()):
            platform = await stack.enter_async_context(
                database.running(folder / str(number), WEBHOOKS_PROCESSES=processes, GOMAXPROCS=cores)
            )
            event = await platform.event()
            await platform.webhook(event, receiver.url(f"/{number}"))
            producer = await stack.enter_async_context(publishing_to(platform))
            ways[name] = _Way(platform, producer, event, f"/{number}")
        rounds: dict[str, list[_Round]] = {name: [] for name in ways}
        published: dict[str, set[str]] = {name: set() for name in ways}
        for number in range(ROUNDS + 1):
            for name in list(ways)[:: 1 if number % 2 else -1]:
                measured = await _measure(ways[name], receiver, published[name])
                if number:  # the first one warms up
                    rounds[name].append(measured)
        _show(rounds)
        for name, way in ways.items():
            print(f"  {name}: {loss(receiver, way.path, published[name])}")
        print()


async def _measure(way: _Way, receiver: Receiver, published: set[str]) -> _Round:
    had, before, started = len(receiver.got(way.path)), _spent(way.platform), time.monotonic()
    published |= set(await way.producer.ask("burst", way.event, BURST, _CONCURRENT))
    await receiver.wait_for(way.path, had + BURST, timeout=120)
    rate = BURST / (time.monotonic() - started)
    await settle(receiver, way.path)
    after = _spent(way.platform)
    return _Round(rate, Counter({part: (after[part] - before[part]) / BURST for part in after}))


def _spent(platform: PlatformProcess) -> Counter[str]:
    """Return the CPU seconds so far of the server, and of all processes that serve."""
    spent = Counter({cpu.SERVER: cpu.of_process(platform.temporal_pid)})
    for pid in platform.serving_pids:
        spent.update(cpu.of_threads(pid))
    return spent


def _show(rounds: dict[str, list[_Round]]) -> None:
    first = rounds[next(iter(rounds))]
    print(f"{_CONCURRENT} concurrent, {ROUNDS} rounds of {BURST} in turn (median of the rounds, and of their ratios):")
    for name, measured in rounds.items():
        pairs = list(zip(measured, first, strict=True))
        rate = statistics.median(ours.rate / theirs.rate for ours, theirs in pairs)
        whole = statistics.median(ours.whole / theirs.whole for ours, theirs in pairs)
        server, rust, python = (
            statistics.median(one.spent[part] for one in measured) * 1000 for part in (cpu.SERVER, cpu.RUST, cpu.PYTHON)
        )
        print(
            f"  {name:<31} {statistics.median(one.rate for one in measured):4.0f}/s {rate:5.2f}   "
            f"CPU time {whole:4.2f}: server {server:4.1f} ms, Python {python:4.1f}, SDK in Rust {rust:4.1f}"
        )
