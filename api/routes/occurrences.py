"""Publishing, and what was published."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from temporalio.service import RPCError

from api import admission
from api.auth import needs, require_not_suspended
from api.deps import CurrentCaller, CurrentPlatform, Cursor, Limit, Terms, Time
from api.protocol.problems import (
    RESPONSES,
    ProblemError,
    require_found,
    responses,
    temporal_unreachable,
    too_much_at_once,
)
from api.protocol.producer_digits import DigitsOfData
from api.protocol.strict_json import StrictRoute
from api.schemas.common import Page
from api.schemas.occurrences import (
    OccurrenceDetail,
    OccurrenceIn,
    OccurrenceOut,
    OccurrenceSummary,
    PublishedOut,
)
from webhooks.contracts import Occurrence
from webhooks.deliveries.fan_outs import TooManyFanOutsError
from webhooks.deliveries.occurrences import Occurrences, PublishedOccurrence
from webhooks.deliveries.start import OccurrenceConflictError
from webhooks.ids import is_occurrence_id, uuid7
from webhooks.isolation.delayed_starts import TooManyDelayedError
from webhooks.json_numbers import as_written, to_json, with_digits
from webhooks.publishing.accept import NotAcceptedError, accept
from webhooks.telemetry import metrics
from webhooks.temporal.connection import is_passing

router = APIRouter(prefix="/v1/occurrences", tags=["occurrences"], responses=RESPONSES, route_class=StrictRoute)


@router.post("", dependencies=[needs("occurrence:publish")], status_code=202, responses=responses(409))
async def publish_occurrence(
    body: OccurrenceIn, digits: DigitsOfData, caller: CurrentCaller, platform: CurrentPlatform, request: Request
) -> OccurrenceOut:
    """Publish an occurrence of an event to every webhook that matches.

    202 means that every delivery is stored durably. If more than 100 webhooks match, the list of them is, and the
    deliveries are started after the answer: `matched` says how many, and `deliveries_url` lists them. `id` is your
    idempotency key. It is known for the namespace's retention (30 days on our own Temporal server). It is safe to
    repeat a call with the same id and data: deliveries that exist are not started again, missing ones are. Other
    content (event, client, data) under the same id is a 409 if a webhook has a delivery of that id already. Without an
    id, each call is an occurrence of its own."""
    require_not_suspended(caller)
    publisher = platform.publishing
    occurrence = Occurrence(
        **body.model_dump(exclude={"id", "occurred_at"}),
        id=body.id or uuid7(),
        occurred_at=body.occurred_at or datetime.now(UTC),
        digits=digits,
    )
    repeat = f'publish again with "id": "{occurrence.id}": what is stored already is not started again'
    try:
        async with admission.place(request, caller.tenant, caller.actor):
            accepted = await accept(publisher, platform.database, caller.tenant, occurrence)
    except NotAcceptedError as error:
        raise ProblemError(422, str(error), errors=error.errors) from None
    except OccurrenceConflictError as error:
        raise ProblemError(409, str(error), errors=[("/id", "used already")]) from None
    except (TooManyDelayedError, TooManyFanOutsError):
        metrics.occurrence(metrics.REFUSED)
        raise too_much_at_once(repeat) from None
    except RPCError as error:
        if not is_passing(error):
            raise
        raise temporal_unreachable(f"{platform.why_failed(error)}; {repeat}") from None
    return OccurrenceOut(
        id=occurrence.id,
        event=occurrence.event,
        deliveries=[PublishedOut(id=item.delivery_id, webhook_id=item.webhook_id) for item in accepted.published],
        matched=accepted.matched,
        deliveries_url=_deliveries_url(occurrence.id),
        unmatched=accepted.unmatched or None,
    )


@router.get("", dependencies=[needs("occurrence:list")])
async def list_occurrences(
    caller: CurrentCaller,
    platform: CurrentPlatform,
    id: Terms = None,
    event: Terms = None,
    client_identifier: Terms = None,
    matched: Annotated[bool | None, Query(description="false: only those that no webhook wanted")] = None,
    since: Time = None,
    until: Time = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[OccurrenceSummary]:
    """Lists what was published, newest first, with its deliveries or why there is none. A new occurrence appears after
    a short delay. A page may have fewer items than `limit`, or none, although more follow: read on until `next_cursor`
    is null."""
    page, next_cursor = await Occurrences(platform.client, caller.tenant).list(
        ids=id or (),
        events=event or (),
        client_identifiers=client_identifier or (),
        matched=matched,
        since=since,
        until=until,
        limit=limit,
        cursor=cursor,
    )
    return Page(items=[OccurrenceSummary(**_shown(item)) for item in page], next_cursor=next_cursor)


@router.get("/{id}", dependencies=[needs("occurrence:read")], responses=responses(404), response_model=OccurrenceDetail)
async def get_occurrence(id: str, caller: CurrentCaller, platform: CurrentPlatform) -> Any:
    """Returns an occurrence with its data, and its deliveries or why there is none. Numbers have the digits that the
    producer wrote. Deliveries appear after a short delay; reading one by its own id works immediately."""
    occurrences = Occurrences(platform.client, caller.tenant)
    found = require_found("occurrence", await occurrences.get(id) if is_occurrence_id(id) else None)
    shown = OccurrenceDetail(**_shown(found), data=found.occurrence.data)
    if not found.occurrence.digits:
        return shown
    exact = shown.model_dump(mode="json") | {"data": with_digits(found.occurrence.data, found.occurrence.digits)}
    return Response(to_json(exact, as_written), media_type="application/json")


@router.delete("/{id}", dependencies=[needs("occurrence:erase")], status_code=204, responses=responses(404))
async def erase_occurrence(id: str, caller: CurrentCaller, platform: CurrentPlatform) -> None:
    """Erases an occurrence: its deliveries with all their attempts and bodies, or the record that no webhook wanted it.
    A delivery in progress ends; a request that is on its way to the receiver is not called back. An occurrence that was
    published within the last second may be found in part only: call it again until it answers 404. Its id can be
    published again afterwards. Copies remain at the receivers and in backups; logs keep ids."""
    erased = await Occurrences(platform.client, caller.tenant).erase(id) if is_occurrence_id(id) else []
    for workflow in erased:
        platform.backlog.remove(workflow)
        platform.summaries.forget(workflow)
    require_found("occurrence", erased or None)


def _deliveries_url(occurrence_id: str) -> str:
    """Return the path. No character of an id needs to be quoted."""
    return f"/v1/deliveries?occurrence_id={occurrence_id}"


def _shown(published: PublishedOccurrence) -> dict[str, Any]:
    return {
        **published.occurrence.model_dump(exclude={"data", "digits", "received"}),
        "created_at": published.created_at,
        "deliveries": [PublishedOut(id=item.id, webhook_id=item.webhook_id) for item in published.deliveries],
        "matched": published.matched,
        "started": published.started,
        "deliveries_url": _deliveries_url(published.occurrence.id),
        "unmatched": published.unmatched,
        "readable": published.readable,
    }
