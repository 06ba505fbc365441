"""The delivery monitor: list deliveries, read one with its attempts, resend it, give it up."""

from typing import Annotated, TypeVar

from fastapi import APIRouter, Body, Query

from api.auth import needs
from api.deps import MAX_VALUES, CurrentCaller, CurrentPlatform, Cursor, Limit, Term, Terms, Time
from api.platform import Platform
from api.protocol.problems import RESPONSES, ProblemError, not_found, require_found, responses
from api.protocol.strict_json import StrictRoute
from api.schemas.common import Page
from api.schemas.deliveries import AttemptOut, CancelOut, DeliveryOut, RequestOut, ResendIn, ResendOut
from api.visible import visible
from webhooks.deliveries.monitor import (
    AlreadyDeliveredError,
    AlreadyEndedError,
    AttemptInProgressError,
    DeliveryDetail,
    DeliverySummary,
)
from webhooks.deliveries.status import DeliveryStatus
from webhooks.identity.caller import Caller
from webhooks.ids import is_delivery_id
from webhooks.sending.sender import NotSendableError, sendable
from webhooks.store import webhooks as stored_webhooks
from webhooks.temporal.codec import UnreadableError

router = APIRouter(prefix="/v1/deliveries", tags=["deliveries"], responses=RESPONSES, route_class=StrictRoute)

Shown = TypeVar("Shown", bound=DeliverySummary)
Statuses = Annotated[
    list[DeliveryStatus] | None, Query(max_length=MAX_VALUES, description="Repeat it to list any one of the statuses")
]
Outcomes = Annotated[
    list[Term] | None,
    Query(
        max_length=MAX_VALUES,
        description="Of the last attempt, like `http_503`. Repeat it to list any one of the outcomes",
    ),
]


@router.get("", dependencies=[needs("delivery:list")])
async def list_deliveries(
    caller: CurrentCaller,
    platform: CurrentPlatform,
    webhook_id: Terms = None,
    event: Terms = None,
    occurrence_id: Terms = None,
    client_identifier: Terms = None,
    status: Statuses = None,
    outcome: Outcomes = None,
    since: Time = None,
    until: Time = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[DeliverySummary]:
    """Lists deliveries, newest first. Values are compared exactly. A new delivery appears in the list after a short
    delay; reading it by its id works immediately. A page may have fewer items than `limit`, or none, although more
    follow: read on until `next_cursor` is null."""
    seen = await visible(platform.database, caller, webhook_id, client_identifier)
    if seen is None:
        return Page(items=[], next_cursor=None)
    filter = seen.filter(
        caller.tenant,
        events=event or (),
        occurrence_ids=occurrence_id or (),
        statuses=status or (),
        outcomes=outcome or (),
        since=since,
        until=until,
    )
    page, next_cursor = await platform.deliveries.list(filter, limit=limit, cursor=cursor)
    return Page(items=[_shown_to(caller, summary) for summary in page], next_cursor=next_cursor)


@router.get("/{id}", dependencies=[needs("delivery:read")], responses=responses(404))
async def get_delivery(id: str, caller: CurrentCaller, platform: CurrentPlatform) -> DeliveryOut:
    """Returns a delivery with all attempts so far and the time of the next one. The request's body, the receiver's
    answers and the headers of both are null unless the caller has the permission `delivery:read_body`."""
    view = _shown_to(caller, _view(await _find(platform, caller, id)))
    if (
        caller.client_identifier
    ):  # nor is shown who works for the tenant, made the client's token, or what we connect to
        view = _with_attempts(view, requested_by=None, remote_address=None)
    return view if caller.may("delivery:read_body") else _without_bodies(view)


@router.post("/{id}/resend", dependencies=[needs("delivery:resend")], status_code=202, responses=responses(404, 409))
async def resend_delivery(
    id: str, caller: CurrentCaller, platform: CurrentPlatform, body: ResendIn = Body(default_factory=ResendIn)
) -> ResendOut:
    """Sends a delivery again now, with a new retry policy: a delivery that failed, or one that waits for its next
    attempt. The new attempts are added to the delivery's list; the first has trigger `resend`. If an attempt is in
    progress, no other is started. A delivery that succeeded is sent again only with `force`, and only while its webhook
    and its subscription are active."""
    try:
        if body.force or caller.client_identifier:
            detail = await _find(platform, caller, id)
            if body.force:
                await _check_sendable(platform, caller.tenant, detail)
        found = is_delivery_id(id) and await platform.deliveries.resend(
            caller.tenant, id, force=body.force, requested_by=_name_of(caller)
        )
    except AlreadyDeliveredError:
        raise ProblemError(409, 'the delivery has succeeded already; {"force": true} sends it again') from None
    except UnreadableError as error:
        raise ProblemError(409, f"{error}, and cannot be sent again") from None
    except NotSendableError as error:
        raise ProblemError(409, f"{error}: the delivery has succeeded, and cannot be sent again") from None
    if not found:
        raise not_found("delivery")
    return ResendOut(id=id)


@router.post("/{id}/cancel", dependencies=[needs("delivery:cancel")], status_code=202, responses=responses(404, 409))
async def cancel_delivery(id: str, caller: CurrentCaller, platform: CurrentPlatform) -> CancelOut:
    """Gives up a delivery that has not been delivered: no further attempt follows. During an attempt the answer is 409
    after 2 seconds: ask again when the attempt has ended. A delivery that was given up can be resent."""
    if caller.client_identifier:
        await _find(platform, caller, id)
    deliveries = platform.deliveries
    try:
        status = (
            await deliveries.cancel(caller.tenant, id, requested_by=_name_of(caller)) if is_delivery_id(id) else None
        )
    except AlreadyDeliveredError:
        raise ProblemError(409, "the delivery has succeeded already, and cannot be given up") from None
    except AlreadyEndedError:
        raise ProblemError(409, "the delivery has ended already: no attempt follows by itself") from None
    except AttemptInProgressError:
        raise ProblemError(
            409, "an attempt is in progress, and its answer counts; try again when it has ended"
        ) from None
    return CancelOut(id=id, status=require_found("delivery", status))


def _name_of(caller: Caller) -> str:
    return f"{caller.name} ({caller.actor})"


async def _find(platform: Platform, caller: Caller, id: str) -> DeliveryDetail:
    """Return a delivery that the caller may see. Raises ProblemError 404."""
    detail = require_found("delivery", await platform.deliveries.get(caller.tenant, id) if is_delivery_id(id) else None)
    if caller.client_identifier:
        async with platform.database.read() as session:
            webhook = await stored_webhooks.find(session, caller.tenant, detail.summary.webhook_id)
        if not (webhook and caller.sees(webhook.client_identifier) and caller.sees(detail.summary.client_identifier)):
            raise not_found("delivery")
    return detail


async def _check_sendable(platform: Platform, tenant: str, detail: DeliveryDetail) -> None:
    """Raise NotSendableError if the delivery has succeeded and nothing would be sent: what is delivered stays so."""
    if detail.summary.status is DeliveryStatus.DELIVERED:
        async with platform.database.read() as session:
            sendable(await stored_webhooks.load(session, tenant, detail.summary.webhook_id, detail.summary.event))


def _shown_to(caller: Caller, shown: Shown) -> Shown:
    """Return what the caller may see of a delivery: a client's own users have nothing to do with Temporal, and do not
    see who works for the tenant."""
    return shown.model_copy(update={"temporal_url": None, "canceled_by": None}) if caller.client_identifier else shown


def _view(detail: DeliveryDetail) -> DeliveryOut:
    prepared = detail.prepared
    return DeliveryOut(
        **detail.summary.model_dump(),
        request=prepared and RequestOut(**prepared.model_dump(include=set(RequestOut.model_fields))),
        attempts=[AttemptOut.of(attempt, number) for number, attempt in enumerate(detail.attempts, start=1)],
    )


def _without_bodies(view: DeliveryOut) -> DeliveryOut:
    request = view.request and view.request.model_copy(update={"body": None})
    bare = _with_attempts(view, response_body=None, request_headers=None, response_headers=None)
    return bare.model_copy(update={"request": request})


def _with_attempts(view: DeliveryOut, **fields: None) -> DeliveryOut:
    """Return the delivery with these fields of all its attempts."""
    return view.model_copy(update={"attempts": [attempt.model_copy(update=fields) for attempt in view.attempts]})
