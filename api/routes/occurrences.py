"""Publishing."""

from datetime import UTC, datetime

from fastapi import APIRouter
from temporalio.service import RPCError

from api.deps import CurrentCaller, CurrentPlatform
from api.protocol.problems import RESPONSES, ProblemError, responses, temporal_unreachable, too_much_at_once
from api.protocol.producer_digits import DigitsOfData
from api.protocol.strict_json import StrictRoute
from api.schemas.occurrences import OccurrenceIn, OccurrenceOut, PublishedOut
from webhooks.contracts import Occurrence
from webhooks.deliveries.start import OccurrenceConflictError
from webhooks.ids import uuid7
from webhooks.isolation.delayed_starts import TooManyDelayedError
from webhooks.publishing.accept import NotAcceptedError, accept
from webhooks.telemetry import metrics
from webhooks.temporal.connection import is_passing

router = APIRouter(prefix="/v1/occurrences", tags=["occurrences"], responses=RESPONSES, route_class=StrictRoute)


@router.post("", status_code=202, responses=responses(409))
async def publish_occurrence(
    body: OccurrenceIn, digits: DigitsOfData, caller: CurrentCaller, platform: CurrentPlatform
) -> OccurrenceOut:
    """Publish an occurrence of an event to every webhook that matches.

    202 means that every delivery is stored durably. `id` is your idempotency key. It is known for the namespace's
    retention (30 days on our own Temporal server). It is safe to repeat a call with the same id and data: deliveries
    that exist are not started again, missing ones are. Other content (event, client, data) under the same id is a 409
    if a webhook has a delivery of that id already. Without an id, each call is an occurrence of its own."""
    publisher = platform.publishing
    occurrence = Occurrence(
        **body.model_dump(exclude={"id", "occurred_at"}),
        id=body.id or uuid7(),
        occurred_at=body.occurred_at or datetime.now(UTC),
        digits=digits,
    )
    repeat = f'publish again with "id": "{occurrence.id}": what is stored already is not started again'
    try:
        accepted = await accept(publisher, platform.database, caller.tenant, occurrence)
    except NotAcceptedError as error:
        raise ProblemError(422, str(error), errors=error.errors) from None
    except OccurrenceConflictError as error:
        raise ProblemError(409, str(error), errors=[("/id", "used already")]) from None
    except TooManyDelayedError:
        metrics.occurrence(metrics.REFUSED)
        raise too_much_at_once(repeat) from None
    except RPCError as error:
        if not is_passing(error):
            raise
        raise temporal_unreachable(f"Temporal is not reachable; {repeat}") from None
    return OccurrenceOut(
        id=occurrence.id,
        event=occurrence.event,
        deliveries=[PublishedOut(id=item.delivery_id, webhook_id=item.webhook_id) for item in accepted.published],
        unmatched=accepted.unmatched or None,
    )
