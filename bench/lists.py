"""How fast are the monitor's lists, with many deliveries?

Some deliveries are real. The others are copies of their rows in the database of Temporal's visibility, with earlier
times: so they are found and counted, and the newest ones have a history.
"""

import asyncio
import contextlib
import itertools
import json
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import psutil
from temporalio.client import Client

from bench.figures import quantile
from webhooks.testing import platform_process
from webhooks.testing.platform_process import PlatformProcess
from webhooks.testing.receiver import Receiver

_REAL, _ALL = 150, 20_000
_ROUNDS = 30
_LOOKING_SECONDS = 60
_ROWS_SECONDS, _QUIET_SECONDS, _QUIET_AFTER, _FIGURES_SECONDS = 2.5, 8, 5, 10
"""How often an open page asks for its rows, at first and after some answers without a change; and for its figures, as
in monitor.js and the templates."""


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with Receiver().serving() as receiver, platform_process.running(folder) as platform:
            event = await platform.event()
            await platform.webhook(event, receiver.url("/"))
            for n in range(_REAL):
                await platform.publish(event, id=f"listed-{n}")
            await receiver.wait_for("/", _REAL)
            await _recorded(platform)
        await asyncio.to_thread(_copy_rows, folder / "temporal.db")
        first = []
        for _ in range(3):  # what is kept in memory ends with the process
            async with platform_process.running(folder) as platform:
                assert (await platform.get("/v1/statistics", window="24h"))["delivered"] > _ALL - 2 * _REAL
                first.append(await milliseconds(lambda: platform.get("/v1/deliveries", limit=50)))
                if len(first) == 3:
                    await _measure(platform, sorted(first))


async def _measure(platform: PlatformProcess, first: list[float]) -> None:
    print(f"{_ALL:,} deliveries; milliseconds, with the client's part:")
    print(
        f"  first page of 50, no history read before   median {first[1]:6.1f}   of 3: {first[0]:.1f} to {first[2]:.1f}"
    )
    page = await signed_in(platform)
    for what, call in (
        ("GET /v1/deliveries, the same page again", lambda: platform.get("/v1/deliveries", limit=50)),
        ("page Sent", lambda: page.get("/sent")),
        ("its rows, as the page asks for them", lambda: page.get("/sent", headers={"HX-Request": "true"})),
        ("its figures, up to 2 s old", lambda: page.get("/sent/figures")),
        ("GET /v1/deliveries?status=failed: none", lambda: platform.get("/v1/deliveries", status="failed")),
    ):
        took = sorted([await milliseconds(call) for _ in range(_ROUNDS)])
        print(f"  {what:<42} median {quantile(took, 0.5):6.1f}   p95 {quantile(took, 0.95):6.1f}")
    ours, server = psutil.Process(platform.pid), psutil.Process(platform.temporal_pid)
    idle = await _core_share(ours, server, asyncio.sleep(_LOOKING_SECONDS))
    open_page = await _core_share(ours, server, _look(page))
    print(f"  one open page: {100 * (open_page - idle):.2f} % of a core (idle: {100 * idle:.2f} %)")
    await page.aclose()


async def _recorded(platform: PlatformProcess) -> None:
    """Wait until Temporal's visibility has all real deliveries as delivered."""
    temporal: Client = await platform.temporal()
    ended = "WorkflowType = 'DeliverWebhook' AND ExecutionStatus = 'Completed'"

    async def all_ended() -> bool:
        return (await temporal.count_workflows(ended)).count == _REAL

    await platform_process.until(all_ended, timeout=30, what="visibility")


def _copy_rows(database: Path) -> None:
    """Copy the rows until there are _ALL, each copy of all of them older than the one before, up to a day."""
    copies = _ALL // _REAL
    with sqlite3.connect(database) as connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(executions_visibility)")]
        of_deliveries = "workflow_type_name = 'DeliverWebhook'"
        one = connection.execute(
            f"SELECT search_attributes FROM executions_visibility WHERE {of_deliveries}"
        ).fetchone()
        created_at = next(name for name in json.loads(one[0]) if name.startswith("Datetime"))
        sooner = "'-' || (?1 * ?2) || ' seconds'"
        changed = {
            "run_id": "lower(hex(randomblob(16)))",
            "workflow_id": "workflow_id || '-' || ?1",
            "start_time": f"strftime('%Y-%m-%d %H:%M:%f+00:00', start_time, {sooner})",
            "close_time": f"strftime('%Y-%m-%d %H:%M:%f+00:00', close_time, {sooner})",
            "search_attributes": f"json_set(search_attributes, '$.{created_at}',"
            f" strftime('%Y-%m-%dT%H:%M:%fZ', {created_at}, {sooner}))",
        }
        connection.execute(f"CREATE TEMP TABLE real AS SELECT * FROM executions_visibility WHERE {of_deliveries}")
        values = ", ".join(changed.get(name, name) for name in names)
        for copy in range(1, copies):
            connection.execute(
                f"INSERT INTO executions_visibility ({', '.join(names)}) SELECT {values} FROM real",
                (copy, 86_400 / copies),
            )


async def signed_in(platform: PlatformProcess) -> httpx.AsyncClient:
    page = httpx.AsyncClient(base_url=str(platform.http.base_url), timeout=30)
    signed_in = await page.post("/sign-in", data={"key": platform.key}, headers={"Sec-Fetch-Site": "same-origin"})
    assert signed_in.status_code == 303, signed_in.text
    return page


async def _look(page: httpx.AsyncClient) -> None:
    """Ask as an open page does on which nothing happens."""

    async def rows() -> None:
        version = ""
        for asked in itertools.count(1):
            answer = await page.get("/sent", headers={"HX-Request": "true", "If-None-Match": version})
            assert answer.status_code in (200, 304), answer.text
            version = answer.headers.get("etag", version)
            await asyncio.sleep(_QUIET_SECONDS if asked > _QUIET_AFTER else _ROWS_SECONDS)

    async def figures() -> None:
        while True:
            (await page.get("/sent/figures", headers={"HX-Request": "true"})).raise_for_status()
            await asyncio.sleep(_FIGURES_SECONDS)

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LOOKING_SECONDS):
            await asyncio.gather(rows(), figures())


async def _core_share(ours: psutil.Process, server: psutil.Process, meanwhile: Awaitable[None]) -> float:
    before, at = _cpu_seconds(ours) + _cpu_seconds(server), time.monotonic()
    await meanwhile
    return (_cpu_seconds(ours) + _cpu_seconds(server) - before) / (time.monotonic() - at)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def milliseconds(call: Callable[[], Awaitable[object]]) -> float:
    at = time.perf_counter()
    await call()
    return (time.perf_counter() - at) * 1000
