"""Replays histories with today's workflow code, as a worker does when it takes a workflow over."""

from pathlib import Path

from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Replayer

from tests.workflows.sandbox import SANDBOX
from tests.workflows.save_histories import HISTORIES
from webhooks.temporal.connection import DATA_CONVERTER
from workflows.deliver_webhook import DeliverWebhook
from workflows.record_occurrence import RecordOccurrence

SAVED = sorted(HISTORIES.glob("*.json"))
EVERY = "WorkflowType IN ('DeliverWebhook', 'RecordOccurrence')"


def replayer() -> Replayer:
    return Replayer(
        workflows=[DeliverWebhook, RecordOccurrence],
        data_converter=DATA_CONVERTER,
        workflow_runner=SANDBOX,
    )


def load(file: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(f"default/{file.stem}", file.read_text())


async def replay_all(client: Client) -> int:
    """Replay every history that the server shows; of those with the same sequence of events, the first. Return their
    number. Raise the first replay's error."""
    seen = set[tuple[int, ...]]()
    async for execution in client.list_workflows(EVERY):
        history = await client.get_workflow_handle(execution.id, run_id=execution.run_id).fetch_history()
        sequence = tuple(event.event_type for event in history.events)
        if sequence not in seen:
            seen.add(sequence)
            await replayer().replay_workflow(history)
    return len(seen)
