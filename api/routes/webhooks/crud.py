"""Webhooks: destinations with the events that they are subscribed to."""

from datetime import UTC, datetime

from fastapi import APIRouter, Response
from pydantic import JsonValue

from api.deps import CurrentCaller, CurrentPlatform, Cursor, Limit, Reading, Writing
from api.platform import Platform
from api.protocol.conditional import IfMatch, require_match, tagged
from api.protocol.merge_patch import changes_in, unmasked, validated
from api.protocol.problems import RESPONSES, invalid, responses
from api.protocol.strict_json import StrictRoute
from api.routes.webhooks.resource import SECRET, differ, document, find, patched, set_columns, view
from api.schemas.common import MergePatch, Page
from api.schemas.webhooks import (
    OneEvent,
    WebhookBody,
    WebhookCreated,
    WebhookIn,
    WebhookOut,
)
from webhooks import cursors
from webhooks.credentials import signing
from webhooks.credentials.signing import Style
from webhooks.credentials.webhook_secrets import Secrets
from webhooks.store import events, sealed, subscriptions
from webhooks.store import webhooks as store
from webhooks.store.models import Event, Subscription, Webhook
from webhooks.store.subscriptions import Subscribed

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], responses=RESPONSES, route_class=StrictRoute)

_NARROWING = {"allowedClientIdentifiers": "allowed_client_identifiers", "filter": "filter"}
_NO_SUBSCRIPTION = "it belongs to subscriptions, and the webhook has none"


@router.post("", status_code=201)
async def create_webhook(
    body: WebhookIn, caller: CurrentCaller, platform: CurrentPlatform, session: Writing, response: Response
) -> WebhookCreated:
    """Makes a destination and subscribes it to its events, which must exist and be active. Only this answer shows
    `signing_secret`."""
    clients_given = "allowed_client_identifiers" in body.model_fields_set
    if body.event is not None and not clients_given:
        raise invalid("/allowedClientIdentifiers", "Field required")
    if clients_given and "events" not in body.model_fields_set:
        raise invalid("/event", "Field required")
    for pointer, given in (("/allowedClientIdentifiers", body.allowed_client_identifiers), ("/filter", body.filter)):
        if given and not body.events:
            raise invalid(pointer, _NO_SUBSCRIPTION)
    unmasked(body.model_dump(mode="json", by_alias=True, include=SECRET), None)  # nothing is stored yet
    await _check_urls(platform, caller.tenant, body.url, getattr(body.authentication, "token_url", None))
    key = signing.new_key(body.signing_secret)
    _check_signatures(body, key.secret)
    subscribed = await _active_events(session, caller, _places(body.events, one=body.event is not None))
    webhook = Webhook(tenant=caller.tenant, url=body.url)
    set_columns(
        platform.vault, webhook, body, Secrets(signing=[key], headers=body.headers, authentication=body.authentication)
    )
    session.add(webhook)
    await session.flush()
    made = [(_subscription(webhook, event, body), event.key) for event in subscribed]
    session.add_all(subscription for subscription, _ in made)
    response.headers["Location"] = f"/v1/webhooks/{webhook.id}"
    shown = tagged(response, view(webhook, made))
    return WebhookCreated(**shown.model_dump(), signing_secret=key.secret)


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
    before = cursors.decode(cursor) if cursor else None
    rows, more = cursors.cut(
        await store.list_newest_first(
            session, caller.tenant, event=event, active=active, before=before, limit=limit + 1
        ),
        limit,
    )
    subscribed = await subscriptions.of_webhooks(session, caller.tenant, [row.id for row in rows])
    return Page(
        items=[view(row, subscribed[row.id]) for row in rows],
        next_cursor=cursors.encode(rows[-1].id) if more else None,
    )


@router.get("/{id}", responses=responses(404))
async def get_webhook(id: str, caller: CurrentCaller, session: Reading, response: Response) -> WebhookOut:
    return tagged(response, view(*await find(session, caller.tenant, id)))


@router.patch("/{id}", responses=responses(404, 412))
async def change_webhook(
    id: str,
    patch: MergePatch,
    caller: CurrentCaller,
    platform: CurrentPlatform,
    session: Writing,
    response: Response,
    if_match: IfMatch = None,
) -> WebhookOut:
    """Changes what is given. URL, headers, authentication, signatures and `active` take effect with the next attempt of
    every delivery; what one was prepared with (body, method, timeout, retry policy) stays. Activation and another URL
    forget that the webhook was failing. A secret sent back masked
    keeps its value; an `authentication` of another type replaces the old one whole. `events`,
    `allowedClientIdentifiers` and `filter` change all of its subscriptions."""
    async with platform.database.read() as reading:
        shown = view(*await find(reading, caller.tenant, id))
    require_match(if_match, shown)
    patch = changes_in(patch, shown, WebhookBody)
    # The transaction, which keeps others waiting, begins with its first query; this may look up a name.
    authentication = patch.get("authentication")
    token_url = authentication.get("token_url") if isinstance(authentication, dict) else None
    await _check_urls(platform, caller.tenant, patch.get("url"), token_url)
    webhook, subscribed = await find(session, caller.tenant, id, lock=True)
    require_match(if_match, view(webhook, subscribed))
    secrets = sealed.unseal(platform.vault, webhook)
    if one := "event" in patch:
        if "events" in patch:
            raise invalid("/event", "give event or events, but not both")
        patch["events"] = [validated(OneEvent, {"event": patch.pop("event")}).event]
    body = validated(WebhookBody, patched(document(webhook, subscribed, secrets), patch))
    _check_signatures(body, secrets.signing[0].secret)
    secrets = secrets.model_copy(update={"headers": body.headers, "authentication": body.authentication})
    if body.url != webhook.url or (body.active and not webhook.active):
        webhook.failing_since = webhook.deactivated_reason = webhook.deactivated_at = None
    set_columns(platform.vault, webhook, body, secrets)
    webhook.updated_at = datetime.now(UTC)
    known = {event for _, event in subscribed}
    places = {key: place for key, place in _places(body.events, one=one).items() if key not in known}
    added = await _active_events(session, caller, places)
    for name, column in _NARROWING.items():
        if added and name not in patch and differ(subscribed, column):
            raise invalid(f"/{name}", "its subscriptions differ in it: say what the new one wants")
    subscribed = await _resubscribe(session, webhook, subscribed, added, body, patch)
    return tagged(response, view(webhook, subscribed))


@router.delete("/{id}", status_code=204, responses=responses(404, 412))
async def delete_webhook(id: str, caller: CurrentCaller, session: Writing, if_match: IfMatch = None) -> None:
    """Its subscriptions go with it. Deliveries that wait for their next attempt fail then, with outcome
    `webhook_deleted`, and stay in the monitor."""
    webhook, subscribed = await find(session, caller.tenant, id, lock=True)
    require_match(if_match, view(webhook, subscribed))
    await session.delete(webhook)


async def _check_urls(platform: Platform, tenant: str, url: object, token_url: object) -> None:
    """Those that are given; what is no text fails its own check."""
    for pointer, text in (("/url", url), ("/authentication/token_url", token_url)):
        if isinstance(text, str) and (problem := await platform.egress.check_url(tenant, text)):
            raise invalid(pointer, problem)


def _check_signatures(body: WebhookBody, secret: str) -> None:
    if Style.V1 in body.signatures and not signing.is_standard_secret(secret):
        raise invalid("/signatures", "v1 signs with whsec_ and the base64 of 24 to 64 bytes, and the secret is another")


def _places(events: list[str], *, one: bool) -> dict[str, str]:
    """Where each event stands in the body."""
    return {event: "/event" if one else f"/events/{events.index(event)}" for event in events}


async def _active_events(session: Reading, caller: CurrentCaller, places: dict[str, str]) -> list[Event]:
    found = {event.key: event for event in await events.find_all(session, caller.tenant, list(places))}
    for key, place in places.items():
        if key not in found:
            raise invalid(place, "no such event")
        if not found[key].active:
            raise invalid(place, "the event is inactive")
    return list(found.values())


def _subscription(webhook: Webhook, event: Event, body: WebhookBody) -> Subscription:
    return Subscription(
        tenant=webhook.tenant,
        event_id=event.id,
        webhook_id=webhook.id,
        allowed_client_identifiers=body.allowed_client_identifiers,
        filter=body.filter,
    )


async def _resubscribe(
    session: Writing,
    webhook: Webhook,
    subscribed: list[Subscribed],
    added: list[Event],
    body: WebhookBody,
    patch: dict[str, JsonValue],
) -> list[Subscribed]:
    """What is subscribed after the patch: a subscription that stays keeps what the patch does not name."""
    if "events" in patch:
        for subscription, event in subscribed:
            if event not in body.events:
                await session.delete(subscription)
        kept = [(subscription, event) for subscription, event in subscribed if event in body.events]
        made = [(_subscription(webhook, event, body), event.key) for event in added]
        session.add_all(subscription for subscription, _ in made)
        subscribed = kept + made
    for name, column in _NARROWING.items():
        if name in patch:
            if getattr(body, column) and not subscribed:
                raise invalid(f"/{name}", _NO_SUBSCRIPTION)
            for subscription, _ in subscribed:
                setattr(subscription, column, getattr(body, column))
                subscription.updated_at = webhook.updated_at
    return subscribed
