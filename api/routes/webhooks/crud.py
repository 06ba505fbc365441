"""Create, list, read, change and delete webhooks with their subscriptions."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import JsonValue

from api.auth import needs
from api.deps import CurrentCaller, CurrentPlatform, Cursor, Either, Limit, Reading, Term, Writing
from api.platform import Platform
from api.protocol.conditional import IfMatch, require_match, tagged
from api.protocol.merge_patch import changes_in, unmasked, validated
from api.protocol.problems import RESPONSES, ProblemError, invalid, responses
from api.protocol.strict_json import StrictRoute
from api.routes.webhooks.resource import (
    SECRET,
    client_certificate,
    clients_of,
    differ,
    document,
    find,
    patched,
    set_columns,
    subscribable,
    view,
    writable,
)
from api.schemas.common import MergePatch, Page
from api.schemas.webhooks import (
    OneEvent,
    WebhookBody,
    WebhookCreated,
    WebhookIn,
    WebhookName,
    WebhookOut,
)
from webhooks import cursors
from webhooks.credentials import signing
from webhooks.credentials.signing import Style
from webhooks.credentials.vault import Vault
from webhooks.credentials.webhook_secrets import Secrets
from webhooks.store import events as stored_events
from webhooks.store import sealed
from webhooks.store import subscriptions as stored_subscriptions
from webhooks.store import webhooks as stored_webhooks
from webhooks.store.models import Event, Subscription, Webhook
from webhooks.store.subscriptions import Subscribed

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], responses=RESPONSES, route_class=StrictRoute)

_NARROWING = {"allowedClientIdentifiers": "allowed_client_identifiers", "filter": "filter"}
"""Fields of a webhook that set a column of its subscriptions."""
_MAX_NAMES = 100
_MAX_OF_CLIENT = 100
"""Webhooks that a client's users can have. With the tenant's own key there can be more."""
_NO_SUBSCRIPTION = "it applies to subscriptions, and the webhook has none; add events"


@router.post("", dependencies=[needs("webhook:add")], status_code=201, responses=responses(409))
async def create_webhook(
    body: WebhookIn, caller: CurrentCaller, platform: CurrentPlatform, session: Writing, response: Response
) -> WebhookCreated:
    """Creates a webhook and subscribes it to its events, which must exist and be active. Only this response shows
    `signing_secret`."""
    owner = body.client_identifier or caller.client_identifier
    if not caller.sees(owner):
        raise invalid("/client_identifier", "must be the caller's own, or left out")
    if caller.client_identifier:
        await _assert_room(session, caller.tenant, caller.client_identifier)
    if owner and "allowed_client_identifiers" not in body.model_fields_set and body.events:
        body.allowed_client_identifiers = [owner]
    if body.events:
        clients_of(owner, body.allowed_client_identifiers)
    clients_given = "allowed_client_identifiers" in body.model_fields_set
    if body.event is not None and not clients_given:
        raise invalid("/allowedClientIdentifiers", "is required")
    if clients_given and "events" not in body.model_fields_set:
        raise invalid("/event", "is required")
    for pointer, given in (("/allowedClientIdentifiers", body.allowed_client_identifiers), ("/filter", body.filter)):
        if given and not body.events:
            raise invalid(pointer, _NO_SUBSCRIPTION)
    unmasked(body.model_dump(mode="json", by_alias=True, include=SECRET), None)  # refuses masked values
    await _check_urls(platform, caller.tenant, body.url, getattr(body.authentication, "token_url", None))
    key = signing.new_key(body.signing_secret)
    _check_signatures(body, key.secret)
    secrets = Secrets(
        signing=[key],
        headers=body.headers,
        authentication=body.authentication,
        client_certificate=client_certificate(body, None),
    )
    subscribed = await _active_events(session, caller, owner, _places(body.events, one=body.event is not None))
    webhook = Webhook(tenant=caller.tenant, client_identifier=owner, url=body.url)
    set_columns(platform.vault, webhook, body, secrets)
    session.add(webhook)
    await session.flush()
    made = [(_subscription(webhook, event, body), event.key) for event in subscribed]
    session.add_all(subscription for subscription, _ in made)
    response.headers["Location"] = f"/v1/webhooks/{webhook.id}"
    shown = tagged(response, view(webhook, made))
    return WebhookCreated(**shown.model_dump(), signing_secret=key.secret)


async def _assert_room(session: Writing, tenant: str, client: str) -> None:
    """Raise ProblemError 409 if a client's users may not add another webhook: each gets every occurrence."""
    if len(await stored_webhooks.ids_of_client(session, tenant, client)) >= _MAX_OF_CLIENT:
        raise ProblemError(409, f"there are {_MAX_OF_CLIENT} webhooks of the client already; delete one first")


@router.get("", dependencies=[needs("webhook:list")])
async def list_webhooks(
    caller: CurrentCaller,
    session: Reading,
    event: Either = None,
    client_identifier: Either = None,
    url: Annotated[str | None, Query(description="What the URL begins with")] = None,
    active: bool | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[WebhookOut]:
    """Lists webhooks, newest first. `event` and `client_identifier` together select webhooks in which one subscription
    has both. A webhook for all clients (`allowedClientIdentifiers` is `[]`) names none."""
    before = cursors.decode(cursor) if cursor else None
    found = await stored_webhooks.list_newest_first(
        session,
        caller.tenant,
        events=event,
        client_identifiers=client_identifier,
        owner=caller.client_identifier,
        url=url,
        active=active,
        before=before,
        limit=limit + 1,
    )
    rows, next_cursor = cursors.page(found, limit, lambda webhook: webhook.id)
    subscribed = await stored_subscriptions.of_webhooks(session, caller.tenant, [row.id for row in rows])
    return Page(items=[view(row, subscribed[row.id]) for row in rows], next_cursor=next_cursor)


@router.get("/names", dependencies=[needs("webhook:list")])
async def list_names(
    caller: CurrentCaller,
    session: Reading,
    webhook_id: Annotated[list[Term], Query(min_length=1, max_length=_MAX_NAMES, description="Repeat it")],
) -> Page[WebhookName]:
    """Returns the names and URLs of up to 100 webhooks. Unknown ones are left out."""
    found = await stored_webhooks.names(session, caller.tenant, webhook_id, caller.client_identifier)
    return Page(items=[WebhookName(id=id, name=name, url=url) for id, name, url in found], next_cursor=None)


@router.get("/{id}", dependencies=[needs("webhook:list")], responses=responses(404))
async def get_webhook(id: str, caller: CurrentCaller, session: Reading, response: Response) -> WebhookOut:
    return tagged(response, view(*await find(session, caller, id)))


@router.patch("/{id}", dependencies=[needs("webhook:edit")], responses=responses(404, 409, 412))
async def change_webhook(
    id: str,
    patch: MergePatch,
    caller: CurrentCaller,
    platform: CurrentPlatform,
    session: Writing,
    response: Response,
    if_match: IfMatch = None,
) -> WebhookOut:
    """Changes the given fields. URL, headers, authentication, client certificate, signatures and `active` apply from
    the next attempt of every delivery. Body, method, timeout and retry policy of prepared deliveries stay as they are.
    Activating the webhook or changing its URL resets `failing_since`, `deactivated_reason` and `deactivated_at`. A
    secret that is sent back masked keeps its value. An `authentication` of another type replaces the old one as a
    whole. `events`, `allowedClientIdentifiers` and `filter` change all subscriptions of the webhook."""
    patch = await _checked_patch(platform, caller, id, patch, if_match)
    webhook, subscribed = await find(session, caller, id, lock=True)
    require_match(if_match, view(webhook, subscribed))
    one = "event" in patch
    body, patch = _change_columns(platform.vault, webhook, subscribed, patch)
    if body.events and (owner := webhook.client_identifier):
        if "allowedClientIdentifiers" not in patch:
            body.allowed_client_identifiers = [owner]
        clients_of(owner, body.allowed_client_identifiers)
    added = await _added_events(session, caller, webhook, subscribed, _places(body.events, one=one), patch)
    subscribed = await _resubscribe(session, webhook, subscribed, added, body, patch)
    return tagged(response, view(webhook, subscribed))


@router.delete("/{id}", dependencies=[needs("webhook:delete")], status_code=204, responses=responses(404, 409, 412))
async def delete_webhook(id: str, caller: CurrentCaller, session: Writing, if_match: IfMatch = None) -> None:
    """Deletes a webhook and its subscriptions. Deliveries that wait for their next attempt fail with outcome
    `webhook_deleted` and stay in the monitor."""
    webhook, subscribed = await find(session, caller, id, lock=True)
    require_match(if_match, view(webhook, subscribed))
    await session.delete(webhook)


async def _checked_patch(
    platform: Platform, caller: CurrentCaller, id: str, patch: dict[str, JsonValue], if_match: str | None
) -> dict[str, JsonValue]:
    """Return the members of the patch that change something, with their URLs checked.

    Checking a URL may look up its name. So this comes before the transaction, which makes others wait."""
    async with platform.database.read() as reading:
        shown = view(*await find(reading, caller, id))
    require_match(if_match, shown)
    patch = writable(changes_in(patch, shown, WebhookBody), shown)
    authentication = patch.get("authentication")
    token_url = authentication.get("token_url") if isinstance(authentication, dict) else None
    await _check_urls(platform, caller.tenant, patch.get("url"), token_url)
    return patch


def _change_columns(
    vault: Vault, webhook: Webhook, subscribed: list[Subscribed], patch: dict[str, JsonValue]
) -> tuple[WebhookBody, dict[str, JsonValue]]:
    """Apply the patch to the webhook's row. Return the body that results, and the patch with `event` as `events`."""
    if "event" in patch:
        if "events" in patch:
            raise invalid("/event", "give either event or events, not both")
        one = validated(OneEvent, {"event": patch["event"]})
        patch = {name: value for name, value in patch.items() if name != "event"} | {"events": [one.event]}
    secrets = sealed.unseal(vault, webhook)
    body = validated(WebhookBody, patched(document(webhook, subscribed, secrets), patch))
    _check_signatures(body, secrets.signing[0].secret)
    if body.url != webhook.url or (body.active and not webhook.active):
        webhook.failing_since = webhook.deactivated_reason = webhook.deactivated_at = None
    secrets = secrets.model_copy(
        update={
            "headers": body.headers,
            "authentication": body.authentication,
            "client_certificate": client_certificate(body, secrets.client_certificate),
        }
    )
    set_columns(vault, webhook, body, secrets)
    webhook.updated_at = datetime.now(UTC)
    return body, patch


async def _added_events(
    session: Writing,
    caller: CurrentCaller,
    webhook: Webhook,
    subscribed: list[Subscribed],
    places: dict[str, str],
    patch: dict[str, JsonValue],
) -> list[Event]:
    """Return the events in `places` that the webhook is not subscribed to yet."""
    known = {event for _, event in subscribed}
    new = {key: place for key, place in places.items() if key not in known}
    added = await _active_events(session, caller, webhook.client_identifier, new)
    for name, column in _NARROWING.items():
        if added and name not in patch and differ(subscribed, column):
            raise invalid(f"/{name}", "the subscriptions have different values; give the one for the new subscription")
    return added


async def _check_urls(platform: Platform, tenant: str, url: object, token_url: object) -> None:
    """Raise ProblemError 422 for a URL that is not allowed. Ignore other types than text, which the model refuses."""
    for pointer, text in (("/url", url), ("/authentication/token_url", token_url)):
        if isinstance(text, str) and (problem := await platform.egress.check_url(tenant, text)):
            raise invalid(pointer, problem)


def _check_signatures(body: WebhookBody, secret: str) -> None:
    if Style.V1 in body.signatures and not signing.is_standard_secret(secret):
        raise invalid("/signatures", "v1 needs a secret of whsec_ and the base64 of 24 to 64 bytes; rotate the secret")


def _places(events: list[str], *, one: bool) -> dict[str, str]:
    """Return the JSON pointer to each event in the request's body."""
    return {event: "/event" if one else f"/events/{events.index(event)}" for event in events}


async def _active_events(
    session: Reading, caller: CurrentCaller, owner: str | None, places: dict[str, str]
) -> list[Event]:
    """Return the events. Raises ProblemError 422 if one does not exist, is inactive, or is not for a webhook of
    `owner`."""
    found = {event.key: event for event in await stored_events.find_all(session, caller.tenant, list(places))}
    for key, place in places.items():
        if key not in found:
            raise invalid(place, "no such event")
        if not found[key].active:
            raise invalid(place, "the event is inactive")
        subscribable(owner, key, place)
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
    """Add, change and delete subscriptions as the patch says. Return those that the webhook has then. A subscription
    that stays keeps the fields that the patch does not name."""
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
