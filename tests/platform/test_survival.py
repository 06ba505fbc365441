"""Killed, restarted, cut off: what was accepted is delivered all the same."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sqlite3
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, RegisterNamespaceRequest

from tests.workflows.save_histories import break_database
from webhooks.testing.child_process import ROOT
from webhooks.testing.platform_process import Json, PlatformProcess, free_port, running, until
from webhooks.testing.receiver import Receiver, Reply


@pytest.mark.slow
async def test_killed_while_the_receiver_holds_the_request(own: PlatformProcess, receiver: Receiver, path: str) -> None:
    """It arrives after the restart, with the same webhook-id."""
    never = asyncio.Event()
    await own.start()
    event = await own.event()
    await own.webhook(event, receiver.tell(path, [Reply(200, before=never.wait), 200]), timeout=30)
    id = await own.delivery(await own.publish(event))
    await receiver.wait_for(path, 1)
    await own.kill()
    await own.start()
    first, second = await receiver.wait_for(path, 2, timeout=60)
    delivery = await own.wait(id, "delivered")
    await own.stop()

    assert first.headers["webhook-id"] == second.headers["webhook-id"] == id
    assert first.body == second.body
    assert len(delivery["attempts"]) == 1
    assert len(receiver.got(path)) == 2


@pytest.mark.thorough
async def test_everything_killed_during_a_backoff(own: PlatformProcess, receiver: Receiver, path: str) -> None:
    """The chain goes on where it was, at the time that it had announced."""
    await own.start()
    event = await own.event()
    await own.webhook(event, receiver.tell(path, [503, 200]), retry_policy={"initial_interval": 5})
    id = await own.delivery(await own.publish(event))
    waiting = await own.wait(id, "retrying")
    await own.kill()
    await own.start()
    assert (await own.get(f"/v1/deliveries/{id}"))["attempts"][0] == waiting["attempts"][0]
    delivery = await own.wait(id, "delivered")
    await own.stop()
    first, second = receiver.got(path)

    assert [attempt["outcome"] for attempt in delivery["attempts"]] == ["http_503", "delivered"]
    assert second.at - first.at >= 4.5


async def test_sigterm_finishes_what_is_in_flight(own: PlatformProcess, receiver: Receiver, path: str) -> None:
    """The held request ends in its answer, is sent once, and is known as delivered afterwards."""
    release = asyncio.Event()
    await own.start()
    event = await own.event()
    await own.webhook(event, receiver.tell(path, [Reply(200, before=release.wait), 500]), timeout=30)
    id = await own.delivery(await own.publish(event))
    await receiver.wait_for(path, 1)
    stopping = asyncio.create_task(own.stop())

    await until(own.refuses, timeout=20, what="the end of the API")
    release.set()
    assert await stopping == 0
    await own.start()
    delivery = await own.wait(id, "delivered")
    await own.stop()

    assert len(delivery["attempts"]) == 1
    assert len(receiver.got(path)) == 1


@pytest.mark.thorough
async def test_our_temporal_server_is_started_again_when_it_dies(
    own: PlatformProcess, receiver: Receiver, path: str
) -> None:
    await own.start()
    event = await own.event()
    await own.webhook(event, receiver.url(path))
    server = own.temporal_pid
    os.kill(server, signal.SIGKILL)

    async def accepted() -> bool:
        answer = await own.http.post("/v1/occurrences", json={"event": event, "id": "after", "data": {}})
        assert answer.status_code == 202 or (answer.status_code == 503 and answer.headers["retry-after"])
        return answer.status_code == 202

    await until(accepted, timeout=60, what="a publication")
    await receiver.wait_for(path, 1, timeout=60)
    assert await own.stop() == 0
    # Also what Temporal's SDK logs while its server is away has the shape of our lines.
    lines = [json.loads(line) for line in own.log.splitlines()]
    [ended] = [line for line in lines if "server ended" in line["message"]]

    assert (ended["level"], ended["message"].split(";")[0]) == ("error", "the Temporal server ended with code -9")
    assert any(line["logger"].startswith("temporalio") for line in lines)
    for line in lines:
        assert line["level"] in ("info", "warning", "error")
        assert isinstance(line["message"], str)
        assert "\x1b" not in line["message"]


async def test_temporal_unreachable(tmp_path: Path) -> None:
    """Configuration works, publishing answers 503 in time and says when to come back."""
    own = PlatformProcess(tmp_path / "platform", TEMPORAL_ADDRESS=f"127.0.0.1:{free_port()}")
    await own.start(ready=False)
    event = await own.event()
    started = time.monotonic()
    answer = await own.http.post("/v1/occurrences", json={"event": event, "data": {}})
    listed = await own.http.get("/v1/deliveries")
    ready = await own.http.get("/health/ready")
    assert await own.stop() == 0
    await own.close()

    assert time.monotonic() - started < 10
    for refused in (answer, listed, ready):
        assert refused.status_code == 503
        assert refused.headers["content-type"] == "application/problem+json"
        assert int(refused.headers["retry-after"]) > 0


@pytest.mark.thorough
async def test_a_private_address_that_is_no_longer_allowed(
    own: PlatformProcess, receiver: Receiver, path: str, tmp_path: Path
) -> None:
    """Judged at the time of sending, not only when it was configured; the receiver gets no connection."""
    await own.start()
    event = await own.event()
    await own.webhook(event, receiver.url(path))
    await own.stop()
    async with running(own.data_dir, WEBHOOKS_EGRESS_ALLOW="") as strict:
        id = await strict.delivery(await strict.publish(event))
        delivery = await strict.wait(id, "failed")

        assert [attempt["outcome"] for attempt in delivery["attempts"]] == ["address_not_allowed"]
        assert delivery["attempts"][0]["error"] == "address not allowed"
        assert receiver.got(path) == []


@pytest.mark.thorough
@pytest.mark.slow
async def test_what_keeps_a_platform_from_starting_is_said(platform: PlatformProcess, tmp_path: Path) -> None:
    """What Settings() refuses is in tests/webhooks/test_settings.py, and one of it here."""
    file = tmp_path / "file"
    file.touch()

    async def tried(number: int, variable: str, **settings: str) -> None:
        ours = {"WEBHOOKS_PORT": str(free_port()), "WEBHOOKS_DATA_DIR": str(tmp_path / f"other-{number}")}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "api"),
            cwd=ROOT,
            env={**platform.environment, **ours, **settings},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        _, err = await asyncio.wait_for(process.communicate(), 110)

        assert process.returncode == 1
        assert variable in err.decode()
        assert "Traceback" not in err.decode()

    await asyncio.gather(
        tried(1, "WEBHOOKS_DATA_DIR", WEBHOOKS_DATA_DIR=str(platform.data_dir)),
        tried(2, "WEBHOOKS_DATA_DIR", WEBHOOKS_DATA_DIR=str(file / "folder")),
        tried(3, "WEBHOOKS_TEMPORAL_PORT"),
        tried(4, "WEBHOOKS_PORT", WEBHOOKS_PORT=str(platform.port)),
        tried(5, "WEBHOOKS_PORT", WEBHOOKS_PORT="http"),
        tried(6, "WEBHOOKS_METRICS_PORT", WEBHOOKS_METRICS_PORT=str(platform.port)),
        tried(7, "OTEL_TRACES_EXPORTER", OTEL_TRACES_EXPORTER="zipkin"),
    )


@pytest.mark.thorough
@pytest.mark.slow
async def test_worker_processes_of_their_own(tmp_path: Path, receiver: Receiver, path: str) -> None:
    """An API without a worker accepts and waits; a worker delivers; when it is killed during a request another one does
    it again, with the same webhook-id."""
    never = asyncio.Event()
    own = PlatformProcess(tmp_path / "platform", WEBHOOKS_EMBEDDED_WORKER="false")
    await own.start(ready=False)

    event = await own.event()
    webhook = await own.webhook(event, receiver.tell(path, [Reply(200, before=never.wait), 200]), timeout=30)

    async def accepted() -> bool:
        return (
            await own.http.post("/v1/occurrences", json={"event": event, "id": "waits", "data": {}})
        ).status_code == 202

    await until(accepted, timeout=30, what="Temporal")
    assert await own.is_ready() is False
    waiting = await own.get(f"/v1/deliveries/waits~{webhook['id']}")
    traffic: Json = {}

    async def counted() -> bool:
        nonlocal traffic
        traffic = await own.get(f"/v1/webhooks/{webhook['id']}/traffic")
        return bool(traffic["unfinished"])

    await until(counted, timeout=15, what="the delivery in the traffic")
    first, second = own.worker(), own.worker()
    await first.spawn()
    await receiver.wait_for(path, 1)
    await first.kill()
    await second.spawn()
    await until(own.is_ready, timeout=30, what="a polling worker")
    one, two = await receiver.wait_for(path, 2, timeout=60)
    delivery = await own.wait(two.headers["webhook-id"], "delivered")
    assert await second.stop() == 0
    assert await own.stop() == 0
    await own.close()

    assert (waiting["status"], waiting["waiting_for"]) == ("pending", "worker")
    not_known_here = dict.fromkeys(("state", "in_flight", "waiting", "limit"))
    assert traffic == {**not_known_here, "unfinished": 1, "awaiting_resend": 0}
    assert one.headers["webhook-id"] == two.headers["webhook-id"]
    assert len(delivery["attempts"]) == 1


@pytest.mark.thorough
async def test_the_first_start_makes_a_key_and_a_private_durable_server(tmp_path: Path) -> None:
    """Without a key from the environment, in a folder that others may read. Without a terminal, the log shows no calls
    to paste."""
    folder = tmp_path / "platform"
    folder.mkdir(mode=0o755)
    own = PlatformProcess(folder, WEBHOOKS_BOOTSTRAP_KEY="")
    await own.start()
    key = (folder / "bootstrap.key").read_text().strip()
    own.http.headers["authorization"] = f"Bearer {key}"
    await own.event()
    client = await own.temporal()
    namespace = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="default"))
    assert await own.stop() == 0
    await own.close()
    with contextlib.closing(sqlite3.connect(folder / "temporal.db")) as stored:
        [journal] = stored.execute("PRAGMA journal_mode").fetchone()

    assert namespace.config.workflow_execution_retention_ttl.ToTimedelta().days == 30
    assert journal == "wal"
    assert key not in own.log
    assert "delivering" in own.log
    assert "order-4711" not in own.log
    for name in ("bootstrap.key", "webhooks.db", "temporal.db", "temporal.log"):
        assert (folder / name).stat().st_mode & 0o077 == 0, name


@pytest.mark.thorough
async def test_a_search_attribute_of_another_type_stops_the_start(tmp_path: Path) -> None:
    """Queries on it would fail later, or never match."""
    async with running(tmp_path / "first") as first:
        client = await first.temporal()
        namespace = "elsewhere"
        await client.workflow_service.register_namespace(
            RegisterNamespaceRequest(namespace=namespace, workflow_execution_retention_period=Duration(seconds=86_400))
        )
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace=namespace, search_attributes={"TenantId": IndexedValueType.INDEXED_VALUE_TYPE_INT}
            )
        )
        second = PlatformProcess(
            tmp_path / "second",
            TEMPORAL_ADDRESS=f"127.0.0.1:{first.temporal_port}",
            TEMPORAL_NAMESPACE=namespace,
        )
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "api"),
            cwd=ROOT,
            env=second.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        _, err = await asyncio.wait_for(process.communicate(), 90)
        await second.close()

    assert process.returncode == 1
    assert "TenantId" in err.decode().splitlines()[-1]
    assert "Traceback" not in err.decode()


@pytest.mark.thorough
async def test_our_faults_cost_the_receiver_no_attempt(own: PlatformProcess, receiver: Receiver, path: str) -> None:
    """With two attempts in all, the database away at the time of the second, and then back."""
    await own.start()
    event = await own.event()
    policy = {"initial_interval": 1, "backoff_coefficient": 1, "maximum_attempts": 2}
    await own.webhook(event, receiver.tell(path, [503, 200]), retry_policy=policy)
    id = await own.delivery(await own.publish(event))
    await break_database(own, receiver, id, path)
    delivery = await own.wait(id, "delivered", timeout=60)

    assert [attempt["outcome"] for attempt in delivery["attempts"]] == ["http_503", "delivered"]
    assert len(receiver.got(path)) == 2


@pytest.mark.thorough
async def test_a_hung_temporal_is_said_in_time(own: PlatformProcess, receiver: Receiver, path: str) -> None:
    """Every call answers within seconds; what was published meanwhile is completed by publishing it again."""
    await own.start()
    event = await own.event()
    await own.webhook(event, receiver.url(path))
    server = own.temporal_pid
    os.kill(server, signal.SIGSTOP)
    try:
        for method, place, body in (
            ("POST", "/v1/occurrences", {"event": event, "data": {}}),
            ("GET", "/v1/deliveries", None),
            ("GET", f"/v1/deliveries/x~{uuid4()}", None),
            ("POST", f"/v1/deliveries/x~{uuid4()}/resend", None),
        ):
            started = time.monotonic()
            answer = await own.http.request(method, place, json=body)

            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
            assert time.monotonic() - started < 10
            if method == "POST" and body:
                [id] = re.findall(r'"id": "([^"]+)"', answer.json()["detail"])
    finally:
        os.kill(server, signal.SIGCONT)
    await until(own.is_ready, timeout=30, what="the platform")
    await own.publish(event, {}, id=id)
    [request] = await receiver.wait_for(path, 1)

    assert request.headers["webhook-id"].startswith(id)


@pytest.mark.thorough
async def test_a_proxy_that_is_away_costs_no_attempt(tmp_path: Path, receiver: Receiver, path: str) -> None:
    """The delivery waits for it, and a test by hand says whose fault it is."""
    own = PlatformProcess(tmp_path / "platform", WEBHOOKS_EGRESS_PROXY=f"http://127.0.0.1:{free_port()}")
    await own.start()
    event = await own.event()
    webhook = await own.webhook(event, receiver.url(path))
    id = await own.delivery(await own.publish(event))
    delivery = await own.wait(id, lambda delivery: delivery["next_attempt_at"] is not None)
    answer = await own.post(f"/v1/webhooks/{webhook['id']}/test", {}, expect=503)
    assert await own.stop() == 0
    await own.close()
    async with running(own.data_dir) as mended:
        recovered = await mended.wait(id, "delivered")

    assert delivery["status"] == "pending"
    assert delivery["attempts"] == []
    assert answer["detail"] == "the platform's egress proxy is not reachable"
    assert [attempt["outcome"] for attempt in recovered["attempts"]] == ["delivered"]
