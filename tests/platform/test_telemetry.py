"""Traces, metrics and logs as an operator gets them: from real processes, by real OTLP and Prometheus endpoints."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.support.collector import Collector, Span
from tests.workflows.save_histories import rename
from webhooks.testing.child_process import ROOT
from webhooks.testing.platform_process import Json, PlatformProcess, free_port, running, until
from webhooks.testing.receiver import Receiver, Reply

PRODUCER, OPERATOR = "0af7651916cd43dd8448eb211c80319c", "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "b7ad6b7169203331"
METRIC = re.compile(r"\b(?:webhooks|http_server|temporal)_[a-z_]+\b")


def headers(trace: str) -> dict[str, str]:
    """What a traced caller sends. Only the first is the receivers' business."""
    return {"traceparent": f"00-{trace}-{PARENT}-01", "tracestate": "vendor=canary-1", "baggage": "user=canary-2"}


async def publish(platform: PlatformProcess, event: str, trace: str) -> str:
    answer = await platform.http.post("/v1/occurrences", json={"event": event, "data": {}}, headers=headers(trace))
    assert answer.status_code == 202, answer.text
    return await platform.delivery(answer.json())


async def resend(platform: PlatformProcess, id: str, trace: str) -> None:
    answer = await platform.http.post(f"/v1/deliveries/{id}/resend", headers=headers(trace))
    assert answer.status_code == 202, answer.text


def lines(platform: PlatformProcess) -> Iterator[Json]:
    """The log, which is JSON where nobody sits before it."""
    return map(json.loads, platform.log.splitlines())


def sent(spans: list[Span]) -> list[Span]:
    return sorted((span for span in spans if span.name == "RunActivity:send"), key=lambda span: span.start)


async def test_one_trace_from_the_producer_to_every_attempt(tmp_path: Path, receiver: Receiver, path: str) -> None:
    """Also those after `kill -9` and after a resend, which has a trace of its own, linked both ways."""
    async with Collector().serving() as collector:
        own = PlatformProcess(tmp_path / "platform", **collector.environment)
        await own.start()
        event = await own.event()
        url = receiver.tell(path, [503, 503, 503, 200])
        policy = {"initial_interval": 3, "backoff_coefficient": 1, "maximum_attempts": 3}
        webhook = await own.webhook(event, url, retry_policy=policy)
        id = await publish(own, event, PRODUCER)
        await collector.wait(lambda spans: len(sent(spans)) == 1, "the first attempt's span")
        await own.kill()
        await own.start()
        await own.wait(id, "failed")
        await resend(own, id, OPERATOR)
        delivery = await own.wait(id, "delivered")
        assert await own.stop() == 0
        await own.close()
        spans = collector.spans

    ours = {span.id: span for span in spans if span.trace == PRODUCER}
    attempts = sent(list(ours.values()))
    assert [span.attributes["webhooks.attempt"] for span in attempts] == [1, 2, 3, 4]
    assert [span.attributes["webhooks.outcome"] for span in attempts] == ["http_503"] * 3 + ["delivered"]
    for span in attempts:
        assert span.attributes["webhooks.delivery_id"] == id
        assert span.attributes["webhooks.webhook_id"] == webhook["id"]
        assert span.attributes["webhooks.event_key"] == event
    assert len(delivery["attempts"]) == 4

    requests = receiver.got(path)
    parents = [request.headers["traceparent"].split("-") for request in requests]
    assert [trace for _, trace, _, _ in parents] == [PRODUCER] * 4
    assert [ours[parent].parent for _, _, parent, _ in parents] == [span.id for span in attempts]
    for _, _, parent, _ in parents:
        assert ours[parent].attributes["server.address"] == "127.0.0.1"
        assert path not in str(ours[parent])
    assert [ours[parent].failed for _, _, parent, _ in parents] == [True] * 3 + [False]
    assert not any({"tracestate", "baggage"} & request.headers.keys() for request in requests)

    names = {span.name for span in ours.values()}
    assert names >= {"POST /v1/occurrences", "StartWorkflow:DeliverWebhook", "RunWorkflow:DeliverWebhook"}
    assert names >= {"RunActivity:prepare", "CompleteWorkflow:DeliverWebhook", "HandleSignal:resend"}
    assert {span.parent for span in ours.values()} <= {*ours, PARENT}, "a gap in the trace"
    assert {span.service for span in spans} == {"durable-webhooks"}

    [asked] = [span for span in spans if span.trace == OPERATOR]
    [done] = [span for span in ours.values() if span.name == "resend"]
    assert asked.name == "POST /v1/deliveries/{id}/resend"
    assert asked.links == [PRODUCER]
    assert done.links == [OPERATOR]

    made = [line for line in lines(own) if line["message"] == "attempt"]
    assert [(line["attempt"], line["outcome"]) for line in made] == [
        (span.attributes["webhooks.attempt"], span.attributes["webhooks.outcome"]) for span in attempts
    ]
    assert [(line["trace_id"], line["span_id"]) for line in made] == [(PRODUCER, span.id) for span in attempts]
    assert {(line["delivery_id"], line["webhook_id"]) for line in made} == {(id, webhook["id"])}
    assert all(line["duration_ms"] > 0 for line in made)
    assert [line["status_code"] for line in made] == [503, 503, 503, 200]


@pytest.mark.thorough
async def test_another_run_of_a_delivery_stays_in_its_trace(tmp_path: Path, receiver: Receiver, path: str) -> None:
    """One that was delivered and is sent again by force, from a worker process of its own."""
    async with Collector().serving() as collector:
        own = PlatformProcess(tmp_path / "platform", WEBHOOKS_EMBEDDED_WORKER="false", **collector.environment)
        await own.start(ready=False)
        worker = own.worker()
        await worker.spawn()
        await until(own.is_ready, timeout=60, what="the worker")
        event = await own.event()
        await own.webhook(event, receiver.url(path))
        id = await publish(own, event, PRODUCER)
        await own.wait(id, "delivered")
        await own.post(f"/v1/deliveries/{id}/resend", {"force": True})
        await receiver.wait_for(path, 2)
        assert await worker.stop() == 0
        assert await own.stop() == 0
        await own.close()
        spans = collector.spans

    assert [request.headers["traceparent"].split("-")[1] for request in receiver.got(path)] == [PRODUCER] * 2
    assert {span.trace for span in sent(spans)} == {PRODUCER}
    assert len([span for span in spans if span.trace == PRODUCER and "StartWorkflow" in span.name]) == 2


@pytest.mark.thorough
async def test_a_delayed_delivery_stays_in_its_trace(tmp_path: Path, receiver: Receiver, path: str) -> None:
    """Its start in Temporal was delayed; a resend takes its place."""
    async with Collector().serving() as collector:
        async with running(tmp_path / "platform", **collector.environment) as own:
            event = await own.event()
            policy = {"initial_interval": 0.1, "backoff_coefficient": 1, "maximum_attempts": 6}
            await own.webhook(event, receiver.tell(path, [Reply(raw=b"")]), retry_policy=policy)  # hangs up
            await own.publish(event)
            await receiver.wait_for(path, 5)
            await collector.wait(lambda spans: len(sent(spans)) >= 5, "an open circuit")
            receiver.tell(path, [200])
            id = await publish(own, event, PRODUCER)
            await resend(own, id, OPERATOR)
            await own.wait(id, "delivered")
        spans = [span for span in collector.spans if span.trace == PRODUCER]

    starts = [span.name for span in spans if "StartWorkflow:" in span.name]
    assert sorted(starts) == ["SignalWithStartWorkflow:DeliverWebhook", "StartWorkflow:DeliverWebhook"]
    assert [span.attributes["webhooks.outcome"] for span in sent(spans)] == ["delivered"]
    [request] = [request for request in receiver.got(path) if request.headers["webhook-id"] == id]
    assert request.headers["traceparent"].split("-")[1] == PRODUCER


@pytest.mark.thorough
async def test_a_collector_that_hangs_keeps_nobody_waiting(tmp_path: Path, receiver: Receiver, path: str) -> None:
    """Neither a delivery nor the end of the process."""
    own = PlatformProcess(
        tmp_path / "platform",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=receiver.tell(f"{path}/traces", [Reply(200, before=asyncio.Event().wait)]),
        OTEL_EXPORTER_OTLP_TIMEOUT="60",
        OTEL_BSP_SCHEDULE_DELAY="100",
    )
    await own.start()
    event = await own.event()
    await own.webhook(event, receiver.url(path))
    await own.wait(await own.delivery(await own.publish(event)), "delivered")
    await receiver.wait_for(f"{path}/traces", 1)
    started = asyncio.get_running_loop().time()
    assert await own.stop() == 0
    await own.close()

    assert asyncio.get_running_loop().time() - started < 25


async def test_without_otel_variables_nothing_is_traced(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """Neither for the receiver nor in Temporal's history."""
    event = await platform.event()
    await platform.webhook(event, receiver.url(path))
    id = await publish(platform, event, PRODUCER)
    await platform.wait(id, "delivered")
    client = await platform.temporal()
    history = await client.get_workflow_handle(f"default/{id}").fetch_history()

    assert not {"traceparent", "tracestate", "baggage"} & receiver.got(path)[0].headers.keys()
    assert PRODUCER not in history.to_json()
    assert not history.events[0].workflow_execution_started_event_attributes.header.fields


async def told(*ports: int) -> dict[str, float]:
    """What Prometheus would read: each series with its value."""
    found: dict[str, float] = {}
    async with httpx.AsyncClient() as prometheus:
        for port in ports:
            page = await prometheus.get(f"http://127.0.0.1:{port}/metrics")
            for family in text_string_to_metric_families(page.text):
                for sample in family.samples:
                    labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
                    found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def asked() -> set[str]:
    """The metrics that the dashboard and the alert rules name."""
    panels = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    groups = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"]
    expressions += [rule["expr"] for group in groups for rule in group["rules"]]
    return {name for expression in expressions for name in METRIC.findall(expression)}


async def test_prometheus_is_told_what_happened(tmp_path: Path, receiver: Receiver, path: str) -> None:
    """Everything that the dashboard and the alert rules ask for."""
    ports = free_port(), free_port()
    variables: Json = {"WEBHOOKS_METRICS_PORT": str(ports[0]), "WEBHOOKS_TEMPORAL_METRICS_PORT": str(ports[1])}
    async with running(tmp_path / "platform", **variables) as own:
        event = await own.event()
        await own.publish(event)
        await own.webhook(event, receiver.tell(path, [503, 200, 400]))
        await own.wait(await own.delivery(await own.publish(event)), "delivered")
        parked = await own.delivery(await own.publish(event))
        await own.wait(parked, "failed")
        before = await told(*ports)
        slow, answer = await own.event(), asyncio.Event()
        await own.webhook(slow, receiver.tell(f"{path}/slow", [Reply(200, before=answer.wait)]))
        await own.publish(slow)
        await receiver.wait_for(f"{path}/slow", 1)
        during = await told(*ports)
        answer.set()
        rename(own, "webhooks", "away")
        await own.post(f"/v1/deliveries/{parked}/resend")

        async def counted() -> bool:
            return (await told(*ports)).get("webhooks_own_faults_total{error_type=OperationalError}") == 1

        await until(counted, timeout=30, what="a fault of our own")
        rename(own, "away", "webhooks")

    for series, value in {
        "webhooks_occurrences_total{result=matched}": 2,
        "webhooks_occurrences_total{result=unmatched}": 1,
        "webhooks_occurrences_total{result=refused}": 0,
        "webhooks_deliveries_total{status=delivered}": 1,
        "webhooks_deliveries_total{status=failed}": 1,
        "webhooks_attempts_total{outcome=http_503}": 1,
        "webhooks_attempts_total{outcome=http_400}": 1,
        "webhooks_attempts_total{outcome=delivered}": 1,
        "webhooks_attempt_duration_seconds_count{outcome=http_4xx}": 1,
        "webhooks_first_attempt_delay_seconds_count{}": 2,
        "webhooks_own_faults_total{}": 0,
        "webhooks_in_flight{}": 0,
        "webhooks_waiting{}": 0,
        "webhooks_awaiting_resend{}": 0,
        "webhooks_lanes{state=closed}": 0,
    }.items():
        assert before[series] == value, series
    assert (during["webhooks_in_flight{}"], during["webhooks_lanes{state=closed}"]) == (1, 1)
    assert 0 < before["webhooks_first_attempt_delay_seconds_sum{}"] < 10
    assert asked() <= {series.partition("{")[0] for series in before}


@pytest.mark.thorough
async def test_a_collector_is_sent_metrics_without_traces(tmp_path: Path, receiver: Receiver, path: str) -> None:
    """By OTLP, with those of Temporal's SDK."""
    async with Collector().serving() as collector:
        variables = collector.environment | {"OTEL_TRACES_EXPORTER": "none"}
        async with running(tmp_path / "platform", **variables) as own:
            event = await own.event()
            await own.webhook(event, receiver.url(path))
            await own.publish(event)

            async def sent() -> bool:
                return {"webhooks.attempt.duration", "temporal_worker_task_slots_available"} <= collector.metrics

            await until(sent, timeout=30, what="metrics", shown=lambda: str(sorted(collector.metrics)))
        assert collector.spans == []
        assert "traceparent" not in receiver.got(path)[0].headers
