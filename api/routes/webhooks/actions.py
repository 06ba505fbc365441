"""Actions on a webhook: show its traffic, rotate its secret, send it a test."""

import asyncio
import contextlib
import logging
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Body, Response
from temporalio.service import RPCError

from api.auth import needs, require_not_suspended
from api.deps import CurrentCaller, CurrentPlatform, Reading, Writing
from api.platform import Platform
from api.protocol.conditional import IfMatch, require_match, tagged
from api.protocol.problems import RESPONSES, ProblemError, invalid, responses
from api.protocol.strict_json import StrictRoute
from api.routes.webhooks.resource import find, public_key, view
from api.schemas.common import Page
from api.schemas.webhooks import RotatedOut, RotateIn, TestIn, TestOut, TrafficOut
from api.schemas.wire import wire
from webhooks.contracts import Occurrence
from webhooks.credentials import signing
from webhooks.credentials.signing import Style
from webhooks.deliveries import counts
from webhooks.egress.guard import ProxyFaultError
from webhooks.identity import audit
from webhooks.ids import uuid7
from webhooks.sending.sender import NotSendableError
from webhooks.store import events as stored_events
from webhooks.store import sealed
from webhooks.store.models import Event, Webhook

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], responses=RESPONSES, route_class=StrictRoute)

log = logging.getLogger(__name__)

_MAX_OLD_KEYS = 10


@router.get("/{id}/traffic", dependencies=[needs("webhook:list")], responses=responses(404))
async def get_webhook_traffic(
    id: str, caller: CurrentCaller, platform: CurrentPlatform, session: Reading
) -> TrafficOut:
    """Returns the webhook's circuit breaker, its requests in progress, and its waiting deliveries, as far as this
    process sends them. Other worker processes have their own figures; a process without a worker has none.
    `unfinished` and `awaiting_resend` are those of the whole platform."""
    await find(session, caller, id)
    lane = platform.lanes.snapshot(id) if platform.lanes else None
    stored = None
    if platform.publisher:
        with contextlib.suppress(RPCError):
            stored = await counts.of_webhook(platform.publisher.client, caller.tenant, id)
    return TrafficOut(**(asdict(lane) if lane else {}), **(asdict(stored) if stored else {}))


@router.post("/{id}/rotate-secret", dependencies=[needs("webhook:edit")], responses=responses(404, 409, 412))
async def rotate_webhook_secret(
    id: str,
    caller: CurrentCaller,
    platform: CurrentPlatform,
    session: Writing,
    response: Response,
    body: RotateIn = Body(default_factory=RotateIn),
    if_match: IfMatch = None,
) -> RotatedOut:
    """Makes a new signing secret and Ed25519 key. For `overlap` seconds, every request has the Standard Webhooks
    signatures of the old and the new key. The `logto` and `github` headers hold one signature: they use the new secret
    immediately."""
    webhook, subscribed = await find(session, caller, id, lock=True)
    require_match(if_match, view(webhook, subscribed))
    secrets = sealed.unseal(platform.vault, webhook)
    new, now = signing.new_key(body.signing_secret), datetime.now(UTC)
    if Style.V1 in webhook.signatures and not signing.is_standard_secret(new.secret):
        raise invalid("/signing_secret", "v1 signatures need a secret of whsec_ and the base64 of 24 to 64 bytes")
    until = now + timedelta(seconds=body.overlap)
    old = [
        key.model_copy(update={"expires_at": min(until, key.expires_at or until)}) for key in secrets.signing_keys(now)
    ]
    keys = [new, *(key for key in old if body.overlap)]
    if len(keys) > _MAX_OLD_KEYS + 1:
        raise ProblemError(409, f"{_MAX_OLD_KEYS} older secrets are still in use; overlap 0 ends their use")
    for column, value in sealed.seal(
        platform.vault, webhook.tenant, webhook.id, secrets.model_copy(update={"signing": keys})
    ).items():
        setattr(webhook, column, value)
    webhook.updated_at = now
    audit.name_edit(session, "webhook.rotate_secret")
    tagged(response, view(webhook, subscribed))
    overlaps = {Style.V1, Style.V1A} & set(webhook.signatures)
    return RotatedOut(
        signing_secret=new.secret, public_key=public_key(webhook), overlaps_until=until if overlaps else None
    )


@router.post("/{id}/test", dependencies=[needs("webhook:test")], responses=responses(404))
async def test_webhook(
    id: str, caller: CurrentCaller, platform: CurrentPlatform, body: TestIn = Body(default_factory=TestIn)
) -> Page[TestOut]:
    """Sends the sample of each subscribed event (`{}` if it has none) to the webhook's URL now, and returns the
    responses. The requests look like those of a delivery, but are sent once: they are not retried, do not appear among
    the deliveries, and their result does not affect the webhook. The occurrence's id begins with `test-`."""
    require_not_suspended(caller)
    only = body.event
    async with platform.database.read() as session:  # closed before requests are sent, which may take long
        webhook, subscribed = await find(session, caller, id)
        keys = [event for _, event in subscribed if only in (None, event)]
        if not keys:
            raise invalid(
                "/event", "the webhook is not subscribed to this event" if only else "the webhook has no event"
            )
        chosen = await stored_events.find_all(session, caller.tenant, keys)

    async def test(event: Event) -> TestOut:
        async with platform.test_slots.one(f"{caller.tenant}/{caller.client_identifier or ''}"):
            return await _tested(platform, webhook, event)

    return Page(items=await asyncio.gather(*map(test, chosen)), next_cursor=None)


async def _tested(platform: Platform, webhook: Webhook, event: Event) -> TestOut:
    occurrence = Occurrence(
        id=f"test-{uuid7()}",
        event=event.key,
        occurred_at=datetime.now(UTC),
        data={} if event.sample is None else event.sample,
    )
    shown: dict[str, Any] = {"event": event.key, "method": webhook.method, "url": webhook.url}
    try:
        prepared, attempt = await platform.sender.test(webhook, event, occurrence)
    except NotSendableError as error:
        shown |= {"content_type": "", "body": "", "outcome": error.outcome, "error": str(error)}
        return TestOut(**dict.fromkeys(TestOut.model_fields) | shown)
    except ProxyFaultError as error:
        log.error("webhook %s could not be tested: %s", webhook.id, error)
        raise ProblemError(503, "the platform's egress proxy is not reachable") from None
    shown |= prepared.model_dump(include={"content_type", "body"})
    answer = {"outcome", "status_code", "error", "response_body", "duration_ms"}
    return TestOut(**shown, **attempt.model_dump(include=answer), **wire(attempt))
