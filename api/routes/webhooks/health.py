"""How well a webhook does: success rate, answer times, recent requests. In the app before `crud`, whose `/{id}` would
take `/health`."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from temporalio.service import RPCError

from api.auth import needs
from api.deps import CurrentCaller, CurrentPlatform, Cursor, Limit, Term
from api.platform import Platform
from api.protocol.problems import RESPONSES, responses
from api.protocol.strict_json import StrictRoute
from api.routes.statistics import SPANS, counted, figures
from api.routes.webhooks.resource import find
from api.schemas.common import Page
from api.schemas.statistics import HealthOut, RecentRequestOut, Span
from webhooks.deliveries.monitor import DeliveryDetail
from webhooks.deliveries.statistics import Times, Window
from webhooks.deliveries.visibility import Filter
from webhooks.identity.caller import Caller
from webhooks.store import webhooks as stored_webhooks
from webhooks.store.models import Webhook

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], responses=RESPONSES, route_class=StrictRoute)

_DAY = timedelta(days=1)
_SAMPLE, _SMALL_SAMPLE = 50, 5
_MAX_WEBHOOKS = 50
_BARS_OF_A_LIST = 12


@router.get("/health", dependencies=[needs("webhook:list")])
async def list_webhook_health(
    caller: CurrentCaller,
    platform: CurrentPlatform,
    webhook_id: Annotated[list[Term], Query(min_length=1, max_length=_MAX_WEBHOOKS, description="Repeat it")],
    window: Span = Span.DAY,
) -> Page[HealthOut]:
    """Returns the health of up to 50 webhooks, in the order in which they were asked for. Unknown ones are left out.
    There are 12 bars, and the times are of 5 deliveries."""
    async with platform.database.read() as session:
        found = await stored_webhooks.find_all(session, caller.tenant, webhook_id)
    seen = [found[id] for id in dict.fromkeys(webhook_id) if id in found and caller.sees(found[id].client_identifier)]
    width = SPANS[window] / _BARS_OF_A_LIST
    healths = (_health(platform, caller, webhook, window, _SMALL_SAMPLE, width) for webhook in seen)
    return Page(items=await asyncio.gather(*healths), next_cursor=None)


@router.get("/{id}/health", dependencies=[needs("webhook:list")], responses=responses(404))
async def get_webhook_health(
    id: str, caller: CurrentCaller, platform: CurrentPlatform, window: Span = Span.DAY
) -> HealthOut:
    """Returns how many of the webhook's deliveries succeeded, and how long attempts took, as far as a sample of up to
    50 deliveries tells. Counts are as in `/v1/statistics`; times are up to 15 seconds old."""
    async with platform.database.read() as session:
        webhook, _ = await find(session, caller, id)
    return await _health(platform, caller, webhook, window, _SAMPLE, None)


@router.get("/{id}/requests", dependencies=[needs("delivery:list")], responses=responses(404))
async def list_webhook_requests(
    id: str, caller: CurrentCaller, platform: CurrentPlatform, limit: Limit = 50, cursor: Cursor = None
) -> Page[RecentRequestOut]:
    """Lists attempts of the deliveries that were accepted in the last 24 hours. A page has the attempts of `limit`
    deliveries, newest first; the next page has those of older deliveries."""
    async with platform.database.read() as session:
        await find(session, caller, id)
    filter = _filter(caller, id, since=datetime.now(UTC) - _DAY)
    details, next_cursor = await platform.deliveries.details(filter, limit=limit, cursor=cursor)
    requests = [request for detail in details for request in _requests(detail)]
    return Page(items=sorted(requests, key=lambda request: request.at, reverse=True), next_cursor=next_cursor)


async def _health(
    platform: Platform, caller: Caller, webhook: Webhook, span: Span, sample: int, width: timedelta | None
) -> HealthOut:
    window = Window.last(SPANS[span], width)
    result = await counted(platform, _filter(caller, webhook.id), window)
    times = Times(None, None, 0)
    if platform.publisher and result.numbers and result.numbers.total:
        newest = _filter(caller, webhook.id, since=window.since)
        with contextlib.suppress(RPCError):
            times = await platform.statistics.times(platform.deliveries, newest, sample)
    return HealthOut(
        webhook_id=webhook.id,
        window=span,
        total=result.numbers and result.numbers.total,
        p50_ms=times.p50_ms,
        p95_ms=times.p95_ms,
        sample=times.sample,
        state=platform.lanes.snapshot(webhook.id).state if platform.lanes else None,
        failing_since=webhook.failing_since,
        **figures(result),
    )


def _filter(caller: Caller, webhook_id: str, since: datetime | None = None) -> Filter:
    return Filter(
        tenant=caller.tenant,
        webhook_ids=(webhook_id,),
        client_identifiers=(caller.client_identifier,) if caller.client_identifier else (),
        since=since,
    )


def _requests(detail: DeliveryDetail) -> list[RecentRequestOut]:
    summary = detail.summary
    return [
        RecentRequestOut(
            delivery_id=summary.id,
            event=summary.event,
            occurrence_id=summary.occurrence_id,
            attempt=number,
            trigger=attempt.trigger,
            outcome=attempt.outcome,
            status_code=attempt.status_code,
            duration_ms=attempt.duration_ms,
            at=attempt.started_at,
        )
        for number, attempt in enumerate(detail.attempts, start=1)
    ]
