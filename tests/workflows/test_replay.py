"""Workflow code of today takes every decision that history says was taken."""

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from tests.workflows.sandbox import SANDBOX
from tests.workflows.save_histories import HISTORIES, SHAPES
from webhooks.deliveries.history import read
from webhooks.deliveries.status import DeliveryStatus
from webhooks.temporal.connection import DATA_CONVERTER
from webhooks.testing.platform_process import PlatformProcess, until
from workflows.deliver_webhook import DeliverWebhook
from workflows.record_occurrence import RecordOccurrence

SAVED = sorted(HISTORIES.glob("*.json"))


def replayer() -> Replayer:
    return Replayer(
        workflows=[DeliverWebhook, RecordOccurrence],
        data_converter=DATA_CONVERTER,
        workflow_runner=SANDBOX,
    )


def load(file: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(f"default/{file.stem}", file.read_text())


def test_every_shape_is_saved() -> None:
    assert {file.stem for file in SAVED} == {*SHAPES, "no_match"}


@pytest.mark.parametrize("file", SAVED, ids=lambda file: file.stem)
async def test_saved_histories_replay(file: Path) -> None:
    await replayer().replay_workflow(load(file))


@pytest.mark.parametrize(
    ("name", "status", "attempts"),
    [
        ("first_try", DeliveryStatus.DELIVERED, ["event delivered"]),
        ("retried", DeliveryStatus.DELIVERED, ["event http_503", "retry http_503", "retry delivered"]),
        ("final", DeliveryStatus.FAILED, ["event http_400"]),
        ("limit_reached", DeliveryStatus.FAILED, ["event http_500", "retry http_500", "retry http_500"]),
        ("resent_when_parked", DeliveryStatus.DELIVERED, ["event http_400", "resend http_503", "retry delivered"]),
        ("resent_in_backoff", DeliveryStatus.DELIVERED, ["event http_503", "resend delivered"]),
        ("resent_on_the_wire", DeliveryStatus.DELIVERED, ["event http_503", "resend delivered"]),
        ("slow", DeliveryStatus.DELIVERED, ["event delivered"]),
        ("deferred", DeliveryStatus.DELIVERED, ["event http_503", "retry delivered"]),
        ("expired", DeliveryStatus.EXPIRED, ["event http_400"]),
        ("resent_when_expired", DeliveryStatus.DELIVERED, ["resend delivered"]),
        ("reported", DeliveryStatus.FAILED, ["event http_400"]),
        ("recovered", DeliveryStatus.DELIVERED, ["event http_400", "resend http_400", "resend delivered"]),
        ("reported_when_expired", DeliveryStatus.EXPIRED, ["event http_400"]),
        ("recovered_when_expired", DeliveryStatus.DELIVERED, ["resend delivered"]),
    ],
)
def test_saved_histories_read_as_attempts(name: str, status: DeliveryStatus, attempts: list[str]) -> None:
    """Histories of every version stay readable in the monitor."""
    run = read(load(HISTORIES / f"{name}.json").events)

    assert run.status is status
    assert [f"{attempt.trigger} {attempt.outcome}" for attempt in run.attempts] == attempts
    assert run.prepared
    assert json.loads(run.prepared.body)["data"] == {"n": 1}


async def test_every_history_of_this_test_run_replays(platform: PlatformProcess) -> None:
    """Whatever the other tests made the platform do."""
    await platform.publish(await platform.event())
    client = await platform.temporal()
    query = "WorkflowType IN ('DeliverWebhook', 'RecordOccurrence')"

    async def visible() -> bool:
        return (await client.count_workflows(query)).count > 0

    await until(visible, timeout=15, what="a workflow")
    async for execution in client.list_workflows(query):
        history = await client.get_workflow_handle(execution.id, run_id=execution.run_id).fetch_history()
        await replayer().replay_workflow(history)
