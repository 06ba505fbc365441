"""A producer in a process of its own: `python -m bench.publishing PORT KEY`."""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

from bench.producer import ACCEPTED, Producer
from bench.remote import serve
from webhooks.testing.platform_process import PlatformProcess


async def main(port: int, key: str) -> None:
    producer = Producer(PlatformProcess(Path(), key=key, ports=(port, 0, 0)))  # it runs already

    async def burst(event: str, number: int, concurrent: int) -> list[str]:
        """Publish so many occurrences, each until it is accepted. Return their ids."""
        left = iter(range(number))

        async def publish() -> list[str]:
            return [await producer.insist(event) for _ in left]

        return [id for ids in await asyncio.gather(*(publish() for _ in range(concurrent))) for id in ids]

    async def load(event: str, seconds: float, concurrent: int) -> list[str]:
        """Publish as fast as it is accepted. Return the ids."""
        end = time.monotonic() + seconds

        async def publish() -> list[str]:
            ids = []
            while time.monotonic() < end:
                ids.append(await producer.insist(event))
            return ids

        return [id for ids in await asyncio.gather(*(publish() for _ in range(concurrent))) for id in ids]

    async def feed(event: str, rate: float, seconds: float, prefix: str) -> dict[str, Any]:
        """Publish at a fixed rate. Return, by id, when each was published in seconds of the monotonic clock, and how
        long the answer took; only those that were accepted."""
        await producer.feed(event, rate, seconds, prefix)
        answers = {id: answer for id, answer in producer.answers.items() if id.startswith(prefix)}
        return {id: (answer.at, answer.seconds) for id, answer in answers.items() if answer.status == ACCEPTED}

    await serve({"burst": burst, "load": load, "feed": feed})
    await producer.close()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
