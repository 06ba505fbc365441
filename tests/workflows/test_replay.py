"""Workflow code of today takes every decision that history says was taken."""

import json
from pathlib import Path

import pytest

from tests.support.decrypting import client_of
from tests.workflows.replaying import EVERY, SAVED, load, replay_all, replayer
from tests.workflows.save_histories import HISTORIES, JOBS, OTHERS, SHAPES
from webhooks.deliveries.history import read
from webhooks.deliveries.status import DeliveryStatus
from webhooks.temporal.names import EVENT_KEY
from webhooks.testing.platform_process import PlatformProcess, until


def test_every_shape_is_saved() -> None:
    assert {file.stem for file in SAVED} == {*SHAPES, *JOBS, *OTHERS}


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
        ("resent_by_job", DeliveryStatus.DELIVERED, ["event http_400", "resend delivered"]),
        ("received", DeliveryStatus.DELIVERED, ["event delivered"]),
        ("replayed", DeliveryStatus.DELIVERED, ["replay delivered"]),
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


async def test_what_a_platform_shows_replays(platform: PlatformProcess) -> None:
    """The platforms that tests share do this with all their histories when they end (tests/conftest.py)."""
    event = await platform.event()
    await platform.publish(event)
    client, query = await client_of(platform), f"{EVERY} AND {EVENT_KEY.name} = '{event}'"

    async def visible() -> bool:
        return (await client.count_workflows(query)).count > 0

    await until(visible, timeout=15, what="a workflow")

    assert await replay_all(client, query) == 1
