"""Replays histories with today's workflow code, as a worker does when it takes a workflow over."""

import itertools
from pathlib import Path

from temporalio.client import Client, WorkflowHistory
from temporalio.common import HeaderCodecBehavior
from temporalio.converter import DataConverter
from temporalio.worker import Replayer

from tests.workflows.sandbox import SANDBOX
from tests.workflows.save_histories import HISTORIES
from webhooks.temporal.connection import DATA_CONVERTER
from workflows.deliver_webhook import DeliverWebhook
from workflows.fan_out_occurrence import FanOutOccurrence
from workflows.record_occurrence import RecordOccurrence
from workflows.run_job import RunJob

SAVED = sorted(HISTORIES.glob("*.json"))
EVERY = "WorkflowType IN ('DeliverWebhook', 'RecordOccurrence', 'RunJob', 'FanOutOccurrence')"


def replayer(converter: DataConverter = DATA_CONVERTER) -> Replayer:
    return Replayer(
        workflows=[DeliverWebhook, RecordOccurrence, RunJob, FanOutOccurrence],
        data_converter=converter,
        workflow_runner=SANDBOX,
        header_codec_behavior=HeaderCodecBehavior.CODEC,
    )


def load(file: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(f"default/{file.stem}", file.read_text())


async def replay_all(client: Client, query: str = EVERY) -> int:
    """Replay the histories that a visibility query selects, with the client's data converter. Return how many. Leave
    out those in which no event follows on another one than in the histories before: a platform of the tests has
    hundreds that are alike. Raise the first replay's error."""
    seen, count = set[tuple[int, int]](), 0
    async for execution in client.list_workflows(query):
        history = await client.get_workflow_handle(execution.id, run_id=execution.run_id).fetch_history()
        pairs = {(one.event_type, other.event_type) for one, other in itertools.pairwise(history.events)}
        if not pairs <= seen:
            seen |= pairs
            await replayer(client.data_converter).replay_workflow(history)
            count += 1
    return count
