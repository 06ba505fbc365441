"""How much does one webhook with a failing receiver slow another webhook, and one tenant that floods another tenant?

The figure is a ratio of two p95 from publication to arrival at a healthy receiver: beside a failing one, and alone or
beside a second healthy one. Each p95 is the median of the p95 of every six seconds, because the disk of a shared
machine sometimes stops for a second, whatever runs on it.
"""

import asyncio
import contextlib
import itertools
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.figures import occurrence, quantile
from bench.producer import Producer
from bench.rate import BURST, publishing_to, scene
from webhooks.testing.platform_process import PlatformProcess, free_port
from webhooks.testing.receiver import Receiver, Reply

SECONDS, PART = 30, 6
_TENANTS = 9
"""Each tenant may publish a ninth of what the machine carries: 12/s where it carries 108/s. Without a limit, a flood
takes the whole machine; and where the permitted rates add up to all of it, they already move each other."""
BAR = 1.5


async def late() -> None:
    await asyncio.sleep(14)


TROUBLES: dict[str, Callable[[], Reply | int]] = {
    "never answers": lambda: Reply(200, before=asyncio.Event().wait),
    "answers 503 after 14 s": lambda: Reply(503, before=late),
    "drips a byte a second": lambda: Reply(200, drip=1),
    "hangs up": lambda: Reply(raw=b""),
}


@dataclass(frozen=True)
class Load:
    """Occurrences per second for the healthy webhook and for the other one, and what the other one's receiver does."""

    healthy: float
    other: float
    trouble: str | None
    tenant_rate: int | None = None
    """If set, the other webhook is another tenant's, and each tenant may publish so much (WEBHOOKS_PUBLISH_RATE)."""


async def main() -> None:
    print(f"a healthy webhook's publish to first byte beside a troubled one, {SECONDS} s each:")
    alone = await show(Load(10, 0, None))
    for trouble in (None, *TROUBLES, "refuses"):  # None: so much comes from the traffic alone
        await show(Load(10, 20, trouble), alone)
    beside = await show(Load(25, 50, None))
    await show(Load(25, 50, "never answers"), beside)
    print(f"a tenant's publish to first byte beside another tenant that floods, {SECONDS} s each:")
    carried = await capacity()
    permitted = max(1, round(carried / _TENANTS))
    healthy = permitted * 5 / 6
    print(f"  the machine carries {carried:.0f}/s now, so {permitted}/s are permitted")
    calm = await show(Load(healthy, 0, None, permitted))
    for other in (permitted, 200):
        await show(Load(healthy, other, None, permitted), calm)


async def capacity() -> float:
    """Return how many occurrences per second are delivered to one webhook if they come all at once."""
    with tempfile.TemporaryDirectory() as folder:
        async with scene(Path(folder)) as one:
            start = time.monotonic()
            await one.deliver(one.producer)
            return BURST / (time.monotonic() - start)


async def show(load: Load, baseline: float = 0) -> float:
    """Print a line, and return the p95 in milliseconds."""
    waits, refused, tried = await measure(load)
    p95 = statistics.median(quantile(sorted(part), 0.95) for part in waits)
    p50, worst = (quantile(sorted(itertools.chain(*waits)), share) for share in (0.5, 0.95))
    other = (
        f"beside {load.other:.0f}/s" + (f" to one that {load.trouble}" if load.trouble else "") if load.other else ""
    )
    ratio = f"   {p95 / baseline:.2f} of the p95 without trouble (bar: {BAR})" if baseline else ""
    print(
        f"  {load.healthy:g}/s {other:<42} p50 {p50:6.1f} ms   p95 {p95:6.1f} ms (of all {worst:.1f}){ratio}"
        f"   refused {refused}   requests to the other {tried}",
        flush=True,
    )
    return p95


async def measure(load: Load) -> tuple[list[list[float]], int, int]:
    """Return the milliseconds that the healthy webhook's occurrences took, for each PART seconds; the number of refused
    publications; and the number of requests that the other receiver got."""
    with tempfile.TemporaryDirectory() as folder:
        async with Receiver().serving() as receiver, contextlib.AsyncExitStack() as stack:
            rate = str(load.tenant_rate or "")  # an empty variable is not set
            platform = PlatformProcess(Path(folder), WEBHOOKS_PUBLISH_RATE=rate)
            stack.push_async_callback(platform.close)  # a clean end would wait for the hanging requests
            await platform.start()
            neighbour = platform
            if load.tenant_rate:
                made = await platform.post("/v1/tenants", {"id": "neighbour", "name": "Neighbour"}, expect=201)
                neighbour = await stack.enter_async_context(platform.called_with(made["administrator"]["key"]))
            healthy, other = await platform.event(), await neighbour.event()
            await platform.webhook(healthy, receiver.url("/healthy"))
            url = receiver.tell("/other", [TROUBLES[load.trouble]() if load.trouble in TROUBLES else 200])
            if load.trouble == "refuses":
                url = f"http://127.0.0.1:{free_port()}/"
            await neighbour.webhook(other, url, retry_policy={})
            # Another process publishes the other's: it must not disturb the clock of the healthy one's.
            producer, flood = Producer(platform), await stack.enter_async_context(publishing_to(neighbour))
            await producer.feed(healthy, load.healthy, 2, "warm")
            _, accepted = await asyncio.gather(
                producer.feed(healthy, load.healthy, SECONDS, "healthy"),
                flood.ask("feed", other, load.other, SECONDS, "other"),
            )
            wanted = {id for id in producer.accepted() if id.startswith("healthy")}
            got = await arrivals(receiver, "/healthy", wanted)
            parts = defaultdict(list)
            begun = min(producer.answers[id].at for id in wanted)
            for id in wanted:
                at = producer.answers[id].at
                parts[int((at - begun) // PART)].append((got[id] - at) * 1000)
            refused = len(producer.answers) - len(producer.accepted()) + int(load.other * SECONDS) - len(accepted)
            await producer.close()
            tried = len(receiver.got("/other"))
    return [part for part in parts.values() if len(part) > 1], refused, tried


async def arrivals(receiver: Receiver, path: str, wanted: set[str]) -> dict[str, float]:
    """Wait until all wanted occurrences have arrived, and return when each arrived first. Raises TimeoutError if 30 s
    pass without a request."""
    while True:
        requests = list(reversed(receiver.got(path)))
        got = {occurrence(request): request.at for request in requests}
        if wanted <= got.keys():
            return got
        await receiver.wait_for(path, len(requests) + 1)
