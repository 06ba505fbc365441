"""How fast are the monitor's lists with many deliveries on PostgreSQL? The topology is that of `make test-production`.

A few deliveries are real: the newest ones, and some in the middle, so that pages there have histories to read. The
others are copies of their rows in Temporal's visibility, with earlier times, spread evenly over a week. With its 74
indexes, that table takes 20 GB for a million deliveries, and minutes to be written.
"""

import asyncio
import contextlib
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from temporalio.client import Client

from bench.figures import quantile
from bench.lists import milliseconds, signed_in
from tests.production.topology import Production
from webhooks.deliveries.windows import Position
from webhooks.ids import workflow_id
from webhooks.testing.platform_process import PlatformProcess, until
from webhooks.testing.receiver import Receiver

_ALL = int(os.environ.get("BENCH_DELIVERIES", "100000"))
_SPAN = timedelta(days=7)
_OF_EACH = 54
"""Real deliveries of each webhook: more than a page of 50."""
_TENANT = "default"
_HEALTHY, _OTHER, _FAILING, _RETRIED = "/healthy", "/other", "/failing", "/retried"
_KINDS = [_FAILING, _RETRIED, *[_HEALTHY, _OTHER] * 24]
"""Which deliveries are copied: 2 % wait for a resend, 2 % are being retried."""
_BATCH = 20_000
_ROUNDS, _COLD_ROUNDS = 5, 3
_EXPIRED_SECONDS = 5.1
"""Then nothing of what is newer than an hour is remembered."""
_REQUESTS = re.compile(r'^temporal_request_total\{.*operation="(\w+)".*\} (\d+)', re.MULTILINE)


@dataclass(frozen=True)
class Made:
    """What is in Temporal."""

    webhooks: dict[str, str]
    """Their ids, by the path of their receiver."""
    deep: datetime
    """When the newest of the real deliveries in the middle was created."""


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        async with filled(Path(folder), _ALL) as (production, made):
            await measure(production, made)


@contextlib.asynccontextmanager
async def filled(folder: Path, number: int) -> AsyncIterator[tuple[Production, Made]]:
    """Run the topology with this number of deliveries."""
    production = Production(folder, print)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(production.close)
        receiver = await stack.enter_async_context(Receiver().serving())
        await production.start()
        published, webhooks = await _publish(production, receiver)
        began = time.monotonic()
        engine = create_async_engine(
            production.postgresql.url("temporal_visibility").replace("postgresql:", "postgresql+asyncpg:"),
            isolation_level="AUTOCOMMIT",
        )
        async with engine.connect() as connection:
            made = await _Copies(connection, number, published, webhooks).write()
            size = await connection.scalar(text("SELECT pg_database_size('temporal_visibility')"))
            [version] = (await connection.execute(text("SHOW server_version"))).one()
        await engine.dispose()
        print(
            f"PostgreSQL {version}: {number:,} deliveries, {size / 1e9:.1f} GB of visibility, "
            f"written in {time.monotonic() - began:.0f} s\n"
        )
        yield production, made


async def _publish(production: Production, receiver: Receiver) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Publish what becomes the real deliveries. Return their workflow ids, by path, the deep ones first among those of
    the healthy webhook; and the webhooks' ids."""
    api = production.apis[0]
    receiver.tell(_FAILING, [400])
    receiver.tell(_RETRIED, [503])
    hours = {"initial_interval": 7200, "backoff_coefficient": 1, "maximum_interval": 7200, "maximum_attempts": 10}
    events, webhooks = {}, {}
    for path in (_HEALTHY, _OTHER, _FAILING, _RETRIED):
        events[path] = await api.event()
        webhooks[path] = (await api.webhook(events[path], receiver.url(path), retry_policy=hours))["id"]
    published: dict[str, list[str]] = {path: [] for path in webhooks}
    for n in range(2 * _OF_EACH):
        for path in webhooks if n >= _OF_EACH else [_HEALTHY]:
            delivery = await api.delivery(await api.publish(events[path], id=_occurrence(path, n)))
            published[path].append(workflow_id(_TENANT, delivery))
    temporal = await production.client()
    ended = [*published[_HEALTHY], *published[_OTHER]]
    await _counted(temporal, "ExecutionStatus = 'Completed'", len(ended))
    await _counted(temporal, "ExecutionStatus = 'Running' AND DeliveryStatus = 'failed'", len(published[_FAILING]))
    await _counted(temporal, "ExecutionStatus = 'Running'", len(published[_FAILING]) + len(published[_RETRIED]))
    return published, webhooks


def _occurrence(path: str, number: int) -> str:
    return f"listed{path.replace('/', '-')}-{number}"


async def _counted(temporal: Client, query: str, number: int) -> None:
    """Wait until Temporal's visibility has this number of deliveries."""

    async def is_complete() -> bool:
        found = await temporal.count_workflows(f"WorkflowType = 'DeliverWebhook' AND {query}")
        return found.count == number

    await until(is_complete, timeout=60, what=query)


class _Copies:
    """Writes the rows of deliveries that are not real. Copy 1 is the newest one, a step older than the real ones."""

    def __init__(
        self, connection: AsyncConnection, number: int, published: dict[str, list[str]], webhooks: dict[str, str]
    ) -> None:
        self._connection = connection
        self._published = published
        self._webhooks = webhooks
        self._number = number - sum(map(len, published.values())) + _OF_EACH
        self._step = _SPAN / self._number
        self._deep = self._number // 2
        """The real ones in the middle are in the place of this copy and those after it."""

    async def write(self) -> Made:
        rows = await self._connection.execute(
            text("SELECT search_attributes FROM executions_visibility WHERE workflow_id = :id"),
            {"id": self._published[_HEALTHY][-1]},
        )
        attributes = rows.scalar_one()
        created_at = next(name for name in attributes if name.startswith("Datetime"))
        occurrence_id = next(name for name, value in attributes.items() if str(value).startswith("listed-"))
        await self._prepare()
        newest = await self._connection.scalar(text("SELECT min(start_time) FROM original WHERE NOT deep"))
        moved = _moved(created_at)
        await self._move_deep(moved, newest)
        indexes = await self._drop_indexes()
        await self._insert(moved | _renamed(moved, occurrence_id), newest)
        await self._connection.execute(text("SET maintenance_work_mem = '512MB'"))
        for index in indexes:
            await self._connection.execute(text(index.replace(":", "\\:")))
        await self._connection.execute(text("VACUUM ANALYZE executions_visibility"))
        return Made(self._webhooks, newest.replace(tzinfo=UTC) - self._deep * self._step)

    async def _move_deep(self, moved: dict[str, str], newest: datetime) -> None:
        """Move the real ones that are for the middle to there."""
        await self._connection.execute(
            text(
                f"UPDATE executions_visibility AS real SET {', '.join(f'{name} = {moved[name]}' for name in moved)}"
                " FROM (SELECT run_id AS of, :deep + row_number() OVER (ORDER BY start_time DESC) - 1 AS copy"
                " FROM original WHERE deep) AS place WHERE real.run_id = place.of"
            ),
            {"newest": newest, "step": self._step, "deep": self._deep},
        )

    async def _insert(self, changed: dict[str, str], newest: datetime) -> None:
        names = await self._columns()
        insert = text(
            f"INSERT INTO executions_visibility ({', '.join(names)})"
            f" SELECT {', '.join(changed.get(name, name) for name in names)}"
            " FROM generate_series(CAST(:last AS integer), CAST(:first AS integer), -1) AS copy"
            " JOIN original ON original.place = copy % (SELECT count(*) FROM original WHERE place IS NOT NULL)"
            " WHERE copy NOT BETWEEN :deep AND :deep + :of_each - 1"
            " ORDER BY copy DESC"
        )
        times = {"newest": newest, "step": self._step}
        for last in range(self._number, 0, -_BATCH):  # oldest first, as they would have come
            batch = {"first": max(last - _BATCH, 0) + 1, "last": last, "deep": self._deep, "of_each": _OF_EACH}
            await self._connection.execute(insert, times | batch)

    async def _prepare(self) -> None:
        """Make a table of the real rows, with a place for each row of a round of copies."""
        rounds = [self._published[path][-1 - turn % _OF_EACH] for turn in range(_OF_EACH) for path in _KINDS]
        await self._connection.execute(
            text(
                "CREATE TEMP TABLE original AS SELECT real.*, workflow_id = ANY(:deep) AS deep, turn.place - 1 AS place"
                " FROM executions_visibility AS real"
                " LEFT JOIN unnest(CAST(:rounds AS text[])) WITH ORDINALITY AS turn(id, place) ON turn.id = workflow_id"
                " WHERE workflow_type_name = 'DeliverWebhook'"
            ),
            {"rounds": rounds, "deep": self._published[_HEALTHY][:_OF_EACH]},
        )

    async def _drop_indexes(self) -> Sequence[str]:
        """Drop all indexes but the primary key's, and return the statements that make them again. To make them of
        what is there takes less time than to keep them up to date."""
        rows = await self._connection.execute(
            text(
                "SELECT indexname, indexdef FROM pg_indexes"
                " WHERE tablename = 'executions_visibility' AND indexname != 'executions_visibility_pkey'"
            )
        )
        indexes = {row.indexname: row.indexdef for row in rows}
        await self._connection.execute(text(f"DROP INDEX {', '.join(indexes)}"))
        return list(indexes.values())

    async def _columns(self) -> Sequence[str]:
        """Return the columns that are not generated."""
        rows = await self._connection.execute(
            text(
                "SELECT column_name FROM information_schema.columns"
                " WHERE table_name = 'executions_visibility' AND is_generated = 'NEVER'"
            )
        )
        return rows.scalars().all()


def _moved(created_at: str) -> dict[str, str]:
    """Return the columns that hold times, each with its value for a copy."""
    at = "CAST(:newest AS timestamp) - copy * CAST(:step AS interval)"
    return {
        "start_time": at,
        "execution_time": at,
        "close_time": f"{at} + (close_time - start_time)",
        "search_attributes": f"search_attributes || jsonb_build_object('{created_at}',"
        f""" to_char({at}, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))""",
    }


def _renamed(moved: dict[str, str], occurrence_id: str) -> dict[str, str]:
    """Return the columns that hold ids, each with its value for a copy."""
    return {
        "run_id": "gen_random_uuid()",
        "workflow_id": "workflow_id || '-' || copy",
        "root_workflow_id": "root_workflow_id || '-' || copy",
        "search_attributes": moved["search_attributes"] + f" || jsonb_build_object('{occurrence_id}',"
        f" search_attributes->>'{occurrence_id}' || '-' || copy)",
    }


async def measure(production: Production, made: Made) -> None:
    """Print how long each call takes at the first of the API processes, and how often that calls Temporal."""
    api = production.apis[0]
    page = await signed_in(api)
    healthy = made.webhooks[_HEALTHY]
    deep = Position(made.deep + timedelta(microseconds=1), "", "").cursor()
    occurrence = _occurrence(_HEALTHY, 0)  # in the middle
    failed = {"filter": {"status": ["failed"]}, "dry_run": True}
    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "first page of 50": lambda: _list(api, 50),
        "page Sent": lambda: _get(page, "/sent"),
        "its rows, as the page asks for them": lambda: _get(page, "/sent", headers={"HX-Request": "true"}),
        "its figures of 24 h": lambda: _get(page, "/sent/figures"),
        "figures of 7 days": lambda: api.get("/v1/statistics", window="7d"),
        "number that waits for a resend": lambda: api.get("/v1/statistics/awaiting-resend"),
        "?status=failed": lambda: _list(api, 50, status="failed"),
        "?status=retrying": lambda: _list(api, 50, status="retrying"),
        "?status=expired: none": lambda: _list(api, 0, status="expired"),
        "?client_identifier=nobody: none": lambda: _list(api, 0, client_identifier="nobody"),
        "?webhook_id= of one of four": lambda: _list(api, 50, webhook_id=healthy),
        "that webhook's health": lambda: api.get(f"/v1/webhooks/{healthy}/health"),
        "health of all four": lambda: api.get("/v1/webhooks/health", webhook_id=list(made.webhooks.values())),
        "a page in the middle, by cursor": lambda: _list(api, 50, cursor=deep),
        "a search for an occurrence": lambda: _list(api, 1, occurrence_id=occurrence),
        "how many failed, for a job": lambda: api.post("/v1/deliveries/resend", failed),
    }
    cold, again = {what: _Taken() for what in calls}, {what: _Taken() for what in calls}
    for _ in range(_COLD_ROUNDS):
        await _restart(api)
        for what, call in calls.items():
            await cold[what].take(api, call)
    for _ in range(_ROUNDS):
        await asyncio.sleep(_EXPIRED_SECONDS)
        for what, call in calls.items():
            await again[what].take(api, call)
    await page.aclose()
    print(
        f"milliseconds with the client's part, and calls to Temporal: after a start, in this order, and again "
        f"{_EXPIRED_SECONDS:.0f} s later"
    )
    for what in calls:
        print(f"  {what:<36} {cold[what]}   again {again[what]}")
    print(f"  load of the machine: {os.getloadavg()[1]:.1f}")


@dataclass(frozen=True)
class _Taken:
    milliseconds: list[float] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)

    async def take(self, api: PlatformProcess, call: Callable[[], Awaitable[Any]]) -> None:
        before = await _requests(api)
        self.milliseconds.append(await milliseconds(call))
        self.requests.append((await _requests(api) - before).total())

    def __str__(self) -> str:
        took = sorted(self.milliseconds)
        return f"{quantile(took, 0.5):7.1f} (up to {took[-1]:7.1f}), {quantile(sorted(self.requests), 0.5):3.0f} calls"


async def _list(api: PlatformProcess, expected: int, **query: Any) -> None:
    found = (await api.get("/v1/deliveries", limit=50, **query))["items"]
    assert len(found) == expected, f"{query}: {len(found)} instead of {expected}"


async def _get(page: httpx.AsyncClient, path: str, **more: Any) -> None:
    (await page.get(path, **more)).raise_for_status()


async def _restart(api: PlatformProcess) -> None:
    """Start the API again: what it remembers ends with the process."""
    assert await api.stop() == 0
    await api.spawn()
    await until(api.is_ready, timeout=60, what="the API", alive=api.assert_alive)


async def _requests(api: PlatformProcess) -> Counter[str]:
    """Return how often the process has called Temporal, by operation."""
    port = api.environment["WEBHOOKS_TEMPORAL_METRICS_PORT"]
    async with httpx.AsyncClient() as http:
        metrics = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
    counted: Counter[str] = Counter()
    for operation, number in _REQUESTS.findall(metrics):
        counted[operation] += int(number)
    return counted
