"""What the platform says of itself: operational events, webhooks that keep failing, and its own faults."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest

from webhooks.events.operational import DELIVERY_FAILED, DELIVERY_RECOVERED, KEYS, WEBHOOK_DEACTIVATED
from webhooks.testing.platform_process import Json, PlatformProcess, running, until
from webhooks.testing.receiver import Receiver, Reply

ALL = sorted(KEYS)
FIRST_ONLY = {"maximum_attempts": 1}


@pytest.fixture(scope="module")
async def impatient(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PlatformProcess]:
    """Deactivates what fails for a second, and closes a failed delivery after two."""
    folder = tmp_path_factory.mktemp("impatient")
    async with running(folder, WEBHOOKS_DEACTIVATE_AFTER="1", WEBHOOKS_RESEND_WINDOW="2") as platform:
        yield platform


async def watch(platform: PlatformProcess, url: str, webhook: Json, events: list[str] = ALL) -> Json:
    """A webhook for the operational events about another one."""
    about = {"data": {"webhook_id": webhook["id"]}}
    return await platform.post("/v1/webhooks", {"url": url, "events": events, "filter": about}, expect=201)


async def heard(receiver: Receiver, path: str, count: int) -> list[Json]:
    """The bodies of the first `count` requests."""
    return [json.loads(request.body) for request in await receiver.wait_for(path, count)]


async def reports(platform: PlatformProcess, delivery_id: str) -> int:
    """How many of a delivery's reports are through."""
    history = await (await platform.temporal()).get_workflow_handle(f"default/{delivery_id}").fetch_history()
    markers = [event.marker_recorded_event_attributes for event in history.events]
    activities = [
        json.loads(marker.details["data"].payloads[0].data)["activity_type"]
        for marker in markers
        if marker.marker_name == "core_local_activity" and not marker.HasField("failure")
    ]
    return activities.count("report")


async def reported(platform: PlatformProcess, delivery_id: str, count: int = 1) -> None:
    async def through() -> bool:
        return await reports(platform, delivery_id) == count

    await until(through, timeout=30, what=f"report {count} of {delivery_id}")


@pytest.mark.quiet
async def test_a_deactivation_is_told_once_however_many_deliveries_fail_by_it(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    policy = {"initial_interval": 1, "backoff_coefficient": 1}
    url = receiver.tell(path, [503] * 10 + [410])
    webhook = await platform.webhook(event, url, retry_policy=policy, name="Orders")
    await watch(platform, receiver.url(f"{path}/watch"), webhook)
    ids = [await platform.delivery(await platform.publish(event, client_identifier="c-1")) for _ in range(10)]
    for id in ids:
        await platform.wait(id, "failed")
        await reported(platform, id)
    bodies = await heard(receiver, f"{path}/watch", 11)
    found = await platform.get(f"/v1/webhooks/{webhook['id']}")
    [deactivated] = [body for body in bodies if body["event"] == WEBHOOK_DEACTIVATED]
    failed = {body["data"]["delivery_id"]: body for body in bodies if body["event"] == DELIVERY_FAILED}

    assert deactivated["data"] == {
        "webhook_id": webhook["id"],
        "webhook_name": "Orders",
        "reason": "the receiver answered 410 Gone",
        "deactivated_at": found["deactivated_at"],
    }
    assert deactivated["occurred_at"] == found["deactivated_at"]
    assert failed.keys() == set(ids)
    assert {body["data"]["outcome"] for body in failed.values()} <= {"http_410", "webhook_inactive"}
    assert failed[ids[0]]["data"] == {
        "delivery_id": ids[0],
        "webhook_id": webhook["id"],
        "webhook_name": "Orders",
        "occurrence_id": ids[0].partition("~")[0],
        "event": event,
        "client_identifier": "c-1",
        "outcome": failed[ids[0]]["data"]["outcome"],
        "failed_at": failed[ids[0]]["occurred_at"],
    }

    await platform.call("PATCH", f"/v1/webhooks/{webhook['id']}", {"name": "Orders, old"})
    await platform.post(f"/v1/deliveries/{ids[0]}/resend")
    await reported(platform, ids[0], 2)
    again = await heard(receiver, f"{path}/watch", 12)

    assert (again[11]["event"], again[11]["data"]["delivery_id"]) == (DELIVERY_FAILED, ids[0])
    assert len(receiver.got(f"{path}/watch")) == 12


async def test_a_failed_delivery_that_a_resend_delivers_has_recovered(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """Each failure for good is told, by an occurrence of its own."""
    event = await platform.event()
    webhook = await platform.webhook(event, receiver.tell(path, [400, 422, 200]), retry_policy=FIRST_ONLY)
    await watch(platform, receiver.url(f"{path}/watch"), webhook)
    id = await platform.delivery(await platform.publish(event))
    for count in (1, 2):
        await heard(receiver, f"{path}/watch", count)
        await platform.wait(id, "failed")
        await platform.post(f"/v1/deliveries/{id}/resend")
    bodies = await heard(receiver, f"{path}/watch", 3)
    delivery = await platform.wait(id, "delivered")

    assert [(body["event"], body["data"]["outcome"]) for body in bodies] == [
        (DELIVERY_FAILED, "http_400"),
        (DELIVERY_FAILED, "http_422"),
        (DELIVERY_RECOVERED, "delivered"),
    ]
    assert len({body["id"] for body in bodies}) == 3
    assert bodies[2]["data"]["recovered_at"] == bodies[2]["occurred_at"]
    assert len(delivery["attempts"]) == len(receiver.got(path)) == 3


@pytest.mark.thorough
async def test_a_resend_after_the_window_recovers_too(
    impatient: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """The delivery closes as expired; a resend still works, as a new run."""
    event = await impatient.event()
    webhook = await impatient.webhook(event, receiver.tell(path, [400, 200]))
    await watch(impatient, receiver.url(f"{path}/watch"), webhook)
    id = await impatient.delivery(await impatient.publish(event))
    expired = await impatient.wait(id, "expired")

    async def listed() -> bool:
        page = await impatient.get("/v1/deliveries", status="expired", event=event)
        return [item["id"] for item in page["items"]] == [id]

    await until(listed, timeout=30, what="the expired delivery in the list")
    await impatient.post(f"/v1/deliveries/{id}/resend", expect=202)
    delivery = await impatient.wait(id, "delivered")
    bodies = await heard(receiver, f"{path}/watch", 2)
    await impatient.post(f"/v1/deliveries/{id}/resend", {"force": True})
    await receiver.wait_for(path, 3)
    await impatient.wait(id, "delivered")

    assert expired["closed_at"]
    assert [attempt["trigger"] for attempt in delivery["attempts"]] == ["event", "resend"]
    assert [body["event"] for body in bodies] == [DELIVERY_FAILED, DELIVERY_RECOVERED]
    assert await reports(impatient, id) == 0, "what was delivered and is sent again has not recovered"


async def test_what_tells_of_failures_may_fail_itself(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """Its own failures are told to nobody, itself included: the platform comes to rest."""
    event = await platform.event()
    webhook = await platform.webhook(event, receiver.tell(path, [400]))
    failing = await watch(platform, receiver.tell(f"{path}/failing", [400]), webhook)
    about = {"filter": {"data": {"webhook_id": {"$in": [webhook["id"], failing["id"]]}}}}
    await platform.call("PATCH", f"/v1/webhooks/{failing['id']}", about)
    await watch(platform, receiver.url(f"{path}/watch"), failing)
    id = await platform.delivery(await platform.publish(event))
    [request] = await receiver.wait_for(f"{path}/failing", 1)
    told = request.headers["webhook-id"]
    await platform.wait(told, "failed")
    await platform.post(f"/v1/deliveries/{told}/resend")
    await receiver.wait_for(f"{path}/failing", 2)
    await platform.wait(told, "failed")

    assert (await reports(platform, id), await reports(platform, told)) == (1, 0)
    assert len(receiver.got(f"{path}/failing")) == 2
    assert receiver.got(f"{path}/watch") == []


async def test_a_webhook_that_fails_for_too_long_is_deactivated_and_what_waits_for_it_parks(
    impatient: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await impatient.event()
    receiver.tell(path, [503])
    webhook = await impatient.webhook(
        event, receiver.url(path), retry_policy={"initial_interval": 3, "backoff_coefficient": 1}
    )
    waiting = await impatient.delivery(await impatient.publish(event))
    await impatient.wait(waiting, "retrying")
    fast = {"initial_interval": 0.2, "backoff_coefficient": 1, "maximum_attempts": 100}
    await impatient.call("PATCH", f"/v1/webhooks/{webhook['id']}", {"retry_policy": fast})
    await watch(impatient, receiver.url(f"{path}/watch"), webhook)
    id = await impatient.delivery(await impatient.publish(event))
    last = await impatient.wait(id, "failed")
    parked = await impatient.wait(waiting, "failed")
    found = await impatient.get(f"/v1/webhooks/{webhook['id']}")
    bodies = await heard(receiver, f"{path}/watch", 3)
    lasted = datetime.fromisoformat(found["deactivated_at"]) - datetime.fromisoformat(found["failing_since"])

    assert {attempt["outcome"] for attempt in last["attempts"]} == {"http_503"}
    assert last["attempts"][-1]["backoff"] is None
    assert parked["attempts"][-1]["outcome"] == "webhook_inactive"
    assert (found["active"], found["deactivated_reason"]) == (
        False,
        f"no attempt has succeeded since {found['failing_since'][:16]}Z",
    )
    assert 1 <= lasted.total_seconds() < 10
    assert sorted(body["event"] for body in bodies) == [DELIVERY_FAILED, DELIVERY_FAILED, WEBHOOK_DEACTIVATED]
    assert (await impatient.publish(event))["deliveries"] == []

    again = await impatient.call("PATCH", f"/v1/webhooks/{webhook['id']}", {"active": True})

    assert [again[name] for name in ("deactivated_reason", "deactivated_at", "failing_since")] == [None] * 3


async def test_one_success_ends_the_failing(impatient: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await impatient.event()
    fine = asyncio.Event()
    receiver.tell(path, [lambda _: Reply(200 if fine.is_set() else 503)])
    policy = {"initial_interval": 0.7, "backoff_coefficient": 1, "maximum_attempts": 100}
    webhook = await impatient.webhook(event, receiver.url(path), retry_policy=policy)
    id = await impatient.delivery(await impatient.publish(event))

    async def failing() -> bool:
        return bool((await impatient.get(f"/v1/webhooks/{webhook['id']}"))["failing_since"])

    await until(failing, timeout=30, what="failing_since")
    fine.set()
    await impatient.wait(id, "delivered")
    found = await impatient.get(f"/v1/webhooks/{webhook['id']}")

    assert (found["active"], found["failing_since"], found["deactivated_reason"]) == (True, None, None)
    assert found["updated_at"] == webhook["updated_at"]


async def test_another_url_forgets_the_failing(impatient: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await impatient.event()
    webhook = await impatient.webhook(event, receiver.tell(path, [410]))
    place = f"/v1/webhooks/{webhook['id']}"
    await impatient.wait(await impatient.delivery(await impatient.publish(event)), "failed")
    named = await impatient.call("PATCH", place, {"name": "still gone"})
    moved = await impatient.call("PATCH", place, {"url": receiver.url(f"{path}/new")})

    assert named["deactivated_reason"]
    assert named["deactivated_at"]
    assert (moved["active"], moved["deactivated_reason"], moved["deactivated_at"]) == (False, None, None)


async def test_the_catalogue_has_the_platform_s_own_events(platform: PlatformProcess) -> None:
    for key in ALL:
        event = await platform.get(f"/v1/events/{key}")

        assert event["operational"] is True
        assert event["active"] is True
        assert f"{event['entity']}.{event['action']}" == key
        assert set(event["schema"]["required"]) == set(event["sample"])
        assert event["description"]
    assert (await platform.get(f"/v1/events/{await platform.event()}"))["operational"] is False


async def test_of_an_own_event_only_template_and_active_change(platform: PlatformProcess) -> None:
    place = f"/v1/events/{WEBHOOK_DEACTIVATED}"
    before = await platform.get(place)
    for change, pointer in (
        ({"schema": None}, "/schema"),
        ({"sample": {}}, "/sample"),
        ({"description": "mine"}, "/description"),
        ({"owner_required": True}, "/owner_required"),
    ):
        for method in ("PATCH", "PUT"):
            problem = await platform.call(method, place, change, expect=422)

            assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert await platform.call("PATCH", place, before)
    templated = await platform.call("PATCH", place, {"template": {"text": "{webhook_name}: {reason}"}})
    shown = await platform.post(f"{place}/preview")
    preset = await platform.call("PUT", place, {"preset": "EngageIP"})
    silent = await platform.call("PATCH", place, {"active": False})
    after = await platform.call("PATCH", place, {"active": True, "template": None})

    assert templated["template"]
    assert json.loads(shown["body"]) == {"text": "Shipment Order Webhook: the receiver answered 410 Gone"}
    assert preset["template"]["entity"] == "{entity}"
    assert silent["active"] is False
    assert {**after, "version": 0, "updated_at": ""} == {**before, "version": 0, "updated_at": ""}


@pytest.mark.parametrize("key", ALL)
async def test_reserved_keys_are_the_platform_s(platform: PlatformProcess, key: str) -> None:
    entity, action = key.split(".")
    created = await platform.post("/v1/events", {"key": key}, expect=422)
    named = await platform.post("/v1/events", {"entity": entity, "action": action}, expect=422)
    imported = await platform.post("/v1/events/import", {"events": [{"key": "Fine"}, {"key": key}]}, expect=422)
    published = await platform.post("/v1/occurrences", {"event": key, "data": {}}, expect=422)
    deleted = await platform.call("DELETE", f"/v1/events/{key}", expect=409)

    for problem, pointer in ((created, "/key"), (named, "/entity"), (imported, "/events/1")):
        assert f"{key} is reserved" in problem["detail"]
        assert problem["errors"][0]["pointer"] == pointer
    assert published["errors"] == [{"pointer": "/event", "detail": "only the platform publishes it"}]
    assert "operational event cannot be deleted" in deleted["detail"]
    await platform.get("/v1/events/Fine", expect=404)


@pytest.mark.thorough
async def test_a_secret_that_cannot_be_opened_is_said_once_and_costs_no_attempt(
    tmp_path: Path, receiver: Receiver, path: str
) -> None:
    """As if another master key had sealed it, for five deliveries; then it is back."""
    async with running(tmp_path) as platform:
        event = await platform.event()
        webhook = await platform.webhook(event, receiver.url(path), retry_policy=FIRST_ONLY)
        sealed = seal(platform, webhook["id"], b"k1no")
        ids = [await platform.delivery(await platform.publish(event)) for _ in range(5)]
        client = await platform.temporal()

        async def deferred() -> bool:
            histories = [await client.get_workflow_handle(f"default/{id}").fetch_history() for id in ids]
            return all("EVENT_TYPE_TIMER_STARTED" in history.to_json() for history in histories)

        await until(deferred, timeout=30, what="a try of each")
        broken = platform.log
        seal(platform, webhook["id"], sealed)
        deliveries = [await platform.wait(id, "delivered") for id in ids]
        repaired = platform.log

    assert [len(delivery["attempts"]) for delivery in deliveries] == [1] * 5
    assert broken.count("Traceback") == broken.count('"level": "error"') == 1
    assert broken.count("failed and will be tried again: CannotOpenError") == 1
    assert repaired.removeprefix(broken).count("works again after CannotOpenError") == 1
    assert repaired.count("Traceback") == 1


@pytest.mark.thorough
async def test_a_database_that_is_away_is_said_once_by_every_step(
    tmp_path: Path, receiver: Receiver, path: str
) -> None:
    """Neither the SDK nor we write a trace for each try; what was to be reported is reported after the repair."""
    async with running(tmp_path) as platform:
        event = await platform.event()
        slow: list[asyncio.Event] = [asyncio.Event()]
        receiver.tell(path, [Reply(400, before=slow[0].wait)])
        webhook = await platform.webhook(event, receiver.url(path))
        await watch(platform, receiver.url(f"{path}/watch"), webhook)
        reporting = await platform.delivery(await platform.publish(event))
        await receiver.wait_for(path, 1)
        rename(platform, "webhooks", "away")
        slow[0].set()
        await platform.wait(reporting, "failed")

        async def tried_again() -> bool:
            history = await (await platform.temporal()).get_workflow_handle(f"default/{reporting}").fetch_history()
            return history.to_json().count('"OperationalError"') >= 2

        await until(tried_again, timeout=30, what="a second try of the report")
        rename(platform, "away", "webhooks")
        [body] = await heard(receiver, f"{path}/watch", 1)
        await reported(platform, reporting)
        log = platform.log

    assert body["data"]["delivery_id"] == reporting
    assert log.count("failed and will be tried again: OperationalError") == 1
    assert log.count("works again after OperationalError") == 1
    assert log.count('"level": "error"') == 1
    assert "Completing activity as failed" not in log


@pytest.mark.thorough
async def test_a_deactivation_is_told_though_the_process_dies_after_it(
    tmp_path: Path, receiver: Receiver, path: str
) -> None:
    """The webhook is deactivated, nothing is published yet: then `kill -9`."""
    async with running(tmp_path) as platform:
        event, answered = await platform.event(), asyncio.Event()
        webhook = await platform.webhook(event, receiver.tell(path, [Reply(410, before=answered.wait)]))
        await watch(platform, receiver.url(f"{path}/watch"), webhook)
        id = await platform.delivery(await platform.publish(event))
        await receiver.wait_for(path, 1)
        rename(platform, "events", "away")
        answered.set()

        async def deactivated() -> bool:
            found = await platform.get(f"/v1/deliveries/{id}")
            return bool(found["attempts"]) and "reporting delivery.failed" in platform.log

        await until(deactivated, timeout=30, what="a report that failed")
        before = len(receiver.got(f"{path}/watch"))
        await platform.kill()
        rename(platform, "away", "events")
        await platform.start()
        bodies = await heard(receiver, f"{path}/watch", 2)
        await reported(platform, id)

    assert before == 0
    assert [body["event"] for body in bodies] == [DELIVERY_FAILED, WEBHOOK_DEACTIVATED]
    assert len(receiver.got(f"{path}/watch")) == 2
    assert len(receiver.got(path)) == 1


def seal(platform: PlatformProcess, webhook_id: str, sealed: bytes) -> bytes:
    """Puts other bytes in place of what is sealed, and returns those."""
    with sqlite3.connect(platform.data_dir / "webhooks.db", timeout=10) as database:
        [(before,)] = database.execute("SELECT sealed FROM webhooks WHERE id = ?", [webhook_id]).fetchall()
        database.execute("UPDATE webhooks SET sealed = ? WHERE id = ?", [sealed, webhook_id])
    database.close()
    return bytes(before)


def rename(platform: PlatformProcess, table: str, new: str) -> None:
    with sqlite3.connect(platform.data_dir / "webhooks.db", timeout=10) as database:
        database.execute(f"ALTER TABLE {table} RENAME TO {new}")
    database.close()
