"""Publishing."""

from datetime import UTC, datetime

from fastapi import APIRouter
from temporalio.service import RPCError

from api.deps import CurrentCaller, CurrentPlatform
from api.protocol.problems import RESPONSES, ProblemError, invalid, responses, temporal_unreachable, too_much_at_once
from api.protocol.strict_json import StrictRoute
from api.schemas.occurrences import OccurrenceIn, OccurrenceOut, PublishedOut
from webhooks.contracts import Occurrence
from webhooks.deliveries.start import OccurrenceConflictError
from webhooks.events import json_schema, operational
from webhooks.ids import uuid7
from webhooks.isolation.lanes import TooManyDelayedError
from webhooks.publishing.matching import match
from webhooks.publishing.publish import publish
from webhooks.store import webhooks as store
from webhooks.telemetry import metrics
from webhooks.temporal.connection import is_passing

router = APIRouter(prefix="/v1/occurrences", tags=["occurrences"], responses=RESPONSES, route_class=StrictRoute)


@router.post("", status_code=202, responses=responses(409, 413, 415, 503))
async def publish_occurrence(body: OccurrenceIn, caller: CurrentCaller, platform: CurrentPlatform) -> OccurrenceOut:
    """Publishes an occurrence of an event to every webhook that wants it.

    202 means that every delivery is stored durably. `id` is your idempotency key, kept for the namespace's retention
    (30 days on our own Temporal server): the same id and data again start nothing twice and complete what an earlier
    call could not; other content (event, client, data) under the same id is a 409, found out by the webhooks that both
    reach. Without an id, each call is an occurrence of its own."""
    if body.event in operational.KEYS:
        raise invalid("/event", "only the platform publishes it")
    client = platform.temporal
    occurrence = Occurrence(
        **body.model_dump(exclude={"id", "occurred_at"}),
        id=body.id or uuid7(),
        occurred_at=body.occurred_at or datetime.now(UTC),
    )
    async with platform.database.read() as session:
        event, subscribed = await store.subscribed(session, caller.tenant, body.event)
    if event is None:
        raise invalid("/event", "no such event")
    if not event.active:
        raise invalid("/event", "the event is inactive")
    if event.json_schema is not None and (found := json_schema.violations(event.json_schema, body.data)):
        raise ProblemError(
            422,
            "data does not fit the event's schema",
            errors=[(f"/data{pointer}", message) for pointer, message in found],
        )
    matches, unmatched = match(event, subscribed, occurrence)
    try:
        published = await publish(
            client,
            tenant=caller.tenant,
            occurrence=occurrence,
            matches=matches,
            unmatched=unmatched,
            lanes=platform.lanes if platform.settings.embedded_worker else None,
            resend_window=platform.settings.resend_window,
            task_queue=platform.settings.task_queue,
        )
    except OccurrenceConflictError as error:
        raise ProblemError(409, str(error), errors=[("/id", "used already")]) from None
    except TooManyDelayedError:
        metrics.occurrence(metrics.REFUSED)
        raise too_much_at_once(f'publish again with "id": "{occurrence.id}", which completes what was begun') from None
    except RPCError as error:
        if not is_passing(error):
            raise
        raise temporal_unreachable(
            f'Temporal is not reachable; publish again with "id": "{occurrence.id}", which completes what was begun'
        ) from None
    return OccurrenceOut(
        id=occurrence.id,
        event=event.key,
        deliveries=[PublishedOut(id=item.delivery_id, webhook_id=item.webhook_id) for item in published],
        unmatched=unmatched or None,
    )
