"""Where the time of a delivery goes, from the publication to the first byte at the receiver. It is read from what is
stored of deliveries anyway, so that nothing is measured in their way."""

import asyncio
import json
from datetime import datetime

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from webhooks.temporal.names import CREATED_AT

NAMES = ("request in", "start call", "first task", "prepare", "first byte")
"""Each from the end of the one before: until the publication is checked and matched; until Temporal has stored the
start; until the workflow asks for `prepare`; until the body is rendered; until the request has arrived."""


async def of(client: Client, workflow_id: str, published: float, arrived: float) -> list[float]:
    """Return the seconds of each step of a delivery that succeeded at once. Times are in seconds since 1970."""
    history = await client.get_workflow_handle(workflow_id).fetch_history()
    started = history.events[0]
    assert started.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED
    attributes = started.workflow_execution_started_event_attributes.search_attributes.indexed_fields
    created = datetime.fromisoformat(json.loads(attributes[CREATED_AT.name].data)).timestamp()
    scheduled = {
        data["activity_type"]: data["original_schedule_time"]["seconds"] + data["original_schedule_time"]["nanos"] / 1e9
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED
        for data in (json.loads(event.marker_recorded_event_attributes.details["data"].payloads[0].data),)
    }
    ends = [
        created,
        started.event_time.ToNanoseconds() / 1e9,
        scheduled["prepare"],
        scheduled["send"],
        arrived,
    ]
    return [end - begin for begin, end in zip([published, *ends], ends, strict=False)]


async def of_all(client: Client, times: dict[str, tuple[float, float]]) -> list[list[float]]:
    """Return what `of` returns of each workflow id."""
    gate = asyncio.Semaphore(10)

    async def one(id: str, published: float, arrived: float) -> list[float]:
        async with gate:
            return await of(client, id, published, arrived)

    return list(await asyncio.gather(*(one(id, *both) for id, both in times.items())))
