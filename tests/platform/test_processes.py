"""WEBHOOKS_PROCESSES: several processes on one port, with one Temporal server, as one platform."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from webhooks.testing.platform_process import KEY, PlatformProcess, free_port, until
from webhooks.testing.receiver import Receiver, Reply

_TIMEOUT_SECONDS = 120
"""What is published while a process dies may wait for the end of its workflow task, 20 s. The rest is for a machine
that is busy."""


def two_ports() -> int:
    """Return a free port, of which the next one is free as well."""
    first = free_port()
    while (second := free_port()) != first + 1:
        first = second
    return first


@pytest.fixture(scope="module")
async def several(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[PlatformProcess, int]]:
    """Two processes, and the port of the first one's metrics."""
    port = two_ports()
    platform = PlatformProcess(
        tmp_path_factory.mktemp("several"), WEBHOOKS_PROCESSES="2", WEBHOOKS_METRICS_PORT=str(port)
    )
    try:
        await platform.start()
        await until(lambda: both_answer(port), timeout=60, what="both processes")
        yield platform, port
        assert await platform.stop() == 0
    finally:
        await platform.close()


async def both_answer(first_port: int) -> bool:
    """Return whether both processes show their metrics."""
    return all([await scraped(first_port + number) for number in range(2)])


async def scraped(port: int) -> Counter[str]:
    """Return the counters of a process, by name and the label that tells most; nothing if it does not answer."""
    found: Counter[str] = Counter()
    async with httpx.AsyncClient() as prometheus:
        try:
            page = await prometheus.get(f"http://127.0.0.1:{port}/metrics")
        except httpx.TransportError:
            return found
    for family in text_string_to_metric_families(page.text):
        for sample in family.samples:
            labels = sample.labels
            label = labels.get("result") or labels.get("outcome") or labels.get("http_route") or ""
            found[f"{sample.name} {label}".strip()] += int(sample.value)
    return found


def over_new_connections(platform: PlatformProcess) -> httpx.AsyncClient:
    """A client that never keeps a connection, so that each call reaches whichever process has time."""
    return httpx.AsyncClient(
        base_url=str(platform.http.base_url),
        headers={"authorization": f"Bearer {KEY}"},
        timeout=60,
        limits=httpx.Limits(max_keepalive_connections=0),
    )


def runs(pid: int) -> bool:
    """Return whether a process runs. One that has ended may wait for its new parent to notice."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def all_ended(pids: list[int]) -> bool:
    return not any(map(runs, pids))


@pytest.mark.thorough
async def test_both_serve_and_deliver_and_nothing_is_counted_twice(
    several: tuple[PlatformProcess, int], receiver: Receiver, path: str
) -> None:
    platform, port = several
    event = await platform.event()
    await platform.webhook(event, receiver.url(path))
    before = [await scraped(port + number) for number in range(2)]
    published = 0

    async def gained(name: str) -> list[int]:
        return [(await scraped(port + number) - before[number])[name] for number in range(2)]

    async with over_new_connections(platform) as client:

        async def publish() -> None:
            nonlocal published
            answer = await client.post("/v1/occurrences", json={"event": event, "data": {}})
            published += answer.status_code == 202

        async def both_have_work() -> bool:
            await asyncio.gather(*(publish() for _ in range(10)))
            return all(await gained("webhooks_occurrences_total matched"))

        await until(both_have_work, timeout=_TIMEOUT_SECONDS, what="work for both processes")
    await receiver.wait_for(path, published, timeout=_TIMEOUT_SECONDS)

    async def all_counted() -> bool:
        return sum(await gained("webhooks_attempts_total delivered")) >= published

    await until(all_counted, timeout=30, what="the counters")

    assert len(set(platform.serving_pids) - {platform.pid}) == 2
    assert all(await gained("webhooks_attempts_total delivered"))
    assert sum(await gained("webhooks_attempts_total delivered")) == len(receiver.got(path)) == published
    assert sum(await gained("webhooks_occurrences_total matched")) == published


@pytest.mark.thorough
async def test_they_say_once_where_the_monitor_is_and_there_what_each_of_them_keeps(
    several: tuple[PlatformProcess, int],
) -> None:
    platform, _ = several
    same_site = {"sec-fetch-site": "same-origin"}
    async with httpx.AsyncClient(base_url=str(platform.http.base_url)) as browser:
        await browser.post("/sign-in", data={"key": KEY}, headers=same_site)
        received = await browser.get("/received")

    assert received.status_code == 200
    assert "keeps the requests that it did not store" in received.text
    assert platform.log.count("monitor: http://") == 1


@pytest.mark.thorough
async def test_configuration_changes_in_both_at_the_same_time(
    several: tuple[PlatformProcess, int], receiver: Receiver, path: str
) -> None:
    """SQLite has one writer at a time. The others wait for it, whichever process they are in."""
    platform, port = several
    event = await platform.event()
    before = [await scraped(port + number) for number in range(2)]
    refused: list[str] = []

    async with over_new_connections(platform) as client:

        async def call(method: str, path: str, body: object = None) -> httpx.Response:
            answer = await client.request(method, path, json=body)
            if not answer.is_success:
                refused.append(f"{method} {path}: {answer.status_code} {answer.text}")
            assert answer.is_success, refused
            return answer

        async def change(number: int) -> None:
            url = receiver.url(f"{path}-{number}")
            made = await call("POST", "/v1/webhooks", {"url": url, "event": event, "allowedClientIdentifiers": []})
            place = f"/v1/webhooks/{made.json()['id']}"
            for name in ("first", "second"):
                await call("PATCH", place, {"name": f"{name} {number}"})
            assert (await call("GET", place)).json()["name"] == f"second {number}"
            await call("DELETE", place)

        await asyncio.gather(*map(change, range(60)))
        left = await call("GET", f"/v1/webhooks?event={event}")

    by_process = [
        (await scraped(port + n) - before[n])["http_server_request_duration_seconds_count /v1/webhooks/{id}"]
        for n in range(2)
    ]
    assert refused == []
    assert left.json()["items"] == []
    assert all(by_process), by_process
    assert "locked" not in platform.log


@pytest.mark.thorough
async def test_one_is_killed_while_both_take_occurrences(
    several: tuple[PlatformProcess, int], receiver: Receiver, path: str
) -> None:
    """What was accepted is delivered, and another process takes its place."""
    platform, port = several
    event = await platform.event()
    await platform.webhook(event, receiver.url(path))
    killed, kept = platform.serving_pids
    ids, accepted = iter([uuid4().hex for _ in range(200)]), set[str]()

    async def produce() -> None:
        for id in ids:
            while id not in accepted:
                try:
                    answer = await platform.http.post("/v1/occurrences", json={"event": event, "id": id, "data": {}})
                except httpx.TransportError:  # it was on its way to the process that died
                    continue
                if answer.status_code == 202:
                    accepted.add(id)
                else:
                    assert answer.status_code == 503, answer.text
                    await asyncio.sleep(0.1)
                if len(accepted) == 60 and runs(killed):
                    os.kill(killed, signal.SIGKILL)

    await asyncio.gather(*(produce() for _ in range(8)))

    def delivered() -> set[str]:
        return {request.headers["webhook-id"].partition("~")[0] for request in receiver.got(path)}

    async def all_delivered() -> bool:
        return delivered() == accepted

    await until(all_delivered, timeout=_TIMEOUT_SECONDS, what="all deliveries", shown=lambda: str(len(delivered())))

    async def is_back() -> bool:
        return len(platform.serving_pids) == 2 and await both_answer(port)

    await until(is_back, timeout=60, what="another process")

    assert len(accepted) == 200
    assert kept in platform.serving_pids
    assert killed not in platform.serving_pids
    assert "process 0 ended with code -9; starting it again" in platform.log


@pytest.mark.thorough
async def test_all_end_together(own: PlatformProcess, receiver: Receiver, path: str) -> None:
    """SIGTERM finishes what is in flight; `kill -9` of the first process ends the others as well."""
    release = asyncio.Event()
    own.environment["WEBHOOKS_PROCESSES"] = "2"
    await own.start()
    pids = [own.pid, own.temporal_pid, *own.serving_pids]
    event = await own.event()
    await own.webhook(event, receiver.tell(path, [Reply(200, before=release.wait), 500]), timeout=30)
    id = await own.delivery(await own.publish(event))
    await receiver.wait_for(path, 1)
    stopping = asyncio.create_task(own.stop())

    await until(own.refuses, timeout=20, what="the end of the API")
    release.set()

    assert await stopping == 0
    assert not any(map(runs, pids))

    await own.start()
    pids = [own.pid, own.temporal_pid, *own.serving_pids]
    delivery = await own.wait(id, "delivered")
    assert len(delivery["attempts"]) == 1
    assert len(receiver.got(path)) == 1

    await own.kill()
    await until(lambda: all_ended(pids), timeout=20, what="the end of all", shown=lambda: str([*map(runs, pids)]))


@pytest.mark.thorough
async def test_a_wrong_setting_ends_all(own: PlatformProcess, receiver: Receiver) -> None:
    """The process that meets it says what it is. It is not started again and again."""
    taken = receiver.url("").rpartition(":")[2]
    own.environment |= {"WEBHOOKS_PROCESSES": "2", "WEBHOOKS_METRICS_PORT": taken}
    await own.spawn()
    assert await own.ended(_TIMEOUT_SECONDS) == 1

    assert f"Cannot listen on 127.0.0.1:{taken}" in own.log
    assert "Traceback" not in own.log
