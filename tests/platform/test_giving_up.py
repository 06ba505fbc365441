"""Giving up a delivery: whatever it waits for, it ends as canceled, nothing is sent, and it can be resent by hand."""

import asyncio
from uuid import uuid4

import pytest

from tests.api.test_consumer_tokens import consumer, created
from tests.platform.test_isolation import delayed_deliveries
from webhooks.testing.platform_process import Json, PlatformProcess, until
from webhooks.testing.receiver import Receiver, Reply

_NEVER = {"initial_interval": 3600}


async def given_up(platform: PlatformProcess, id: str) -> Json:
    answer = await platform.post(f"/v1/deliveries/{id}/cancel", expect=202)
    assert answer == {"id": id, "status": "canceled"}
    delivery = await platform.get(f"/v1/deliveries/{id}")
    assert (delivery["status"], delivery["waiting_for"], delivery["next_attempt_at"]) == ("canceled", None, None)
    assert delivery["closed_at"]
    assert delivery["canceled_by"].startswith("bootstrap (key:")
    return delivery


@pytest.mark.parametrize(("answer", "status"), [(503, "retrying"), (400, "failed")])
async def test_one_that_waits_is_given_up_and_can_be_resent(
    platform: PlatformProcess, receiver: Receiver, path: str, answer: int, status: str
) -> None:
    """For a backoff, or for a person. A second call changes nothing."""
    event = await platform.event()
    await platform.webhook(event, receiver.tell(path, [answer, 200]), retry_policy=_NEVER)
    id = await platform.delivery(await platform.publish(event))
    await platform.wait(id, status)
    first = await given_up(platform, id)
    second = await given_up(platform, id)
    audit = (await platform.get("/v1/audit", action="delivery.cancel", resource=id))["items"]

    async def listed() -> bool:
        found = {
            state: await platform.get("/v1/deliveries", event=event, status=state) for state in (status, "canceled")
        }
        return [len(page["items"]) for page in found.values()] == [0, 1]

    await until(listed, timeout=15, what="it in the list of the canceled")
    assert first == second
    assert len(audit) == 2
    await platform.post(f"/v1/deliveries/{id}/resend", expect=202)
    delivered = await platform.wait(id, "delivered")
    assert [attempt["trigger"] for attempt in delivered["attempts"]] == ["event", "resend"]
    assert delivered["canceled_by"] is None
    problem = await platform.post(f"/v1/deliveries/{id}/cancel", expect=409)
    assert "succeeded" in problem["detail"]


@pytest.mark.parametrize(("answer", "code", "status"), [(200, 409, "delivered"), (503, 202, "canceled")])
async def test_an_attempt_on_the_wire_is_waited_for_and_counts(
    platform: PlatformProcess, receiver: Receiver, path: str, answer: int, code: int, status: str
) -> None:
    """For 2 seconds. The first call gives up waiting, and changes nothing."""
    released = asyncio.Event()
    event = await platform.event()
    url = receiver.tell(path, [Reply(answer, before=released.wait)])
    await platform.webhook(event, url, retry_policy=_NEVER, timeout=30)
    id = await platform.delivery(await platform.publish(event))
    await receiver.wait_for(path, 1)
    problem = await platform.post(f"/v1/deliveries/{id}/cancel", expect=409)
    shown = await platform.get(f"/v1/deliveries/{id}")
    again = asyncio.create_task(platform.post(f"/v1/deliveries/{id}/cancel", expect=code))
    released.set()
    await again
    ended = await platform.wait(id, lambda delivery: bool(delivery["closed_at"]))

    assert "in progress" in problem["detail"]
    assert (shown["status"], shown["canceled_by"]) == ("pending", None)
    assert (ended["status"], len(ended["attempts"])) == (status, 1)
    assert len(receiver.got(path)) == 1


@pytest.mark.thorough
async def test_delayed_and_deferred_ones_are_given_up(own: PlatformProcess, receiver: Receiver, path: str) -> None:
    """Temporal has not begun the first; the lane of a silent receiver lets the other wait. The rest still comes."""
    back = asyncio.Event()
    webhook, [one, twice, *others] = await delayed_deliveries(own, receiver, path, back)
    deferred = ""

    async def found() -> bool:
        nonlocal deferred
        for item in (await own.get("/v1/deliveries", webhook_id=webhook, limit=100))["items"]:
            if item["waiting_for"] == "receiver_in_trouble" and item["id"] not in (one, twice, *others):
                deferred = item["id"]
        return bool(deferred)

    await until(found, timeout=30, what="a deferred delivery")
    await given_up(own, one)
    assert (await given_up(own, deferred))["closed_at"]
    both = await asyncio.gather(*(own.post(f"/v1/deliveries/{twice}/cancel", expect=202) for _ in range(2)))
    back.set()
    for id in others:
        await own.wait(id, "delivered", timeout=40)
    sent = {request.headers["webhook-id"] for request in receiver.got(path)}

    assert [answer["status"] for answer in both] == ["canceled"] * 2
    assert not {one, twice} & sent
    await own.post(f"/v1/deliveries/{one}/resend", expect=202)
    await own.wait(one, "delivered")


async def test_a_client_gives_up_its_own_only(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event, mine = await platform.event(), f"client-{uuid4().hex}"
    await platform.webhook(event, receiver.tell(f"{path}/theirs", [400]), allowedClientIdentifiers=[mine])
    async with consumer(platform, mine) as client:
        own = await created(client, event, receiver.tell(path, [400]))
        published = await platform.publish(event, client_identifier=mine)
        ids = {delivery["webhook_id"]: delivery["id"] for delivery in published["deliveries"]}
        for id in ids.values():
            await platform.wait(id, "failed")
        answers = {
            webhook: (await client.post(f"/v1/deliveries/{id}/cancel")).status_code for webhook, id in ids.items()
        }
        shown = (await client.get(f"/v1/deliveries/{ids[own['id']]}")).json()
    whole = await platform.get(f"/v1/deliveries/{ids[own['id']]}")

    assert answers.pop(own["id"]) == 202
    assert [*answers.values()] == [404]
    assert (shown["status"], shown["canceled_by"]) == ("canceled", None)
    assert whole["canceled_by"].endswith(f"/{mine})")
