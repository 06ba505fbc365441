"""One receiver's trouble is nobody else's: what it cannot take waits, and comes when it is back."""

import asyncio
import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bench.producer import Producer
from webhooks.isolation.backlog import MAX_LOCAL
from webhooks.isolation.lanes import Lanes
from webhooks.isolation.resuming import resuming
from webhooks.testing.platform_process import PlatformProcess, running, until
from webhooks.testing.receiver import Receiver, Reply

QUICK = {"initial_interval": 0.2, "backoff_coefficient": 1, "maximum_attempts": 100}


async def test_a_hanging_receiver_holds_nobody_else(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """A hundred deliveries to a receiver that answers nothing: a few requests are made, the rest waits with no attempt
    of its own, and another webhook's delivery comes within 15 s. Once it answers, everything arrives, once."""
    back = asyncio.Event()
    hanging, healthy = await platform.event(), await platform.event()
    url = receiver.tell(path, [Reply(200, before=back.wait)])
    webhook = await platform.webhook(hanging, url, timeout=1, retry_policy=QUICK)
    await platform.webhook(healthy, receiver.url(f"{path}/healthy"))
    published = await asyncio.gather(*(platform.publish(hanging, {"n": n}) for n in range(100)))
    traffic = f"/v1/webhooks/{webhook['id']}/traffic"

    async def tripped() -> bool:
        return bool((await platform.get(traffic))["state"] != "closed")

    await until(tripped, timeout=30, what="a circuit that is not closed")
    for n in range(5):
        delivery = await platform.delivery(await platform.publish(healthy, {"n": n}))
        assert len((await platform.wait(delivery, "delivered", timeout=15))["attempts"]) == 1
    during, seen = await platform.get(traffic), len(receiver.got(path))
    waiting = [await platform.get(f"/v1/deliveries/{await platform.delivery(one)}") for one in published]
    back.set()
    receiver.tell(path, [200])
    delivered = [await platform.wait(await platform.delivery(one), "delivered", timeout=60) for one in published]
    after = await platform.get(traffic)
    requests = Counter(request.headers["webhook-id"] for request in receiver.got(path))
    outcomes = {one["id"]: [attempt["outcome"] for attempt in one["attempts"]] for one in delivered}

    assert seen < 30
    assert during["waiting"] > 40
    assert during["unfinished"] > 40
    assert {delivery["waiting_for"] for delivery in waiting if not delivery["attempts"]} >= {"receiver_in_trouble"}
    assert sum(not delivery["attempts"] and delivery["next_attempt_at"] is not None for delivery in waiting) > 40
    assert (after["state"], after["waiting"], after["in_flight"]) == ("closed", 0, 0)
    assert requests == {id: len(attempts) for id, attempts in outcomes.items()}, "a request that is no attempt"
    assert [attempts.count("delivered") for attempts in outcomes.values()] == [1] * 100
    assert {attempt for attempts in outcomes.values() for attempt in attempts} == {"delivered", "timeout"}


async def test_a_delivery_waits_for_its_receiver_without_losing_attempts(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """Three attempts are allowed; while others have opened the circuit, this one spends none of them."""
    event = await platform.event()
    url = receiver.tell(path, [Reply(raw=b"")])  # hangs up
    policy = {"initial_interval": 0.1, "backoff_coefficient": 1, "maximum_attempts": 3}
    webhook = await platform.webhook(event, url, retry_policy=policy)
    for n in range(2):
        await platform.wait(await platform.delivery(await platform.publish(event, {"n": n})), "failed")
    assert (await platform.get(f"/v1/webhooks/{webhook['id']}/traffic"))["state"] != "closed"
    receiver.tell(path, [200])
    delivery = await platform.wait(await platform.delivery(await platform.publish(event)), "delivered")

    assert [attempt["outcome"] for attempt in delivery["attempts"]] == ["delivered"]


@pytest.mark.thorough
@pytest.mark.quiet
async def test_what_cannot_be_begun_soon_is_refused_and_nothing_accepted_is_lost(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """Six hundred publications at once: some are refused, with the time to try again; whoever does is accepted, and
    each arrives once."""
    event = await platform.event()
    await platform.webhook(event, receiver.url(path))
    producer = Producer(platform)
    wanted = {f"{event}-{n}" for n in range(600)}
    await asyncio.gather(*(producer.publish(event, id) for id in wanted))
    statuses = {answer.status for answer in producer.answers.values()}
    while refused := wanted - producer.accepted():
        await asyncio.gather(*(producer.publish(event, id) for id in sorted(refused)[:50]))
    requests = await receiver.wait_for(path, len(wanted), timeout=90)
    await producer.close()

    assert statuses == {202, 503}
    assert sorted(request.headers["webhook-id"].partition("~")[0] for request in requests) == sorted(wanted)


async def delayed_deliveries(
    own: PlatformProcess, receiver: Receiver, path: str, back: asyncio.Event
) -> tuple[str, list[str]]:
    """A webhook whose receiver has been silent for a while, and deliveries to it that Temporal does not begin for at
    least a minute."""
    await own.start()
    event = await own.event()
    receiver.tell(path, [Reply(200, before=back.wait)])
    webhook = await own.webhook(event, receiver.url(path), timeout=1, retry_policy=QUICK)
    traffic = f"/v1/webhooks/{webhook['id']}/traffic"
    delayed: list[str] = []

    async def enough() -> bool:
        id = await own.delivery(await own.publish(event))
        delivery = await own.get(f"/v1/deliveries/{id}")
        begins = datetime.fromisoformat(delivery["next_attempt_at"] or delivery["created_at"])
        if not delivery["attempts"] and begins - datetime.fromisoformat(delivery["created_at"]) > timedelta(seconds=59):
            delayed.append(id)
        return len(delayed) == 5

    await until(enough, timeout=40, what="delayed deliveries")
    assert (await own.get(traffic))["waiting"] >= 5
    return webhook["id"], delayed


async def test_delayed_deliveries_come_when_the_receiver_is_back(
    own: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """Long before its delay would end; once; and the list shows each delivery once. An operator has terminated the
    oldest one: the others come nevertheless."""
    back = asyncio.Event()
    webhook, [gone, *delayed] = await delayed_deliveries(own, receiver, path, back)
    await (await own.temporal()).get_workflow_handle(f"default/{gone}").terminate()
    back.set()
    for id in delayed:
        delivery = await own.wait(id, "delivered", timeout=25)
        assert len(delivery["attempts"]) == 1
    requests = [request.headers["webhook-id"] for request in receiver.got(path)]
    listed = [item["id"] for item in (await own.get("/v1/deliveries", webhook_id=webhook, limit=100))["items"]]
    failed = await own.get("/v1/deliveries", webhook_id=webhook, status="failed")

    assert [requests.count(id) for id in delayed] == [1] * len(delayed)
    assert [listed.count(id) for id in delayed] == [1] * len(delayed)
    assert [item["id"] for item in failed["items"]] == [gone]


@pytest.mark.thorough
async def test_a_delayed_delivery_can_be_sent_by_hand(own: PlatformProcess, receiver: Receiver, path: str) -> None:
    """Though its receiver is still silent for others."""
    back = asyncio.Event()
    _, [id, *others] = await delayed_deliveries(own, receiver, path, back)
    answers = {True: Reply(200), False: Reply(200, before=back.wait)}
    receiver.tell(path, [lambda request: answers[request.headers["webhook-id"] == id]])
    await own.post(f"/v1/deliveries/{id}/resend", expect=202)
    delivery = await own.wait(id, "delivered")
    back.set()

    [attempt] = delivery["attempts"]
    assert attempt["trigger"] == "resend"
    assert attempt["requested_by"].startswith("bootstrap (key:")
    assert {request.headers["webhook-id"] for request in receiver.got(path)}.isdisjoint(others)


@pytest.mark.thorough
@pytest.mark.quiet
async def test_delayed_deliveries_of_a_killed_process_come_after_its_restart(
    own: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """Before their delay of a minute ends."""
    back = asyncio.Event()
    _, delayed = await delayed_deliveries(own, receiver, path, back)
    await own.kill()
    back.set()
    await own.start()
    for id in delayed:
        assert len((await own.wait(id, "delivered", timeout=40))["attempts"]) == 1

    requests = [request.headers["webhook-id"] for request in receiver.got(path)]
    assert [requests.count(id) for id in delayed] == [1] * len(delayed)


@pytest.mark.thorough
async def test_an_api_without_a_worker_accepts_no_more_than_is_set(
    tmp_path: Path, receiver: Receiver, path: str
) -> None:
    """What waits to be begun is bounded, and what was accepted comes when there is a worker."""
    own = PlatformProcess(tmp_path / "platform", WEBHOOKS_EMBEDDED_WORKER="false", WEBHOOKS_MAX_BACKLOG="20")
    wait = own.environment["WEBHOOKS_PUBLISH_WAIT"] = "0.5"
    await own.start(ready=False)
    event = await own.event()
    await own.webhook(event, receiver.url(path))
    accepted, waited = 0, 0.0

    async def refused() -> bool:
        nonlocal accepted, waited
        started = time.monotonic()
        answer = await own.http.post("/v1/occurrences", json={"event": event, "data": {}})
        waited = time.monotonic() - started
        if answer.status_code == 503 and "too much" in answer.text:
            return True
        accepted += answer.status_code == 202
        return False

    await until(refused, timeout=30, what="a refusal")
    assert await own.stop() == 0
    await own.close()
    async with running(own.data_dir):
        await receiver.wait_for(path, accepted)

    assert accepted >= 20
    assert waited >= float(wait)


@pytest.mark.thorough
async def test_publishing_again_what_was_delivered_closes_no_door(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """Nothing of it waits to be begun, however much of it there is."""
    event = await platform.event()
    await platform.webhook(event, receiver.url(path))
    ids = [f"{event}-{n}" for n in range(MAX_LOCAL)]
    for _ in range(2):
        for n in range(0, MAX_LOCAL, 25):
            await asyncio.gather(*(platform.publish(event, id=id) for id in ids[n : n + 25]))
        await receiver.wait_for(path, len(ids))
    answer = await platform.http.post("/v1/occurrences", json={"event": event, "data": {}})

    assert answer.status_code == 202
    await receiver.wait_for(path, len(ids) + 1)
    assert len(receiver.got(path)) == len(ids) + 1


async def test_a_delivery_that_is_gone_is_not_resumed_for_ever(platform: PlatformProcess) -> None:
    """Temporal knows it no longer, for example because its retention is over."""
    lanes = Lanes()
    lanes.add_delayed("default", "webhook", "default/gone", 100)

    async def empty() -> bool:
        return lanes.snapshot("webhook").waiting == 0

    async with resuming(await platform.temporal(), lanes, "nobody polls it", rate=20):
        await until(empty, timeout=30, what="the end of resuming")
