"""Jobs: what failed is resent, and what a webhook has missed is sent to it, once each."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from webhooks.testing.platform_process import Json, PlatformProcess, until
from webhooks.testing.receiver import Receiver

_ONCE = {"maximum_attempts": 1}


async def visible(platform: PlatformProcess, count: int, path: str = "/v1/deliveries", **query: Any) -> None:
    """Wait until the list shows this many: visibility follows a moment later."""

    async def shown() -> bool:
        return len((await platform.get(path, limit=100, **query))["items"]) == count

    await until(shown, timeout=20, what=f"{count} items of {query}")


async def ended(platform: PlatformProcess, started: Json, state: str = "done") -> Json:
    """Return the job when it has ended."""
    job: Json = {}

    async def has_ended() -> bool:
        nonlocal job
        job = await platform.get(f"/v1/jobs/{started['job']['id']}")
        return job["ended_at"] is not None

    await until(has_ended, timeout=60, what="the end of the job", shown=lambda: str(job))
    assert job["state"] == state, job
    return job


async def failed(platform: PlatformProcess, url: str, count: int) -> tuple[str, list[str]]:
    """Publish to a webhook that fails for good. Return the event and the deliveries, oldest first."""
    event = await platform.event()
    await platform.webhook(event, url, retry_policy=_ONCE)
    ids = [await platform.delivery(await platform.publish(event, {"n": number})) for number in range(count)]
    for id in ids:
        await platform.wait(id, "failed")
    await visible(platform, count, event=event, status="failed")
    return event, ids


async def test_what_failed_is_resent_oldest_first(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event, ids = await failed(platform, receiver.tell(path, [500, 500, 500, 200]), 3)
    chosen = {"filter": {"event": [event]}}
    counted = await platform.post("/v1/deliveries/resend", {**chosen, "dry_run": True}, expect=202)
    assert counted == {"dry_run": {"count": 3, "exact": True}, "job": None}
    assert len(receiver.got(path)) == 3

    job = await ended(platform, await platform.post("/v1/deliveries/resend", chosen, expect=202))
    delivered = [await platform.wait(id, "delivered") for id in ids]

    assert (job["found"], job["seen"], job["done"], job["skipped"]) == (3, 3, 3, {})
    assert job["id"] in job["requested_by"]
    assert [request.headers["webhook-id"] for request in receiver.got(path)[3:]] == ids
    for delivery in delivered:
        assert [one["trigger"] for one in delivery["attempts"]] == ["event", "resend"]
        assert delivery["attempts"][1]["requested_by"] == job["requested_by"]
    await visible(platform, 0, event=event, status="failed")
    again = await ended(platform, await platform.post("/v1/deliveries/resend", chosen, expect=202))
    assert (again["found"], again["done"]) == (0, 0)
    assert len(receiver.got(path)) == 6


@pytest.mark.thorough
async def test_the_same_job_twice_sends_nothing_twice(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """The receiver still fails, so each delivery is failed again when the other job comes to it."""
    event, ids = await failed(platform, receiver.tell(path, [500]), 8)
    chosen = {"filter": {"event": [event]}}
    started = await asyncio.gather(*(platform.post("/v1/deliveries/resend", chosen, expect=202) for _ in range(3)))
    jobs = [await ended(platform, job) for job in started]
    for id in ids:
        await platform.wait(id, lambda delivery: delivery["attempt_count"] == 2 and delivery["status"] == "failed")

    assert len(receiver.got(path)) == 16
    assert all(job["done"] + sum(job["skipped"].values()) == job["seen"] for job in jobs)


PATHS = ("/v1/deliveries/resend", "/v1/deliveries/cancel", "/v1/webhooks/{}/replay")


@pytest.mark.parametrize("path_of", PATHS, ids=("resend", "cancel", "replay"))
async def test_a_repeated_call_with_a_key_starts_one_job(
    platform: PlatformProcess, receiver: Receiver, path_of: str
) -> None:
    event = await platform.event()
    webhook = await platform.webhook(event, receiver.url("/never"))
    call = path_of.format(webhook["id"])
    body: Json = {"since": "2026-01-10T09:40:00Z"} if "replay" in call else {"filter": {"event": [event]}}
    key = {"idempotency-key": f"key {webhook['id']}"}
    together = await asyncio.gather(*(platform.http.post(call, json=body, headers=key) for _ in range(4)))
    again = await platform.http.post(call, json=body, headers=key)
    other = await platform.http.post(call, json={**body, "rate": 1}, headers=key)
    ids = {answer.json()["job"]["id"] for answer in (*together, again) if answer.status_code == 202}
    [id] = ids
    await ended(platform, again.json())
    entries = (await platform.get("/v1/audit", resource=id))["items"]

    assert {answer.status_code for answer in together} <= {202, 409}
    assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")
    assert other.status_code == 422
    assert {entry["action"] for entry in entries} == {"job.start"}


@pytest.mark.thorough
async def test_only_those_with_a_late_attempt_are_resent(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """As by "resend what failed since": one that was published before, and failed after, is one of them."""
    event = await platform.event()
    url = receiver.tell(path, [400, 400, 500, 500, 500, 500, 200])
    await platform.webhook(event, url, retry_policy={"initial_interval": 4, "maximum_attempts": 2})
    early = [await platform.delivery(await platform.publish(event)) for _ in range(2)]
    for id in early:
        await platform.wait(id, "failed")
    later = await platform.delivery(await platform.publish(event))
    await platform.wait(later, "retrying")
    since = datetime.now(UTC)
    last = await platform.delivery(await platform.publish(event))
    for id in (later, last):
        await platform.wait(id, "failed")
    await visible(platform, 4, event=event, status="failed")
    chosen = {"filter": {"event": [event], "last_attempt_since": since.isoformat()}}
    counted = await platform.post("/v1/deliveries/resend", {**chosen, "dry_run": True}, expect=202)
    job = await ended(platform, await platform.post("/v1/deliveries/resend", chosen, expect=202))
    for id in (later, last):
        await platform.wait(id, "delivered")

    assert counted["dry_run"] == {"count": 2, "exact": True}
    assert (job["done"], job["skipped"]) == (2, {"does_not_match": 2})
    assert [(await platform.get(f"/v1/deliveries/{id}"))["status"] for id in early] == ["failed", "failed"]


async def test_delivered_ones_are_resent_with_force_only(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.tell(path, [200]))
    id = await platform.delivery(await platform.publish(event))
    await platform.wait(id, "delivered")
    await visible(platform, 1, event=event, status="delivered")
    chosen = {"filter": {"event": [event], "status": ["delivered"]}}
    await platform.post("/v1/deliveries/resend", chosen, expect=422)
    await platform.post("/v1/deliveries/resend", {"filter": {"status": ["pending"]}}, expect=422)
    job = await ended(platform, await platform.post("/v1/deliveries/resend", {**chosen, "force": True}, expect=202))
    await receiver.wait_for(path, 2)
    delivery = await platform.wait(id, lambda delivery: delivery["attempt_count"] == 2)

    assert job["done"] == 1
    assert delivery["attempts"][1]["trigger"] == "resend"
    assert delivery["attempts"][1]["requested_by"] == job["requested_by"]


async def test_a_job_is_paused_resumed_and_stopped(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event, _ = await failed(platform, receiver.tell(path, [500] * 6 + [200]), 6)
    started = await platform.post("/v1/deliveries/resend", {"filter": {"event": [event]}, "rate": 0.5}, expect=202)
    call = f"/v1/jobs/{started['job']['id']}"
    await receiver.wait_for(path, 7)
    await platform.post(f"{call}/pause", expect=202)

    async def paused() -> bool:
        job = await platform.get(call)
        return bool(job["state"] == "paused" and job["done"] == len(receiver.got(path)) - 6)

    await until(paused, timeout=20, what="the pause")
    before = (await platform.get(call))["done"]
    await platform.post(f"{call}/resume", expect=202)
    await receiver.wait_for(path, 6 + before + 1)
    await platform.post(f"{call}/stop", expect=202)
    job = await ended(platform, started, "stopped")
    await receiver.wait_for(path, 6 + job["done"])

    assert before < job["done"] < 6
    assert len(receiver.got(path)) == 6 + job["done"]
    await platform.post(f"{call}/resume", expect=409)
    await visible(platform, 6 - job["done"], event=event, status="failed")
    listed = await platform.get("/v1/jobs")
    assert job["id"] in [one["id"] for one in listed["items"]]
    actions = [entry["action"] for entry in (await platform.get("/v1/audit", resource=job["id"]))["items"]]
    assert actions == ["job.stop", "job.resume", "job.pause", "job.start"]


async def test_a_webhook_gets_what_it_has_missed(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """Before it existed, while it was inactive, and what another webhook got; not what its filter leaves out."""
    event, since = await platform.event(), datetime.now(UTC).isoformat()
    before = await platform.publish(event, {"n": 1})
    assert before["unmatched"]
    filter = {"data": {"n": {"$lt": 4}}}
    webhook = await platform.webhook(event, receiver.tell(path, [200]), active=False, filter=filter)
    inactive = await platform.publish(event, {"n": 2})
    other = await platform.webhook(event, receiver.url(f"{path}/other"))
    to_other = await platform.publish(event, {"n": 3})
    unwanted = await platform.publish(event, {"n": 4})
    call = f"/v1/webhooks/{webhook['id']}/replay"
    await platform.post(call, {"since": since}, expect=409)
    await platform.http.patch(
        f"/v1/webhooks/{webhook['id']}",
        json={"active": True},
        headers={"content-type": "application/merge-patch+json"},
    )
    got = await platform.publish(event, {"n": 1})
    await receiver.wait_for(path, 1)
    await visible(platform, 5, "/v1/occurrences", event=event)
    await visible(platform, 1, webhook_id=webhook["id"])
    await visible(platform, 3, webhook_id=other["id"])
    counted = await platform.post(call, {"since": since, "dry_run": True}, expect=202)
    assert counted["dry_run"] == {"count": 4, "exact": False}

    job = await ended(platform, await platform.post(call, {"since": since}, expect=202))
    await receiver.wait_for(path, 4)
    missed = [before, inactive, to_other]
    replayed = [await platform.wait(f"{one['id']}~{webhook['id']}", "delivered") for one in missed]

    assert [request.headers["webhook-id"] for request in receiver.got(path)[1:]] == [one["id"] for one in replayed]
    assert (job["done"], job["skipped"]) == (3, {"not_wanted": 1, "exists": 1})
    for delivery in replayed:
        [attempt] = delivery["attempts"]
        assert (attempt["trigger"], attempt["requested_by"]) == ("replay", job["requested_by"])
    assert (await platform.get(f"/v1/occurrences/{before['id']}"))["deliveries"][0]["webhook_id"] == webhook["id"]
    again = await ended(platform, await platform.post(call, {"since": since}, expect=202))
    assert (again["done"], again["skipped"]) == (0, {"not_wanted": 1, "exists": 4})
    assert len(receiver.got(path)) == 4
    assert got["deliveries"]
    assert unwanted["deliveries"]


async def test_a_replay_can_resend_what_failed(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event, since = await platform.event(), datetime.now(UTC).isoformat()
    webhook = await platform.webhook(event, receiver.tell(path, [500, 200]), retry_policy=_ONCE)
    id = await platform.delivery(await platform.publish(event))
    await platform.wait(id, "failed")
    await visible(platform, 1, event=event, status="failed")
    call, body = f"/v1/webhooks/{webhook['id']}/replay", {"since": since}
    left = await ended(platform, await platform.post(call, body, expect=202))
    job = await ended(platform, await platform.post(call, {**body, "only_missing": False}, expect=202))
    delivery = await platform.wait(id, "delivered")

    assert left["skipped"] == {"exists": 1}
    assert job["done"] == 1
    assert [one["trigger"] for one in delivery["attempts"]] == ["event", "resend"]


async def test_one_occurrence_is_sent_to_a_webhook_that_missed_it(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    missed, other = [await platform.publish(event, {"n": n}) for n in (1, 2)]
    webhook = await platform.webhook(event, receiver.url(path))
    picky = await platform.webhook(event, receiver.url(path), filter={"data": {"n": 2}})
    await visible(platform, 2, "/v1/occurrences", event=event)
    body = {"occurrence_id": [missed["id"]]}
    calls = [f"/v1/webhooks/{one['id']}/replay" for one in (webhook, picky)]
    counts = [(await platform.post(call, {**body, "dry_run": True}))["dry_run"] for call in calls]
    jobs = [await ended(platform, await platform.post(call, body, expect=202)) for call in calls]
    [request] = await receiver.wait_for(path, 1)
    await visible(platform, 1, webhook_id=webhook["id"])
    after = (await platform.post(calls[0], {**body, "dry_run": True}))["dry_run"]

    assert counts == [{"count": 1, "exact": True}, {"count": 0, "exact": True}]
    assert [(job["done"], job["skipped"]) for job in jobs] == [(1, {}), (0, {"not_wanted": 1})]
    assert request.headers["webhook-id"] == f"{missed['id']}~{webhook['id']}"
    assert after == {"count": 0, "exact": True}
    assert not (await platform.get(f"/v1/occurrences/{other['id']}"))["deliveries"]
    await platform.post(calls[0], {}, expect=422)


async def test_what_waits_is_given_up(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event()
    url = receiver.tell(path, [503])
    await platform.webhook(event, url, retry_policy={"initial_interval": 3600})
    ids = [await platform.delivery(await platform.publish(event)) for _ in range(3)]
    for id in ids:
        await platform.wait(id, "retrying")
    await visible(platform, 3, event=event)
    body = {"filter": {"event": [event]}}
    await platform.post("/v1/deliveries/cancel", {"filter": {"status": ["delivered"]}}, expect=422)
    counted = await platform.post("/v1/deliveries/cancel", {**body, "dry_run": True}, expect=202)
    job = await ended(platform, await platform.post("/v1/deliveries/cancel", body, expect=202))
    given_up = [await platform.wait(id, "canceled") for id in ids]

    assert counted["dry_run"] == {"count": 3, "exact": True}
    assert (job["done"], job["skipped"]) == (3, {})
    assert {delivery["canceled_by"] for delivery in given_up} == {job["requested_by"]}
    assert len(receiver.got(path)) == 3


async def test_consumers_reach_their_own_deliveries_and_jobs_only(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event, [foreign] = await failed(platform, receiver.tell(path, [500]), 1)
    all_jobs = await ended(platform, await platform.post("/v1/deliveries/resend", {"filter": {"event": [event]}}))
    await platform.wait(foreign, lambda delivery: delivery["attempt_count"] == 2 and delivery["status"] == "failed")
    client = f"client-{event}"
    token = await platform.post(
        "/v1/tokens",
        {"client_identifier": client, "permissions": ["webhook:add", "job:list", "job:stop", "delivery:resend"]},
        expect=201,
    )
    async with platform.called_with(token["token"]) as consumer:
        own = await consumer.webhook(
            event, receiver.tell(f"{path}/own", [500, 200]), retry_policy=_ONCE, allowedClientIdentifiers=[client]
        )
        published = await platform.publish(event, client_identifier=client)
        id = next(one["id"] for one in published["deliveries"] if one["webhook_id"] == own["id"])
        await platform.wait(id, "failed")
        await visible(platform, 1, webhook_id=own["id"], status="failed")
        job = await ended(consumer, await consumer.post("/v1/deliveries/resend", {"filter": {}}, expect=202))
        await platform.wait(id, "delivered")
        listed = (await consumer.get("/v1/jobs"))["items"]
        await consumer.get(f"/v1/jobs/{all_jobs['id']}", expect=404)
        await consumer.post(f"/v1/jobs/{all_jobs['id']}/stop", expect=404)
        await consumer.post(
            f"/v1/webhooks/{(await platform.get(f'/v1/deliveries/{foreign}'))['webhook_id']}/replay",
            {"since": "2026-01-01T00:00:00Z"},
            expect=404,
        )

    assert (job["done"], job["requested_by"], job["temporal_url"]) == (1, None, None)
    assert [one["id"] for one in listed] == [job["id"]]
    assert (await platform.get(f"/v1/deliveries/{foreign}"))["attempt_count"] == 2


@pytest.mark.thorough
@pytest.mark.slow
async def test_killed_in_the_middle(own: PlatformProcess, receiver: Receiver, path: str) -> None:
    """The job goes on after the restart: nothing is left out, and nothing is sent twice."""
    count = 30
    await own.start()
    event, ids = await failed(own, receiver.tell(path, [500] * count + [200]), count)
    started = await own.post("/v1/deliveries/resend", {"filter": {"event": [event]}}, expect=202)
    await receiver.wait_for(path, count + 8)
    await own.kill()
    await own.start()
    job = await ended(own, started)
    for id in ids:
        await own.wait(id, "delivered", timeout=60)
    sent = [request.headers["webhook-id"] for request in receiver.got(path)[count:]]
    on_the_wire = len(sent) - len(set(sent))
    await own.stop()

    assert {*sent} == {*ids}
    assert on_the_wire <= 1
    assert 0 < job["done"] <= count
