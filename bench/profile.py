"""CPU time of a delivery while the machine is busy: by process, and in Python by library.

First the CPU time is counted. Then py-spy samples from outside which thread holds the interpreter's lock. Time without
the lock, as in SQLite and in the system, is divided in the same shares.
"""

import asyncio
import contextlib
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil

from bench.database import running
from bench.producer import Producer
from bench.rate import MAX_CONCURRENT
from webhooks.testing.platform_process import PlatformProcess
from webhooks.testing.receiver import Receiver

SECONDS = 20
_RATE = 100
"""Samples per second."""
_RUST = ("tokio", "workflow-proces", "temporal-")
"""Prefixes of the names of threads that belong to Temporal's SDK."""
_OURS = "our own code"
_LIBRARIES = {
    "Temporal's SDK": ("temporalio/", "google/protobuf/"),
    "API: FastAPI, uvicorn": ("fastapi/", "starlette/", "uvicorn/", "api/"),
    "HTTP client: httpx": (
        "httpx/",
        "httpcore/",
        "h11/",
        "anyio/",
        "webhooks/egress/",
    ),
    "SQL: SQLAlchemy": ("sqlalchemy/", "sqlmodel/", "aiosqlite/", "asyncpg/", "webhooks/store/"),
    _OURS: ("webhooks/", "activities/", "workflows/"),
}
_LOOP = "(webhooks/process"
Stack = list[str]


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with Receiver().serving() as receiver, running(folder) as platform:
            event = await platform.event()
            await platform.webhook(event, receiver.url("/profile"))
            producer = Producer(platform)
            loading = asyncio.create_task(load(producer, event))
            await asyncio.sleep(5)
            spent, delivered = await count(platform, receiver)
            stacks = await look(platform, folder / "stacks")
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
            await receiver.wait_for("/profile", len(producer.accepted()))
            await producer.close()
    show(spent, delivered, stacks)


async def load(producer: Producer, event: str) -> None:
    async def publish() -> None:
        while True:
            await producer.insist(event)

    await asyncio.gather(*(publish() for _ in range(MAX_CONCURRENT)))


async def count(platform: PlatformProcess, receiver: Receiver) -> tuple[dict[str, float], int]:
    """Return the CPU seconds of the server, the interpreter and the SDK's own threads, and the number of deliveries."""
    before, had = cpu(platform), len(receiver.got("/profile"))
    await asyncio.sleep(SECONDS)
    after, has = cpu(platform), len(receiver.got("/profile"))
    return {part: after[part] - before[part] for part in after}, has - had


def cpu(platform: PlatformProcess) -> dict[str, float]:
    """Return the CPU seconds so far of the server, the interpreter and the SDK's own threads."""
    threads = {True: 0.0, False: 0.0}
    for thread in psutil.Process(platform.pid).threads():
        with contextlib.suppress(FileNotFoundError):  # it has ended
            name = Path(f"/proc/{platform.pid}/task/{thread.id}/comm").read_text()
            threads[name.startswith(_RUST)] += thread.user_time + thread.system_time
    server = psutil.Process(platform.temporal_pid).cpu_times()
    return {"server": server.user + server.system, "rust": threads[True], "python": threads[False]}


async def look(platform: PlatformProcess, file: Path) -> list[tuple[Stack, int]]:
    """Return stacks, outermost call first, with the number of samples of each. Empty if py-spy has no permission."""
    spying = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("py-spy")), "record", "--gil", "--nonblocking", "--format", "raw",
        "--duration", str(SECONDS), "--rate", str(_RATE), "--output", str(file), "--pid", str(platform.pid),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    if await spying.wait():
        return []
    return _read(file)


def _read(file: Path) -> list[tuple[Stack, int]]:
    lines = (line.rpartition(" ") for line in file.read_text().splitlines())
    return [(stack.split(";"), int(times)) for stack, _, times in lines]


def library(stack: Stack) -> str:
    """Return the library that the time belongs to: that of the innermost call outside the standard library."""
    for call in reversed(stack):
        if _LOOP in call:
            break
        for name, folders in _LIBRARIES.items():
            if any(f"({folder}" in call for folder in folders):
                return name
    return "the event loop, others"


def show(spent: dict[str, float], delivered: int, stacks: list[tuple[Stack, int]]) -> None:
    each = {part: seconds / delivered * 1000 for part, seconds in spent.items()}
    print(f"CPU time of a delivery, {delivered / SECONDS:.0f}/s through the API for {SECONDS} s:")
    print(f"  {sum(each.values()):5.1f} ms")
    print(f"  {each['server']:5.1f}    Temporal's server, its SQLite included")
    print(f"  {each['rust']:5.1f}    Temporal's SDK, in Rust")
    print(f"  {each['python']:5.1f}    Python")
    if not stacks:
        print("          py-spy has no permission to sample here")
    for name, share in _shares(stacks):
        print(f"          {each['python'] * share:4.1f}  {name}")
    print()


def _shares(stacks: list[tuple[Stack, int]]) -> Iterator[tuple[str, float]]:
    seen: Counter[str] = Counter()
    for stack, times in stacks:
        seen[library(stack)] += times
    for name, times in seen.most_common():
        yield name, times / seen.total()
