"""Publish-to-first-byte, and our rate against an empty workflow's on the same server in the same run."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from temporalio.client import Client
from temporalio.worker import Worker

from bench.database import running
from bench.empty_workflow import EmptyWorkflow
from bench.figures import loss, occurrence, quantile, settle
from bench.producer import Producer
from demo.platform_process import PlatformProcess
from demo.receiver import Receiver
from webhooks.addresses import parse_networks
from webhooks.contracts import Occurrence
from webhooks.egress import Egress
from webhooks.lanes import Lanes
from webhooks.matching import Match
from webhooks.publishing import publish
from webhooks.sender import Sender
from webhooks.settings import Settings
from webhooks.store.database import Database
from webhooks.vault import Vault
from worker import WORKFLOW_RUNNER, create_worker

RATE = 20
"""Occurrences a second, for the latency."""
SECONDS = 30
BURST = 400
AT_ONCE = 50
ROUNDS = 3

Once = Callable[[int], Awaitable[object]]


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with Receiver().serving() as receiver, running(Path(folder)) as platform:
            await latency(platform, receiver)
            await rates(platform, receiver)


async def latency(platform: PlatformProcess, receiver: Receiver) -> None:
    """Open loop: an occurrence is published when its time has come, whether or not the last one has arrived."""
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


async def rates(platform: PlatformProcess, receiver: Receiver) -> None:
    """Three ways to finish BURST workflows, AT_ONCE at a time, in turn: the machine's speed drifts, ratios do not."""
    event = await platform.event()
    webhook = await platform.webhook(event, receiver.url("/rate"))
    client, producer = await platform.temporal(), Producer(platform)
    ids: set[str] = set()

    async def through_api(n: int) -> None:
        ids.add(id := f"api-{uuid4().hex}")
        await producer.publish(event, id)
        while producer.answers[id].status != 202:
            await asyncio.sleep(0.1)
            await producer.publish(event, id)

    async with Engine(client, platform, event, webhook["id"]) as (empty, deliver):
        ways: dict[str, Once] = {
            "empty workflow": empty,
            "delivery, same process": deliver,
            "through the API": through_api,
        }
        results: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, once in ways.items():
                before = len(receiver.got("/rate"))
                started = time.monotonic()
                await in_parallel(once)
                if name != "empty workflow":
                    await receiver.wait_for("/rate", before + BURST)
                results[name].append(BURST / (time.monotonic() - started))
                await settle(receiver, "/rate")
    await producer.close()
    print(f"rate, {AT_ONCE} at once, {ROUNDS} rounds of {BURST} in turn (median of the rounds):")
    for name, measured in results.items():
        ratios = [ours / theirs for ours, theirs in zip(measured, results["empty workflow"], strict=True)]
        print(
            f"  {name:<24} {statistics.median(measured):6.0f}/s   {statistics.median(ratios):.2f} of an empty workflow"
        )
    print(f"  through the API: {loss(receiver, '/rate', ids)}")


class Engine:
    """The platform's worker and a worker for the empty workflow, in this process, on the platform's server."""

    def __init__(self, client: Client, platform: PlatformProcess, event: str, webhook_id: str) -> None:
        self._client, self._event, self._webhook_id = client, event, webhook_id
        ours = Settings(data_dir=platform.data_dir, task_queue="bench")
        self._database, self._egress = Database.of(ours), Egress(parse_networks("127.0.0.0/8"))
        self._sender = Sender(self._database, Vault.of(ours), self._egress)
        self._ours = create_worker(client, ours, self._sender, Lanes())
        self._empty = Worker(
            client,
            task_queue="bench-empty",
            workflows=[EmptyWorkflow],
            workflow_runner=WORKFLOW_RUNNER,
            max_concurrent_workflow_tasks=200,
        )

    async def __aenter__(self) -> tuple[Once, Once]:
        await self._ours.__aenter__()
        await self._empty.__aenter__()
        return self._run_empty, self._run_delivery

    async def __aexit__(self, *error: object) -> None:
        await self._empty.__aexit__(None, None, None)
        await self._ours.__aexit__(None, None, None)
        await self._sender.close()
        await self._egress.close()
        await self._database.close()

    async def _run_empty(self, n: int) -> None:
        await self._client.execute_workflow(
            EmptyWorkflow.run, id=uuid4().hex, task_queue="bench-empty", request_eager_start=True
        )

    async def _run_delivery(self, n: int) -> None:
        occurrence = Occurrence(id=f"engine-{uuid4().hex}", event=self._event, occurred_at=datetime.now(UTC), data={})
        [started] = await publish(
            self._client,
            tenant="default",
            occurrence=occurrence,
            matches=[Match(self._webhook_id, "")],
            unmatched="",
            resend_window=60,
            task_queue="bench",
        )
        await self._client.get_workflow_handle(f"default/{started.delivery_id}").result()


async def in_parallel(once: Once) -> None:
    numbers = iter(range(BURST))

    async def worker() -> None:
        for n in numbers:
            await once(n)

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
