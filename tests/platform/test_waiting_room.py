"""Publications to a platform that has no room: its backlog may hold one delivery, and no worker runs at first."""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.support.tenants import new_tenant
from webhooks.isolation import held_back
from webhooks.testing.platform_process import PlatformProcess, free_port, until
from webhooks.testing.receiver import Receiver

_PLACES = 6
Answer = asyncio.Task[httpx.Response]


class Closed:
    """The platform, and who publishes to it: two keys of one tenant, and another tenant."""

    def __init__(self, platform: PlatformProcess, other_key: PlatformProcess, other_tenant: PlatformProcess) -> None:
        self.platform, self.other_key, self.other_tenant = platform, other_key, other_tenant
        self._events: dict[str, str] = {}

    async def subscribe(self, url: str) -> None:
        for tenant in (self.platform, self.other_tenant):
            self._events[tenant.http.headers["authorization"]] = event = await tenant.event()
            await tenant.webhook(event, url)
        self._events[self.other_key.http.headers["authorization"]] = self.event

    @property
    def event(self) -> str:
        return self._events[self.platform.http.headers["authorization"]]

    def publish(self, caller: PlatformProcess, id: str) -> Answer:
        body = {"id": id, "event": self._events[caller.http.headers["authorization"]], "data": {}}
        return asyncio.create_task(caller.http.post("/v1/occurrences", json=body, timeout=120))

    async def counted(self, state: str) -> int:
        async with httpx.AsyncClient() as prometheus:
            page = await prometheus.get(
                f"http://127.0.0.1:{self.platform.environment['WEBHOOKS_METRICS_PORT']}/metrics"
            )
        [count] = re.findall(rf'^webhooks_publications{{state="{state}"}} (\d+)', page.text, re.MULTILINE)
        return int(count)

    async def waits(self, count: int, state: str = "waiting") -> None:
        async def holds() -> bool:
            return await self.counted(state) == count

        await until(holds, timeout=30, what=f"{count} {state}")

    async def wait(self, caller: PlatformProcess, *ids: str) -> list[Answer]:
        """Publish, and let each wait before the next one comes."""
        answers = []
        for waiting, id in enumerate(ids, await self.counted("waiting") + 1):
            answers.append(self.publish(caller, id))
            await self.waits(waiting)
        return answers

    async def fill(self, prefix: str) -> Answer:
        """Publish until one waits, and return it."""
        for n in range(100):
            answer = self.publish(self.platform, f"{prefix}-{n}")

            async def decided(answer: Answer = answer) -> bool:
                return answer.done() or await self.counted("waiting") == 1

            await until(decided, timeout=30, what="an answer, or a wait")
            if not answer.done():
                return answer
            assert answer.result().status_code == 202
        raise AssertionError("there is always room")

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Run a worker in the block."""
        worker = self.platform.worker()
        del worker.environment["WEBHOOKS_METRICS_PORT"]
        await worker.spawn()
        try:
            yield
        finally:
            await worker.stop()
            await worker.close()


@pytest.fixture(scope="module")
async def closed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Closed]:
    platform = PlatformProcess(
        tmp_path_factory.mktemp("closed"),
        WEBHOOKS_EMBEDDED_WORKER="false",
        WEBHOOKS_MAX_BACKLOG="1",
        WEBHOOKS_PUBLISH_WAIT="60",  # longer than a worker needs to start
        WEBHOOKS_PUBLISH_QUEUE=str(_PLACES),
        WEBHOOKS_METRICS_PORT=str(free_port()),
    )
    try:
        await platform.start(ready=False)

        async def connected() -> bool:
            return "no worker" in (await platform.http.get("/health/ready")).text

        await until(connected, timeout=60, what="a connection to Temporal")
        made = await platform.post("/v1/api-keys", {"name": "second", "role": "publisher"})
        async with platform.called_with(made["key"]) as other_key, new_tenant(platform) as (_, other_tenant):
            yield Closed(platform, other_key, other_tenant)
    finally:
        await platform.close()


async def test_who_waits_is_let_in_in_turn_and_the_one_with_most_is_refused(
    closed: Closed, receiver: Receiver, path: str
) -> None:
    await closed.subscribe(receiver.url(path))
    first = await closed.fill(path[1:])
    answers = dict(zip("bcd", await closed.wait(closed.platform, "b", "c", "d"), strict=True))
    [answers["key"]] = await closed.wait(closed.other_key, "key")
    [answers["tenant"]] = await closed.wait(closed.other_tenant, "tenant")
    no_place = await closed.publish(closed.platform, "e")
    answers["again"] = closed.publish(closed.other_tenant, "again")
    pushed_out = await answers.pop("d")
    health = await closed.platform.http.get("/health/ready")
    async with closed.opened():
        done = {"first": await first} | {name: await answer for name, answer in answers.items()}

        async def at(name: str) -> str:
            caller = closed.other_tenant if name in ("tenant", "again") else closed.platform
            delivery = await caller.get(f"/v1/deliveries/{done[name].json()['deliveries'][0]['id']}")
            return str(delivery["created_at"])

        order = sorted([(await at(name), name) for name in done])

    for refused in (no_place, pushed_out):
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "too much at once" in refused.json()["detail"]
    assert {answer.status_code for answer in done.values()} == {202}
    assert [name for _, name in order] == ["first", "tenant", "key", "again", "b", "c"]
    assert health.status_code == 503, "no worker runs"


@pytest.mark.thorough
async def test_who_goes_away_frees_its_place_and_starts_nothing(closed: Closed, receiver: Receiver, path: str) -> None:
    await closed.subscribe(receiver.url(path))
    first = await closed.fill(path[1:])
    body = json.dumps({"id": "gone", "event": closed.event, "data": {}}).encode()
    _, writer = await asyncio.open_connection("127.0.0.1", closed.platform.port)
    writer.write(
        f"POST /v1/occurrences HTTP/1.1\r\nhost: localhost\r\nauthorization: "
        f"{closed.platform.http.headers['authorization']}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n".encode()
        + body
    )
    await closed.waits(2)
    writer.close()
    await closed.waits(1)
    last = closed.publish(closed.platform, "stays")
    async with closed.opened():
        assert {(await first).status_code, (await last).status_code} == {202}
        accepted = int((await first).json()["id"].rpartition("-")[2]) + 2
        requests = await receiver.wait_for(path, accepted)

    assert "gone" not in {request.headers["webhook-id"].partition("~")[0] for request in requests}


@pytest.mark.thorough
async def test_who_ignores_retry_after_is_held_back_and_a_stop_answers_everybody(
    closed: Closed, receiver: Receiver, path: str
) -> None:
    await closed.subscribe(receiver.url(path))
    waiting = [
        await closed.fill(path[1:]),
        *await closed.wait(closed.platform, *(f"{path[1:]}-w{n}" for n in range(5))),
    ]
    started = time.monotonic()
    refused = [await closed.publish(closed.platform, "again") for _ in range(2)]
    took = time.monotonic() - started
    held = closed.publish(closed.platform, "again")
    await closed.waits(1, "held_back")
    other = closed.publish(closed.other_key, "other")
    pushed_out = await waiting.pop()
    stopping = time.monotonic()
    code = await closed.platform.stop()
    stopped = time.monotonic() - stopping
    answers = [*refused, pushed_out, await held, await other, *[await answer for answer in waiting]]

    assert took > held_back.HELD_SECONDS
    assert [(answer.status_code, answer.headers["retry-after"]) for answer in answers] == [(503, "1")] * len(answers)
    assert code == 0
    assert stopped < 30, "nobody waited for its time to be over"
