"""The yardsticks, in a process of their own: an empty workflow, the least that Temporal can do durably, and a bare call
that starts one. `python -m bench.yardstick HOST:PORT` runs client and worker, so that starts are eager."""

import asyncio
import sys
import time
from uuid import uuid4

import uvloop
from temporalio import workflow
from temporalio.client import Client
from temporalio.service import GrpcCompression
from temporalio.worker import PollerBehaviorAutoscaling, Worker

from bench.remote import serve
from webhooks import process
from worker import ON_THE_EVENT_LOOP, WORKFLOW_RUNNER

_QUEUE = "bench-empty"


@workflow.defn
class EmptyWorkflow:
    @workflow.run
    async def run(self) -> None:
        """Complete immediately."""


async def main(target: str) -> None:
    client = await Client.connect(target, grpc_compression=GrpcCompression.NONE)

    async def once() -> tuple[float, float]:
        """Run one, and return how many seconds the call that starts it took, and the whole."""
        begun = time.monotonic()
        handle = await client.start_workflow(
            EmptyWorkflow.run, id=uuid4().hex, task_queue=_QUEUE, request_eager_start=True
        )
        started = time.monotonic()
        await handle.result()
        return started - begun, time.monotonic() - begun

    async def burst(number: int, concurrent: int) -> None:
        left = iter(range(number))

        async def some() -> None:
            for _ in left:
                await once()

        await asyncio.gather(*(some() for _ in range(concurrent)))

    async def load(seconds: float, concurrent: int) -> int:
        """Run one after the other. Return how many."""
        end, done = time.monotonic() + seconds, 0

        async def some() -> None:
            nonlocal done
            while time.monotonic() < end:
                await once()
                done += 1

        await asyncio.gather(*(some() for _ in range(concurrent)))
        return done

    async def feed(rate: float, seconds: float) -> list[tuple[float, float]]:
        """Begin one at a fixed rate, and return what `once` returns of each."""
        start, running = time.monotonic(), []
        for n in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, start + n / rate - time.monotonic()))
            running.append(asyncio.create_task(once()))
        return list(await asyncio.gather(*running))

    process.tune_gc()  # as in the platform's processes
    async with Worker(
        client,
        task_queue=_QUEUE,
        workflows=[EmptyWorkflow],
        workflow_runner=WORKFLOW_RUNNER,
        debug_mode=ON_THE_EVENT_LOOP,
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(),
        max_concurrent_workflow_tasks=200,
    ):
        await serve({"burst": burst, "load": load, "feed": feed})


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
