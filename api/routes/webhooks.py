"""Webhooks: destinations with the event that they are subscribed to."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from api.deps import CurrentCaller, CurrentPlatform, Cursor, Limit, Reading, Writing
from api.platform import Platform
from api.problems import RESPONSES, invalid, not_found, responses
from api.schemas import EventKey, Page, RetryPolicyIn, WebhookCreated, WebhookIn, WebhookOut, WebhookPatch
from api.strict_json import StrictRoute
from webhooks import credentials, egress, signing
from webhooks.contracts import RetryRules
from webhooks.schema import json_pointer
from webhooks.store import events, pages
from webhooks.store import webhooks as store
from webhooks.store.models import Event, Subscription, Webhook

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], responses=RESPONSES, route_class=StrictRoute)


@router.post("", status_code=201)
async def create_webhook(
    body: WebhookIn, caller: CurrentCaller, platform: CurrentPlatform, session: Writing, response: Response
) -> WebhookCreated:
    """Subscribes a URL to an event, which must exist and be active. Only this answer shows `signing_secret`."""
    await _check_url(platform, body.url)
    _unmasked(body.headers, {})
    event = await _active_event(session, caller, body.event)
    webhook = Webhook(
        tenant=caller.tenant,
        signing_secret=signing.new_secret(),
        **body.model_dump(exclude={"event", "allowed_client_identifiers"}),
    )
    subscription = Subscription(
        tenant=caller.tenant,
        event_id=event.id,
        webhook_id=webhook.id,
        allowed_client_identifiers=body.allowed_client_identifiers,
    )
    session.add(webhook)
    await session.flush()
    session.add(subscription)
    response.headers["Location"] = f"/v1/webhooks/{webhook.id}"
    return WebhookCreated(**_view((webhook, subscription, event)), signing_secret=webhook.signing_secret)


@router.get("")
async def list_webhooks(
    caller: CurrentCaller,
    session: Reading,
    event: str | None = None,
    active: bool | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[WebhookOut]:
    """Webhooks, newest first."""
    before = pages.decode(cursor) if cursor else None
    rows, more = pages.cut(
        await store.list_newest_first(
            session, caller.tenant, event=event, active=active, before=before, limit=limit + 1
        ),
        limit,
    )
    return Page(
        items=[WebhookOut(**_view(row)) for row in rows],
        next_cursor=pages.encode(rows[-1][0].id) if more else None,
    )


@router.get("/{id}", responses=responses(404))
async def get_webhook(id: str, caller: CurrentCaller, session: Reading) -> WebhookOut:
    return WebhookOut(**_view(await _subscribed(session, caller, id)))


@router.patch("/{id}", responses=responses(404))
async def change_webhook(
    id: str, body: WebhookPatch, caller: CurrentCaller, platform: CurrentPlatform, session: Writing
) -> WebhookOut:
    """Changes what is given. URL, headers and `active` take effect with the next attempt of every delivery; what one
    was prepared with (body, method, timeout, retry policy) stays. A header sent back masked keeps its value."""
    changes = body.model_dump(exclude_unset=True)
    if "url" in changes:  # first, because it may look up a name, and a transaction keeps others waiting
        await _check_url(platform, body.url)
    webhook, subscription, event = await _subscribed(session, caller, id)
    if "event" in changes:
        event = await _active_event(session, caller, changes.pop("event"))
        subscription.event_id = event.id
    if "allowed_client_identifiers" in changes:
        subscription.allowed_client_identifiers = changes.pop("allowed_client_identifiers")
    if "headers" in changes:
        changes["headers"] = _unmasked(changes["headers"], webhook.headers)
    if "retry_policy" in changes:
        changes["retry_policy"] = _merged(webhook.retry_policy, changes["retry_policy"])
    if changes.get("active"):
        webhook.deactivated_reason = None
    for field, value in changes.items():
        setattr(webhook, field, value)
    webhook.updated_at = datetime.now(UTC)
    return WebhookOut(**_view((webhook, subscription, event)))


@router.delete("/{id}", status_code=204, responses=responses(404))
async def delete_webhook(id: str, caller: CurrentCaller, session: Writing) -> None:
    """Deliveries that wait for their next attempt fail then, with outcome `webhook_deleted`."""
    webhook, _, _ = await _subscribed(session, caller, id)
    await session.delete(webhook)


async def _check_url(platform: Platform, url: str) -> None:
    if problem := await egress.check_url(url, platform.settings.egress_allow):
        raise invalid("/url", problem)


def _unmasked(headers: dict[str, str], stored: dict[str, str]) -> dict[str, str]:
    unmasked = credentials.unmasked(headers, stored)
    for name, value in unmasked.items():
        if value == credentials.MASK:
            raise invalid(json_pointer(["headers", name]), "a masked value stands for a stored one, and there is none")
    return unmasked


async def _active_event(session: Reading, caller: CurrentCaller, key: EventKey) -> Event:
    event = await events.find(session, caller.tenant, key)
    if event is None:
        raise invalid("/event", "no such event")
    if not event.active:
        raise invalid("/event", "the event is inactive")
    return event


async def _subscribed(session: Reading, caller: CurrentCaller, id: str) -> store.Subscribed:
    found = await store.find(session, caller.tenant, id)
    if found is None:
        raise not_found("webhook")
    return found


def _merged(stored: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """JSON Merge Patch of a retry policy: null brings back a field's default."""
    merged = {name: value for name, value in {**stored, **changes}.items() if value is not None}
    try:
        return RetryPolicyIn.model_validate(merged).model_dump()
    except ValidationError as error:
        raise RequestValidationError(
            [{**item, "loc": ("body", "retry_policy", *item["loc"])} for item in error.errors(include_input=False)]
        ) from None


def _view(subscribed: store.Subscribed) -> dict[str, Any]:
    webhook, subscription, event = subscribed
    return {
        **webhook.model_dump(exclude={"tenant", "signing_secret", "headers", "retry_policy"}),
        "headers": credentials.masked(webhook.headers),
        "retry_policy": RetryRules.model_validate(webhook.retry_policy),
        "event": event.key,
        "allowed_client_identifiers": subscription.allowed_client_identifiers,
    }
