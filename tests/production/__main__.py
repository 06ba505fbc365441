"""`make test-production`: what compose starts, under load; one of each is killed, and nothing may be lost."""

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.checker import Verdict
from tests.faults.drill import Drill
from tests.production.topology import Production
from tests.support.postgresql import MISSING
from tests.support.postgresql import programs as postgresql_programs
from webhooks.temporal.dev_binary import NoTemporalError
from webhooks.testing.platform_process import until

_RATE = 10
"""Occurrences a second: what two cores carry with all that is on them, and catch up with after each fault."""
_UNDISTURBED, _DOWN = 5.0, 3.0
_STARTED = time.monotonic()


def say(line: str) -> None:
    print(f"{time.monotonic() - _STARTED:7.1f} s  {line}", flush=True)


async def main(folder: Path) -> Verdict:
    production = Production(folder / "platform", say)
    drill = Drill(folder)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(production.close)
        (folder / "platform").mkdir()
        await production.start()
        await stack.enter_async_context(drill.receiving())
        async with drill.load(production.apis, rate=_RATE):
            say(f"publishing {_RATE} a second to both api in turn")
            await asyncio.sleep(_UNDISTURBED)
            await _break(drill, production)
            await asyncio.sleep(_UNDISTURBED)
        say("published and delivered")
        return await drill.verdict(production.apis[0])


async def _break(drill: Drill, production: Production) -> None:
    """One of each, one after the other, each down for a while and started again. Until Temporal and its database serve
    again, no worker can record what it has sent."""
    worker, api = production.workers[0], production.apis[1]
    async with drill.exposed():
        await worker.kill()
    say("kill -9 of a worker")
    await asyncio.sleep(_DOWN)
    await worker.spawn()
    await drill.in_flight()
    await api.kill()
    say("kill -9 of an api")
    await asyncio.sleep(_DOWN)
    await api.spawn()
    await _delivering(drill)
    async with drill.exposed():
        await production.temporal.kill()
        say("kill -9 of the Temporal server")
        await asyncio.sleep(_DOWN)
        await production.temporal.spawn()
        await _delivering(drill)
    async with drill.exposed():
        await asyncio.to_thread(production.postgresql.crash)
        say("PostgreSQL stopped without a checkpoint")
        await asyncio.sleep(_DOWN)
        await asyncio.to_thread(production.postgresql.start)
        await _delivering(drill)


async def _delivering(drill: Drill) -> None:
    """Returns once it has been going on for a while."""
    seen, since = len(drill.arrived()), time.monotonic()

    async def arriving() -> bool:
        return len(drill.arrived()) > seen + 5 * _RATE

    await until(arriving, timeout=120, what="deliveries")
    say(f"deliveries flow again, {time.monotonic() - since:.1f} s later")


def report(verdict: Verdict) -> None:
    say(
        f"accepted {verdict.accepted}, delivered {verdict.delivered}, lost {verdict.lost}, twice {verdict.twice}, "
        f"longest {verdict.longest:.1f} s"
    )
    for line in verdict.broken[:20]:
        print(f"  {line}")


if __name__ == "__main__":
    if postgresql_programs() is None:
        sys.exit(MISSING)
    folder = Path(tempfile.mkdtemp(prefix="production-"))
    print(f"{os.cpu_count()} cores for everything, receiver and producer included", flush=True)
    try:
        verdict = asyncio.run(main(folder))
    except NoTemporalError as error:
        sys.exit(str(error))
    report(verdict)
    if verdict.broken:
        sys.exit(f"{len(verdict.broken)} rules broken; see {folder}")
    shutil.rmtree(folder)
