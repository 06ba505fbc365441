"""CPU time of a delivery by library while the machine is busy, beside that of an empty workflow.

While the CPU time is counted, py-spy samples from outside which thread holds the interpreter's lock. Time without the
lock, as in SQLite and in the system, is divided in the same shares."""

import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from bench import cpu
from bench.rate import DELIVERY, EMPTY, MAX_CONCURRENT, Scene, scene

SECONDS = 8
"""Of one round."""
ROUNDS = 3
_RATE = 100
"""Samples per second."""
_OURS = "our own code"
_LIBRARIES = {
    "Temporal's SDK": ("temporalio/", "google/protobuf/"),
    "API: FastAPI, uvicorn": ("fastapi/", "starlette/", "uvicorn/", "api/"),
    "HTTP client": ("httpx/", "httpcore/", "h11/", "anyio/", "webhooks/egress/"),
    "SQL: SQLAlchemy": ("sqlalchemy/", "sqlmodel/", "aiosqlite/", "asyncpg/", "webhooks/store/"),
    "log: structlog": ("structlog/", "logging/"),
    _OURS: ("webhooks/", "activities/", "workflows/"),
}
_LOOP = "(webhooks/process"
Stack = list[str]


async def main() -> None:
    spent: dict[str, Counter[str]] = {DELIVERY: Counter(), EMPTY: Counter()}
    stacks: dict[str, list[tuple[Stack, int]]] = {DELIVERY: [], EMPTY: []}
    done: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with scene(folder) as one:
            for number in range(ROUNDS):
                for way, seconds in spent.items():
                    before = one.spent(way)
                    looking = asyncio.create_task(look(one.pid(way), folder / f"{way}-{number}"))
                    done[way] += await _load(one, way)
                    after = one.spent(way)
                    seconds.update({part: after[part] - before[part] for part in after})
                    stacks[way] += await looking
    for way, seconds in spent.items():
        show(way, seconds, done[way], stacks[way])


async def _load(one: Scene, way: str) -> int:
    """Do as much as is possible for SECONDS. Return how many have come to their end."""
    if way == EMPTY:
        return int(await one.yardstick.ask("load", SECONDS, MAX_CONCURRENT))
    had = len(one.receiver.got(one.path))
    ids = await one.producer.ask("load", one.event, SECONDS, MAX_CONCURRENT)
    await one.receiver.wait_for(one.path, had + len(ids), timeout=60)
    return len(ids)


async def look(pid: int, file: Path) -> list[tuple[Stack, int]]:
    """Return stacks, outermost call first, with the number of samples of each. Empty if py-spy has no permission."""
    spying = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("py-spy")), "record", "--gil", "--nonblocking", "--format", "raw",
        "--duration", str(SECONDS), "--rate", str(_RATE), "--output", str(file), "--pid", str(pid),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    return [] if await spying.wait() else _read(file)


def _read(file: Path) -> list[tuple[Stack, int]]:
    lines = (line.rpartition(" ") for line in file.read_text().splitlines())
    # The process runs on while py-spy reads its memory, so a name may be torn, and with it a line.
    return [(stack.split(";"), int(times)) for stack, _, times in lines if times.isdigit()]


def library(stack: Stack) -> str:
    """Return the library that the time belongs to: that of the innermost call outside the standard library."""
    for call in reversed(stack):
        if _LOOP in call:
            break
        for name, folders in _LIBRARIES.items():
            if any(f"({folder}" in call for folder in folders):
                return name
    return "the event loop, others"


def show(way: str, spent: Counter[str], done: int, stacks: list[tuple[Stack, int]]) -> None:
    each = {part: seconds / done * 1000 for part, seconds in spent.items()}
    print(f"CPU time of one {way}, {done} of them in {ROUNDS} rounds of {SECONDS} s:")
    print(f"  {sum(each.values()):5.1f} ms")
    print(f"  {each[cpu.SERVER]:5.1f}    Temporal's server, its SQLite included")
    print(f"  {each[cpu.RUST]:5.1f}    Temporal's SDK, in Rust")
    print(f"  {each[cpu.PYTHON]:5.1f}    Python")
    if not stacks:
        print("          py-spy has no permission to sample here")
    for name, share in _shares(stacks):
        print(f"          {each[cpu.PYTHON] * share:4.1f}  {name}")
    print()


def _shares(stacks: list[tuple[Stack, int]]) -> Iterator[tuple[str, float]]:
    seen: Counter[str] = Counter()
    for stack, times in stacks:
        seen[library(stack)] += times
    for name, times in seen.most_common():
        yield name, times / seen.total()
