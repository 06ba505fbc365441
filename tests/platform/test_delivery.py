"""What is promised of a delivery, seen from outside: over HTTP, with a real Temporal server and a real receiver."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from standardwebhooks import Webhook as StandardVerifier
from svix.webhooks import Webhook as SvixVerifier
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import WorkflowExecutionStatus

from tests.support.decrypting import client_of, history_of
from tests.support.sockets import OK, read_request, serving
from webhooks.deliveries.monitor import Deliveries
from webhooks.json_documents import MAX_LEVELS
from webhooks.testing.platform_process import Json, PlatformProcess, until
from webhooks.testing.receiver import Received, Receiver, Reply, Told


def outcomes(delivery: Json) -> list[tuple[int, str, str]]:
    return [(attempt["number"], attempt["trigger"], attempt["outcome"]) for attempt in delivery["attempts"]]


async def test_first_try(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """The receiver gets the occurrence once, and the monitor says what was sent and answered."""
    event = await platform.event()
    url = receiver.tell(path, [Reply(202, b'{"accepted": true}')])
    webhook = await platform.webhook(event, url, headers={"X-Custom-Header": "logiwa-webhook"})
    published = await platform.publish(event, {"order": {"id": 4711}}, client_identifier="c-1")
    delivery = await platform.wait(await platform.delivery(published), "delivered")
    [request] = receiver.got(path)

    assert request.method == "POST"
    assert json.loads(request.body) == {
        "id": published["id"],
        "event": event,
        "occurred_at": delivery["occurred_at"],
        "data": {"order": {"id": 4711}},
    }
    assert request.headers["webhook-id"] == delivery["id"] == f"{published['id']}~{webhook['id']}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("durable-webhooks/")
    assert request.headers["x-custom-header"] == "logiwa-webhook"
    [attempt] = delivery["attempts"]
    assert attempt["duration_ms"] >= sum(part or 0 for part in attempt["timing"].values())
    assert attempt == {
        "number": 1,
        "trigger": "event",
        "requested_by": None,
        "url": url,
        "outcome": "delivered",
        "status_code": 202,
        "error": None,
        "response_body": '{"accepted": true}',
        "retry_after": None,
        "backoff": None,
        "timing": {**attempt["timing"], "dns": None, "tls": None},
        "request_headers": attempt["request_headers"],
        "request_size": len(request.body),
        "response_headers": [
            {"name": "content-type", "value": "text/plain"},
            {"name": "content-length", "value": "18"},
        ],
        "response_size": 18,
        "response_complete": True,
        "remote_address": f"127.0.0.1:{receiver.port}",
        "http_version": "HTTP/1.1",
        "started_at": attempt["started_at"],
        "duration_ms": attempt["duration_ms"],
    }
    assert {header["name"].lower(): header["value"] for header in attempt["request_headers"]} == request.headers
    history = await history_of(platform, f"default/{delivery['id']}")
    stored = b"".join(item.SerializeToString() for item in history.events)
    assert stored.count(request.headers["webhook-signature"].encode()) == 1  # the workflow's result does not repeat it
    assert delivery["request"] == {
        "method": "POST",
        "content_type": "application/json",
        "event_version": 1,
        "body": request.body.decode(),
    }
    assert delivery["client_identifier"] == "c-1"
    assert delivery["webhook_id"] == webhook["id"]
    assert delivery["url"] == url
    assert delivery["created_at"] <= delivery["last_attempt_at"] <= delivery["closed_at"]
    assert delivery["next_attempt_at"] is None


@pytest.mark.parametrize("verifier", [StandardVerifier, SvixVerifier])
async def test_signature_is_accepted_by_independent_verifiers(
    platform: PlatformProcess, receiver: Receiver, path: str, verifier: type[StandardVerifier] | type[SvixVerifier]
) -> None:
    event = await platform.event()
    webhook = await platform.webhook(event, receiver.url(path))
    await platform.publish(event, {"text": "Grüße, 世界"})
    [request] = await receiver.wait_for(path, 1)

    verifier(webhook["signing_secret"]).verify(request.body, request.headers)
    with pytest.raises(Exception, match=r"(?i)signature"):
        verifier(webhook["signing_secret"]).verify(request.body + b" ", request.headers)
    assert json.loads(request.body)["data"] == {"text": "Grüße, 世界"}


async def test_retried_until_it_succeeds(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """503, 503, 200: three requests with the same id and body, each signed with its own time."""
    event = await platform.event()
    webhook = await platform.webhook(event, receiver.tell(path, [503, 503, 200]))
    delivery = await platform.wait(await platform.delivery(await platform.publish(event)), "delivered")
    requests = receiver.got(path)

    assert outcomes(delivery) == [(1, "event", "http_503"), (2, "retry", "http_503"), (3, "retry", "delivered")]
    assert len(requests) == 3
    assert len({request.headers["webhook-id"] for request in requests}) == 1
    assert len({request.body for request in requests}) == 1
    for request in requests:
        StandardVerifier(webhook["signing_secret"]).verify(request.body, request.headers)
    for earlier, later, attempt in zip(requests, requests[1:], delivery["attempts"], strict=False):
        assert 0.18 <= attempt["backoff"] <= 0.22
        assert later.at - earlier.at >= attempt["backoff"]


async def test_a_waiting_delivery_shows_its_attempts_and_the_next(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.tell(path, [503]), retry_policy={"initial_interval": 3600})
    id = await platform.delivery(await platform.publish(event))
    delivery = await platform.wait(id, "retrying")

    [attempt] = delivery["attempts"]
    wait = datetime.fromisoformat(delivery["next_attempt_at"]) - datetime.fromisoformat(attempt["started_at"])
    assert abs(wait.total_seconds() - attempt["backoff"]) < 10
    assert 3240 <= attempt["backoff"] <= 3960
    assert delivery["last_attempt_at"] == attempt["started_at"]
    assert delivery["closed_at"] is None


async def test_400_is_final(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """One request; the delivery waits for a person, with no timer that would try again."""
    event = await platform.event()
    await platform.webhook(event, receiver.tell(path, [Reply(400, b"bad invoice")]))
    delivery = await platform.wait(await platform.delivery(await platform.publish(event)), "failed")

    assert outcomes(delivery) == [(1, "event", "http_400")]
    assert delivery["attempts"][0]["response_body"] == "bad invoice"
    assert delivery["attempts"][0]["error"] == "400 Bad Request"
    assert delivery["attempts"][0]["backoff"] is None
    assert delivery["next_attempt_at"] is None
    assert delivery["closed_at"] is None
    assert len(receiver.got(path)) == 1


async def test_401_is_retried(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.tell(path, [401, 200]))
    delivery = await platform.wait(await platform.delivery(await platform.publish(event)), "delivered")

    assert outcomes(delivery) == [(1, "event", "http_401"), (2, "retry", "delivered")]


async def test_a_redirect_is_a_failure_and_not_followed(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    away = Reply(307, headers={"location": receiver.url(f"{path}/elsewhere")})
    await platform.webhook(event, receiver.tell(path, [away, 200]))
    delivery = await platform.wait(await platform.delivery(await platform.publish(event)), "delivered")

    assert outcomes(delivery) == [(1, "event", "http_307"), (2, "retry", "delivered")]
    assert receiver.got(f"{path}/elsewhere") == []


async def test_410_deactivates_the_webhook(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event()
    webhook = await platform.webhook(event, receiver.tell(path, [410]))
    delivery = await platform.wait(await platform.delivery(await platform.publish(event)), "failed")
    found = await platform.get(f"/v1/webhooks/{webhook['id']}")

    assert outcomes(delivery) == [(1, "event", "http_410")]
    assert found["active"] is False
    assert "410" in found["deactivated_reason"]
    assert (await platform.publish(event))["deliveries"] == []


async def test_parked_when_the_limit_is_reached(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event()
    policy = {"initial_interval": 0.1, "backoff_coefficient": 1, "maximum_attempts": 3}
    await platform.webhook(event, receiver.tell(path, [500]), retry_policy=policy)
    delivery = await platform.wait(await platform.delivery(await platform.publish(event)), "failed")

    assert outcomes(delivery) == [(1, "event", "http_500"), (2, "retry", "http_500"), (3, "retry", "http_500")]
    assert [attempt["backoff"] is None for attempt in delivery["attempts"]] == [False, False, True]
    assert len(receiver.got(path)) == 3


async def test_resend_of_a_parked_delivery(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """The new attempts join the old ones, and the policy starts anew."""
    event = await platform.event()
    await platform.webhook(event, receiver.tell(path, [400, 503, 200]))
    id = await platform.delivery(await platform.publish(event))
    await platform.wait(id, "failed")
    await platform.post(f"/v1/deliveries/{id}/resend", expect=202)
    delivery = await platform.wait(id, "delivered")

    assert outcomes(delivery) == [(1, "event", "http_400"), (2, "resend", "http_503"), (3, "retry", "delivered")]
    assert {request.headers["webhook-id"] for request in receiver.got(path)} == {id}


async def test_resend_during_a_backoff_means_now(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.tell(path, [503, 200]), retry_policy={"initial_interval": 3600})
    id = await platform.delivery(await platform.publish(event))
    await platform.wait(id, "retrying")
    await platform.post(f"/v1/deliveries/{id}/resend", {}, expect=202)
    delivery = await platform.wait(id, "delivered")

    assert outcomes(delivery) == [(1, "event", "http_503"), (2, "resend", "delivered")]


async def test_resend_of_a_closed_delivery_starts_a_new_run(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """Closed by an operator in the Web UI, say. Same id, the original's data, and one row in the list."""
    event = await platform.event()
    await platform.webhook(event, receiver.tell(path, [400, 200]))
    id = await platform.delivery(await platform.publish(event, {"order": 1}))
    failed = await platform.wait(id, "failed")
    await (await platform.temporal()).get_workflow_handle(f"default/{id}").terminate()
    closed = await platform.wait(id, lambda delivery: bool(delivery["closed_at"]))
    assert closed["status"] == "failed"
    await platform.post(f"/v1/deliveries/{id}/resend", expect=202)
    delivery = await platform.wait(id, "delivered")

    assert outcomes(delivery) == [(1, "event", "http_400"), (2, "resend", "delivered")]
    assert delivery["created_at"] == failed["created_at"]
    first, second = receiver.got(path)
    assert first.body == second.body

    async def listed() -> bool:
        page = await platform.get("/v1/deliveries", occurrence_id=delivery["occurrence_id"])
        return [(item["id"], item["status"]) for item in page["items"]] == [(id, "delivered")]

    await until(listed, timeout=10, what="one row in the list")
    page = await platform.get("/v1/deliveries", event=event, status="failed")
    assert page["items"] == []


@pytest.mark.parametrize(
    ("gone", "why"),
    [
        ("webhook deleted", "the webhook was deleted"),
        ("webhook inactive", "the webhook is inactive"),
        ("subscription deleted", "the webhook is no longer subscribed to the event"),
        ("subscription inactive", "the subscription is inactive"),
    ],
)
async def test_what_is_delivered_stays_so_when_nothing_can_be_sent(
    platform: PlatformProcess, receiver: Receiver, path: str, gone: str, why: str
) -> None:
    """A forced resend is refused, with the reason. If the webhook goes after that check, nothing is sent."""
    event = await platform.event()
    webhook = await platform.webhook(event, receiver.url(path))
    id = await platform.delivery(await platform.publish(event))
    delivered = await platform.wait(id, "delivered")
    [subscription] = (await platform.get("/v1/subscriptions", event=event))["items"]
    kind, _, how = gone.partition(" ")
    place = f"/v1/webhooks/{webhook['id']}" if kind == "webhook" else f"/v1/subscriptions/{subscription['id']}"
    if how == "deleted":
        await platform.call("DELETE", place, expect=204)
    else:
        await platform.call("PATCH", place, {"active": False})
    problem = await platform.post(f"/v1/deliveries/{id}/resend", {"force": True}, expect=409)
    assert problem["detail"].startswith(why)
    assert await platform.get(f"/v1/deliveries/{id}") == delivered

    await Deliveries(await client_of(platform), ui="", task_queue="webhooks").resend(
        "default", id, force=True, requested_by="test"
    )
    again = await platform.wait(id, lambda delivery: len(delivery["attempts"]) == 2 and delivery["closed_at"])
    assert again["status"] == "delivered"
    assert outcomes(again) == [(1, "event", "delivered"), (2, "resend", gone.replace(" ", "_"))]
    assert len(receiver.got(path)) == 1
    await platform.post(f"/v1/deliveries/{id}/resend", {"force": True}, expect=409)


async def test_a_forced_resend_that_the_receiver_refuses_has_failed(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """It was sent: who asked for it wants to know, and can resend it. Deleting the webhook then changes nothing."""
    event = await platform.event()
    webhook = await platform.webhook(event, receiver.tell(path, [200, 400]))
    id = await platform.delivery(await platform.publish(event))
    await platform.wait(id, "delivered")
    await platform.post(f"/v1/deliveries/{id}/resend", {"force": True}, expect=202)
    await platform.wait(id, "failed")
    await platform.call("DELETE", f"/v1/webhooks/{webhook['id']}", expect=204)
    await platform.post(f"/v1/deliveries/{id}/resend", expect=202)
    delivery = await platform.wait(id, lambda delivery: len(delivery["attempts"]) == 3)

    assert outcomes(delivery)[1:] == [(2, "resend", "http_400"), (3, "resend", "webhook_deleted")]
    assert (await platform.wait(id, "failed"))["closed_at"] is None


async def test_resend_of_a_delivered_one_needs_force(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.url(path))
    id = await platform.delivery(await platform.publish(event))
    await platform.wait(id, "delivered")
    await platform.post(f"/v1/deliveries/{id}/resend", expect=409)
    await platform.post(f"/v1/deliveries/{id}/resend", {"force": False}, expect=409)
    assert len(receiver.got(path)) == 1
    await platform.post(f"/v1/deliveries/{id}/resend", {"force": True}, expect=202)
    delivery = await platform.wait(id, lambda delivery: len(delivery["attempts"]) == 2)

    assert outcomes(delivery) == [(1, "event", "delivered"), (2, "resend", "delivered")]
    assert len(receiver.got(path)) == 2


async def test_a_signal_while_a_request_is_on_the_wire(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """The request is not called back; its failure lets the resend go at once instead of after an hour."""
    released = asyncio.Event()
    event = await platform.event()
    answers: list[Told] = [Reply(503, before=released.wait), 200]
    await platform.webhook(event, receiver.tell(path, answers), retry_policy={"initial_interval": 3600}, timeout=30)
    id = await platform.delivery(await platform.publish(event))
    await receiver.wait_for(path, 1)
    handle = (await platform.temporal()).get_workflow_handle(f"default/{id}")
    await handle.signal("resend")

    async def signalled() -> bool:
        return any(event.HasField("workflow_execution_signaled_event_attributes")
                   for event in (await handle.fetch_history()).events)  # fmt: skip

    await until(signalled, timeout=30, what="the signal in history")
    assert len(receiver.got(path)) == 1
    released.set()
    delivery = await platform.wait(id, "delivered")

    assert outcomes(delivery) == [(1, "event", "http_503"), (2, "resend", "delivered")]
    assert len(receiver.got(path)) == 2


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_retry_after_is_respected(platform: PlatformProcess, receiver: Receiver, path: str, form: str) -> None:
    def busy(_: Received) -> Reply:
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
        return Reply(429, headers={"Retry-After": "2" if form == "seconds" else date})

    event = await platform.event()
    await platform.webhook(event, receiver.tell(path, [busy, 200]))
    delivery = await platform.wait(await platform.delivery(await platform.publish(event)), "delivered")
    first, second = receiver.got(path)

    assert 1 < delivery["attempts"][0]["retry_after"] <= 3
    assert delivery["attempts"][0]["backoff"] == pytest.approx(delivery["attempts"][0]["retry_after"], abs=0.001)
    assert second.at - first.at >= delivery["attempts"][0]["retry_after"]


async def test_retry_after_cannot_exceed_the_maximum_interval(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    policy = {"initial_interval": 0.1, "maximum_interval": 0.5}
    answers: list[Told] = [Reply(503, headers={"Retry-After": "86400"}), 200]
    await platform.webhook(event, receiver.tell(path, answers), retry_policy=policy)
    delivery = await platform.wait(await platform.delivery(await platform.publish(event)), "delivered")

    assert delivery["attempts"][0]["retry_after"] == 86400
    assert delivery["attempts"][0]["backoff"] == 0.5


async def test_one_failing_webhook_does_not_touch_the_other(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    healthy = await platform.webhook(event, receiver.tell(f"{path}/healthy", [200]))
    failing = await platform.webhook(event, receiver.tell(f"{path}/failing", [400]))
    published = await platform.publish(event)
    ids = {item["webhook_id"]: item["id"] for item in published["deliveries"]}

    assert set(ids) == {healthy["id"], failing["id"]}
    assert len((await platform.wait(ids[healthy["id"]], "delivered"))["attempts"]) == 1
    assert len((await platform.wait(ids[failing["id"]], "failed"))["attempts"]) == 1
    assert len(receiver.got(f"{path}/healthy")) == 1


async def test_allowed_client_identifiers(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event()
    some = await platform.webhook(event, receiver.url(path), allowedClientIdentifiers=["c-1", "c-2"])
    every = await platform.webhook(event, receiver.url(path), allowedClientIdentifiers=[])

    async def reached(**fields: str) -> set[str]:
        return {item["webhook_id"] for item in (await platform.publish(event, **fields))["deliveries"]}

    assert await reached(client_identifier="c-2") == {some["id"], every["id"]}
    assert await reached(client_identifier="c-3") == {every["id"]}
    assert await reached() == {every["id"]}


async def test_an_occurrence_without_a_match_is_recorded(platform: PlatformProcess) -> None:
    event = await platform.event()
    published = await platform.publish(event, {"n": 1}, id="nobody-listens")
    handle = (await client_of(platform)).get_workflow_handle(f"default/{published['id']}")
    described = await handle.describe()

    assert published == {
        "id": "nobody-listens",
        "event": event,
        "deliveries": [],
        "matched": 0,
        "deliveries_url": "/v1/deliveries?occurrence_id=nobody-listens",
        "unmatched": "no webhook is subscribed",
    }
    assert described.workflow_type == "RecordOccurrence"
    await handle.result()
    assert (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED
    assert await platform.publish(event, {"n": 1}, id="nobody-listens") == published
    conflict = {"event": event, "data": {"n": 2}, "id": "nobody-listens"}
    await platform.post("/v1/occurrences", conflict, expect=409)


async def test_the_same_occurrence_twice(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.url(path))
    first = await platform.publish(event, {"a": 1, "b": 2}, id="order:4711")
    await platform.wait(await platform.delivery(first), "delivered")
    again = await platform.publish(event, {"b": 2, "a": 1}, id="order:4711")

    assert again == first
    for changed in ({"data": {"a": 2}}, {"data": {"a": 1, "b": 2}, "client_identifier": "other"}):
        problem = await platform.post("/v1/occurrences", {"event": event, "id": "order:4711", **changed}, expect=409)
        assert problem["errors"][0]["pointer"] == "/id"
    assert len((await platform.get(f"/v1/deliveries/{await platform.delivery(first)}"))["attempts"]) == 1
    assert len(receiver.got(path)) == 1


async def test_the_same_occurrence_from_many_at_once(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """All get the same answer; each webhook gets one request."""
    event = await platform.event()
    for name in "ab":
        await platform.webhook(event, receiver.url(f"{path}/{name}"))
    answers = await asyncio.gather(*(platform.publish(event, {"n": 1}, id="at-once") for _ in range(50)))
    for item in answers[0]["deliveries"]:
        await platform.wait(item["id"], "delivered")

    assert all(answer == answers[0] for answer in answers)
    assert [len(receiver.got(f"{path}/{name}")) for name in "ab"] == [1, 1]


async def test_concurrent_publishers_of_one_id_with_other_data(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """One wins at every webhook; the others learn of it and have started nothing."""
    event = await platform.event()
    for name in "ab":
        await platform.webhook(event, receiver.url(f"{path}/{name}"))
    answers = await asyncio.gather(
        *(
            platform.http.post("/v1/occurrences", json={"event": event, "id": "race", "data": {"n": n}})
            for n in range(20)
        )
    )
    await receiver.wait_for(f"{path}/a", 1)
    await receiver.wait_for(f"{path}/b", 1)

    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 19
    assert receiver.got(f"{path}/a")[0].body == receiver.got(f"{path}/b")[0].body


async def test_template_and_put(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """LogiSense's payload, by PUT."""
    template = {
        "eventName": "{eventName}",
        "account": {"id": "{account.id}", "name": "{account.name}"},
        "total": "{invoice.invoiceTotal}",
        "note": "Invoice {invoice.id} of {account.name}",
        "missing": "{invoice.nothing}",
    }
    event = await platform.event(template=template)
    await platform.webhook(event, receiver.url(path), method="PUT")
    data = {"account": {"id": 7, "name": "Acme"}, "invoice": {"id": "I-1", "invoiceTotal": 12.5}}
    await platform.publish(event, data)
    [request] = await receiver.wait_for(path, 1)

    assert request.method == "PUT"
    assert json.loads(request.body) == {
        "eventName": event,
        "account": {"id": 7, "name": "Acme"},
        "total": 12.5,
        "note": "Invoice I-1 of Acme",
        "missing": None,
    }


async def test_a_corrected_url_takes_effect_on_the_next_try(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    webhook = await platform.webhook(event, receiver.tell(f"{path}/old", [400]))
    id = await platform.delivery(await platform.publish(event))
    await platform.wait(id, "failed")
    await platform.call("PATCH", f"/v1/webhooks/{webhook['id']}", {"url": receiver.url(f"{path}/new")})
    await platform.post(f"/v1/deliveries/{id}/resend", expect=202)
    delivery = await platform.wait(id, "delivered")

    assert delivery["url"] == receiver.url(f"{path}/new")
    assert receiver.got(f"{path}/old")[0].body == receiver.got(f"{path}/new")[0].body


async def test_deleted_and_deactivated_webhooks_get_nothing_more(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    ids = {}
    for name in ("deleted", "deactivated"):
        policy = {"initial_interval": 3600}
        webhook = await platform.webhook(event, receiver.tell(f"{path}/{name}", [503]), retry_policy=policy)
        ids[name] = webhook["id"]
    published = await platform.publish(event)
    deliveries = {item["webhook_id"]: item["id"] for item in published["deliveries"]}
    for id in deliveries.values():
        await platform.wait(id, "retrying")
    await platform.call("DELETE", f"/v1/webhooks/{ids['deleted']}", expect=204)
    await platform.call("PATCH", f"/v1/webhooks/{ids['deactivated']}", {"active": False})
    for name, outcome in (("deleted", "webhook_deleted"), ("deactivated", "webhook_inactive")):
        id = deliveries[ids[name]]
        await platform.post(f"/v1/deliveries/{id}/resend", expect=202)
        delivery = await platform.wait(id, "failed")

        assert outcomes(delivery) == [(1, "event", "http_503"), (2, "resend", outcome)]
        assert len(receiver.got(f"{path}/{name}")) == 1


async def test_secrets_stay_out_of_history_and_answers(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """Not even when the receiver sends back what it got."""

    def echo(request: Received) -> Reply:
        return Reply(503, json.dumps(request.headers).encode())

    event = await platform.event()
    headers = {"Authorization": "Bearer canary-token-8472", "X-Api-Key": "canary-key-9153", "X-Plain": "visible"}
    webhook = await platform.webhook(event, receiver.tell(path, [echo, 400, 200]), headers=headers)
    id = await platform.delivery(await platform.publish(event))
    await platform.wait(id, "failed")
    await platform.post(f"/v1/deliveries/{id}/resend", expect=202)
    delivery = await platform.wait(id, "delivered")
    history = await history_of(platform, f"default/{id}")
    stored = b"".join(item.SerializeToString() for item in history.events)
    found = await platform.get(f"/v1/webhooks/{webhook['id']}")

    assert receiver.got(path)[0].headers["authorization"] == headers["Authorization"]
    assert found["headers"] == {"Authorization": "********", "X-Api-Key": "********", "X-Plain": "visible"}
    assert "signing_secret" not in found
    assert "visible" in delivery["attempts"][0]["response_body"]
    for canary in ("canary-token-8472", "canary-key-9153", webhook["signing_secret"].removeprefix("whsec_")):
        for place in (stored.decode("utf-8", "replace"), json.dumps(delivery), json.dumps(found), platform.log):
            assert canary not in place


async def test_impatient_resends_send_once(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """Many at once, and more while the request is on the wire: one request, and the monitor shows it."""
    released = asyncio.Event()
    event = await platform.event()
    answers: list[Told] = [400, Reply(200, before=released.wait)]
    await platform.webhook(event, receiver.tell(path, answers), timeout=30)
    id = await platform.delivery(await platform.publish(event))
    await platform.wait(id, "failed")
    await asyncio.gather(*(platform.post(f"/v1/deliveries/{id}/resend", expect=202) for _ in range(10)))
    await receiver.wait_for(path, 2)
    for _ in range(3):
        await platform.post(f"/v1/deliveries/{id}/resend", expect=202)
    released.set()
    delivery = await platform.wait(id, "delivered")

    assert outcomes(delivery) == [(1, "event", "http_400"), (2, "resend", "delivered")]
    assert len(receiver.got(path)) == 2


async def test_a_longer_timeout_is_for_deliveries_to_come(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """One that waits keeps the timeout that it was prepared with, and its request is not sent twice."""
    event = await platform.event()
    answers: list[Told] = [503, Reply(200, before=lambda: asyncio.sleep(2)), 200]
    webhook = await platform.webhook(
        event, receiver.tell(path, answers), timeout=1, retry_policy={"initial_interval": 3600}
    )
    id = await platform.delivery(await platform.publish(event))
    await platform.wait(id, "retrying")
    await platform.call("PATCH", f"/v1/webhooks/{webhook['id']}", {"timeout": 30, "method": "PUT"})
    await platform.post(f"/v1/deliveries/{id}/resend", expect=202)
    delivery = await platform.wait(id, lambda delivery: len(delivery["attempts"]) == 2)

    assert outcomes(delivery) == [(1, "event", "http_503"), (2, "resend", "timeout")]
    assert {request.method for request in receiver.got(path)} == {delivery["request"]["method"]} == {"POST"}


@pytest.mark.parametrize("moment", ["backoff", "on the wire"])
async def test_cancelled_in_the_web_ui(platform: PlatformProcess, receiver: Receiver, path: str, moment: str) -> None:
    """It ends, and the request that was on the wire counts. It can still be re-sent."""
    released = asyncio.Event()
    event = await platform.event()
    first: Told = 503 if moment == "backoff" else Reply(503, before=released.wait)
    await platform.webhook(
        event, receiver.tell(path, [first, 200]), retry_policy={"initial_interval": 3600}, timeout=30
    )
    id = await platform.delivery(await platform.publish(event))
    handle = (await platform.temporal()).get_workflow_handle(f"default/{id}")
    await receiver.wait_for(path, 1)
    if moment == "backoff":
        await platform.wait(id, "retrying")
    await handle.cancel()

    async def arrived() -> bool:
        kinds = [event.event_type for event in (await handle.fetch_history()).events]
        requested = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED
        return requested in kinds and EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED in kinds[kinds.index(requested) :]

    await until(arrived, timeout=30, what="the cancellation at the workflow")
    released.set()
    cancelled = await platform.wait(id, lambda delivery: bool(delivery["closed_at"]))
    await platform.post(f"/v1/deliveries/{id}/resend", expect=202)
    delivery = await platform.wait(id, "delivered")

    assert (cancelled["status"], cancelled["canceled_by"]) == ("canceled", None)
    assert outcomes(cancelled) == [(1, "event", "http_503")]
    assert outcomes(delivery) == [(1, "event", "http_503"), (2, "resend", "delivered")]


async def test_reset_in_the_web_ui(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """The new run is the delivery, and is re-sent like any other."""
    event = await platform.event()
    await platform.webhook(event, receiver.tell(path, [400, 400, 200]))
    id = await platform.delivery(await platform.publish(event))
    await platform.wait(id, "failed")
    client = await platform.temporal()
    await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace="default",
            workflow_execution=WorkflowExecution(workflow_id=f"default/{id}"),
            reason="test",
            workflow_task_finish_event_id=4,
            request_id=path,
        )
    )
    await receiver.wait_for(path, 2)
    again = await platform.wait(id, "failed")
    await platform.post(f"/v1/deliveries/{id}/resend", expect=202)
    delivery = await platform.wait(id, "delivered")
    described = await client.get_workflow_handle(f"default/{id}").describe()

    assert described.run_id in again["temporal_url"]
    assert outcomes(delivery)[-1] == (2, "resend", "delivered")


async def test_what_is_never_sent_says_why(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """A body that history could not hold is refused before the receiver gets it."""
    event = await platform.event(template=dict.fromkeys("abcde", "{s}"))
    await platform.webhook(event, receiver.url(path))
    id = await platform.delivery(await platform.publish(event, {"s": '"' * 100_000}))
    delivery = await platform.wait(id, "failed")

    assert outcomes(delivery) == [(1, "event", "not_rendered")]
    assert "larger than" in delivery["attempts"][0]["error"]
    assert receiver.got(path) == []


async def test_data_nested_as_deep_as_we_take_it(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """Whatever is accepted can be read again, by the worker and in the monitor."""
    event = await platform.event()
    await platform.webhook(event, receiver.url(path))
    accepted = []
    for depth in (MAX_LEVELS - 30, *range(MAX_LEVELS - 3, MAX_LEVELS + 2), 2 * MAX_LEVELS):
        body = f'{{"event": "{event}", "data": {"[" * depth}{"]" * depth}}}'
        answer = await platform.http.post("/v1/occurrences", content=body, headers={"content-type": "application/json"})
        assert answer.status_code in (202, 422)
        if answer.status_code == 202:
            accepted.append(depth)
            await platform.wait(answer.json()["deliveries"][0]["id"], "delivered")

    assert accepted == [MAX_LEVELS - 30, *range(MAX_LEVELS - 3, MAX_LEVELS + 1)]
    assert len(receiver.got(path)) == len(accepted)


async def test_a_kept_connection_that_closes_as_the_next_request_comes_costs_no_attempt(
    platform: PlatformProcess,
) -> None:
    """With one attempt only, the delivery would fail for good."""
    requests: list[tuple[int, str]] = []
    opened = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        connection = opened
        for answer in (OK, b""):
            head = (await read_request(reader)).decode().lower()
            requests.append((connection, head.partition("webhook-id: ")[2].partition("\r\n")[0]))
            writer.write(answer)

    async with serving(script) as url:
        event = await platform.event()
        await platform.webhook(event, url.replace("127.0.0.1", "localhost"), retry_policy={"maximum_attempts": 1})
        deliveries = []
        for _ in range(2):
            published = await platform.publish(event)
            deliveries.append(await platform.wait(await platform.delivery(published), "delivered"))

    assert [outcomes(delivery) for delivery in deliveries] == [[(1, "event", "delivered")]] * 2
    first, second = (delivery["id"].lower() for delivery in deliveries)
    assert requests == [(1, first), (1, second), (2, second)]


async def test_an_answer_with_a_header_that_cannot_be_read_is_an_answer(platform: PlatformProcess) -> None:
    requests = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await read_request(reader))
        writer.write(b"HTTP/1.1 200 OK\r\nX Request Id: 7\r\nContent-Length: 4\r\n\r\nfine")

    async with serving(script) as url:
        event = await platform.event()
        await platform.webhook(event, url)
        delivery = await platform.wait(await platform.delivery(await platform.publish(event)), "delivered")

    assert [attempt["response_body"] for attempt in delivery["attempts"]] == ["fine"]
    assert len(requests) == 1
