"""Subscriptions: an event for exactly one webhook, optionally limited to some clients or by a filter."""

from datetime import UTC, datetime

from fastapi import APIRouter, Response

from api.auth import needs
from api.deps import CurrentCaller, Cursor, Either, Limit, Reading, Writing
from api.protocol.conditional import IfMatch, require_match, tagged
from api.protocol.merge_patch import changes_in, document_of, merged, validated
from api.protocol.problems import RESPONSES, ProblemError, invalid, require_found, responses
from api.protocol.strict_json import StrictRoute
from api.routes.webhooks.resource import clients_of, subscribable
from api.schemas.common import MergePatch, Page
from api.schemas.subscriptions import MatchIn, MatchOut, SubscriptionBody, SubscriptionIn, SubscriptionOut
from webhooks import cursors
from webhooks.contracts import Occurrence
from webhooks.publishing import filters
from webhooks.store import events as stored_events
from webhooks.store import subscriptions as stored_subscriptions
from webhooks.store import webhooks as stored_webhooks
from webhooks.store.models import Subscription
from webhooks.store.subscriptions import Subscribed

router = APIRouter(prefix="/v1", tags=["subscriptions"], responses=RESPONSES, route_class=StrictRoute)


@router.post("/subscriptions", dependencies=[needs("subscription:add")], status_code=201, responses=responses(409))
async def create_subscription(
    body: SubscriptionIn, caller: CurrentCaller, session: Writing, response: Response
) -> SubscriptionOut:
    """Subscribes a webhook to an event. The event must be active."""
    event = await stored_events.find(session, caller.tenant, body.event)
    if event is None or not event.active:
        raise invalid("/event", "the event is inactive" if event else "no such event")
    webhook = await stored_webhooks.find(session, caller.tenant, body.webhook_id)
    if webhook is None or not caller.sees(webhook.client_identifier):
        raise invalid("/webhook_id", "no such webhook")
    if webhook.client_identifier and "allowed_client_identifiers" not in body.model_fields_set:
        body.allowed_client_identifiers = [webhook.client_identifier]
    clients_of(webhook.client_identifier, body.allowed_client_identifiers)
    subscribable(webhook.client_identifier, event.key, "/event")
    if await stored_subscriptions.exists(session, event, webhook):
        raise ProblemError(
            409, "the webhook is already subscribed to this event", errors=[("/event", "already subscribed")]
        )
    subscription = Subscription(
        tenant=caller.tenant,
        event_id=event.id,
        webhook_id=webhook.id,
        **body.model_dump(include=set(SubscriptionBody.model_fields)),
    )
    session.add(subscription)
    response.headers["Location"] = f"/v1/subscriptions/{subscription.id}"
    return tagged(response, _view((subscription, event.key)))


@router.get("/subscriptions", dependencies=[needs("subscription:list")])
async def list_subscriptions(
    caller: CurrentCaller,
    session: Reading,
    event: Either = None,
    webhook_id: Either = None,
    active: bool | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[SubscriptionOut]:
    """Lists subscriptions, newest first."""
    before = cursors.decode(cursor) if cursor else None
    found = await stored_subscriptions.list_newest_first(
        session,
        caller.tenant,
        events=event,
        webhook_ids=webhook_id,
        active=active,
        owner=caller.client_identifier,
        before=before,
        limit=limit + 1,
    )
    rows, next_cursor = cursors.page(found, limit, lambda row: row[0].id)
    return Page(items=[_view(row) for row in rows], next_cursor=next_cursor)


@router.get("/subscriptions/{id}", dependencies=[needs("subscription:list")], responses=responses(404))
async def get_subscription(id: str, caller: CurrentCaller, session: Reading, response: Response) -> SubscriptionOut:
    return tagged(response, _view(await _subscribed(session, caller, id)))


@router.patch("/subscriptions/{id}", dependencies=[needs("subscription:edit")], responses=responses(404, 409, 412))
async def change_subscription(
    id: str,
    patch: MergePatch,
    caller: CurrentCaller,
    session: Writing,
    response: Response,
    if_match: IfMatch = None,
) -> SubscriptionOut:
    """Changes the given fields. If the subscription becomes inactive, deliveries that wait for their next attempt fail
    with outcome `subscription_inactive`. Activating it again does not send them."""
    subscription, event = await _subscribed(session, caller, id, lock=True)
    view = _view((subscription, event))
    require_match(if_match, view)
    patch = changes_in(patch, view, SubscriptionBody)
    body = validated(SubscriptionBody, merged(document_of(view, SubscriptionBody), patch))
    webhook = await stored_webhooks.find(session, caller.tenant, subscription.webhook_id)
    clients_of(webhook.client_identifier if webhook else None, body.allowed_client_identifiers)
    for column, value in body.model_dump().items():
        setattr(subscription, column, value)
    subscription.updated_at = datetime.now(UTC)
    return tagged(response, _view((subscription, event)))


@router.delete(
    "/subscriptions/{id}",
    dependencies=[needs("subscription:delete")],
    status_code=204,
    responses=responses(404, 409, 412),
)
async def delete_subscription(id: str, caller: CurrentCaller, session: Writing, if_match: IfMatch = None) -> None:
    """Deletes a subscription. Deliveries that wait for their next attempt fail with outcome `subscription_deleted`."""
    subscribed = await _subscribed(session, caller, id, lock=True)
    require_match(if_match, _view(subscribed))
    await session.delete(subscribed[0])


@router.post("/filters/match", dependencies=[needs("subscription:list")])
async def match_filter(body: MatchIn, _: CurrentCaller) -> MatchOut:
    """Tests a filter against an occurrence. If it does not match, `mismatch` points to the first condition that does
    not hold."""
    sample = body.occurrence.model_dump()
    occurrence = Occurrence(**sample | {"occurred_at": sample["occurred_at"] or datetime.now(UTC)})
    mismatch = filters.mismatch(body.filter or {}, filters.fields_of(occurrence))
    return MatchOut(matches=mismatch is None, mismatch=mismatch)


async def _subscribed(session: Reading, caller: CurrentCaller, id: str, *, lock: bool = False) -> Subscribed:
    found = await stored_subscriptions.find(session, caller.tenant, id, owner=caller.client_identifier, lock=lock)
    return require_found("subscription", found)


def _view(subscribed: Subscribed) -> SubscriptionOut:
    subscription, event = subscribed
    return SubscriptionOut(**subscription.model_dump(exclude={"tenant", "event_id"}), event=event)
