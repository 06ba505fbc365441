"""What was received from other systems."""

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Query

from api.auth import needs
from api.deps import MAX_VALUES, CurrentCaller, CurrentPlatform, Cursor, Limit, Terms, Time
from api.protocol.problems import RESPONSES, not_found, responses
from api.protocol.strict_json import StrictRoute
from api.schemas.common import Page
from api.schemas.occurrences import PublishedOut
from api.schemas.received import ReceivedDetail, ReceivedOut
from webhooks.contracts import Received
from webhooks.ids import is_occurrence_id
from webhooks.inbound.content import unpacked
from webhooks.inbound.not_stored import NotStored, Verdict
from webhooks.inbound.received import Item, ReceivedRequests

router = APIRouter(prefix="/v1/received", tags=["received"], responses=RESPONSES, route_class=StrictRoute)

Verdicts = Annotated[
    list[Verdict] | None, Query(max_length=MAX_VALUES, description="Repeat it to list what has any one of the values")
]


@router.get("", dependencies=[needs("occurrence:list")])
async def list_received(
    caller: CurrentCaller,
    platform: CurrentPlatform,
    source: Terms = None,
    event: Terms = None,
    verdict: Verdicts = None,
    since: Time = None,
    until: Time = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[ReceivedOut]:
    """Lists requests to sources, newest first. What was not stored is kept for an hour, up to 100 for each source, in
    the memory of the process that got it. A page may have fewer items than `limit`, or none, although more follow."""
    items, next_cursor = await _requests(platform, caller).list(
        source_ids=source or (),
        events=event or (),
        verdicts=verdict or (),
        since=since,
        until=until,
        limit=limit,
        cursor=cursor,
    )
    return Page(items=[ReceivedOut(**_shown(item)) for item in items], next_cursor=next_cursor)


@router.get("/{id}", dependencies=[needs("occurrence:read")], responses=responses(404))
async def get_received(id: str, caller: CurrentCaller, platform: CurrentPlatform) -> ReceivedDetail:
    """Returns a request as it was received. Its deliveries appear after a short delay."""
    item = await _requests(platform, caller).get(id) if is_occurrence_id(id) else None
    if item is None:
        raise not_found("request")
    shown = _shown(item)
    if isinstance(item, NotStored) or not item.readable:
        return ReceivedDetail(**shown, headers={}, query={}, body=None, body_base64=None, data=None)
    received = _received(item)
    body = unpacked(received.body)
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = None
    return ReceivedDetail(
        **shown,
        headers=received.headers,
        query=received.query,
        body=text,
        body_base64=base64.b64encode(body).decode(),
        data=item.occurrence.data,
    )


def _requests(platform: CurrentPlatform, caller: CurrentCaller) -> ReceivedRequests:
    return ReceivedRequests(platform.client, caller.tenant, platform.not_stored)


def _received(item: Item) -> Received:
    assert not isinstance(item, NotStored) and item.occurrence.received  # noqa: S101
    return item.occurrence.received


def _shown(item: Item) -> dict[str, Any]:
    if isinstance(item, NotStored):
        return {
            "id": item.id,
            "source_id": item.source_id,
            "event": item.event,
            "verdict": item.verdict,
            "reason": item.reason,
            "received_at": item.at,
            "address": item.address,
            "sender_id": None,
            "sender_type": None,
            "occurrence_id": item.occurrence_id,
            "deliveries": [],
            "matched": 0,
            "unmatched": None,
            "readable": True,
        }
    received = _received(item)
    return {
        **received.model_dump(include={"source_id", "address", "sender_id", "sender_type"}),
        "id": item.occurrence.id,
        "event": item.occurrence.event,
        "verdict": Verdict.VERIFIED if received.verified else Verdict.UNVERIFIED,
        "reason": None,
        "received_at": item.created_at,
        "occurrence_id": item.occurrence.id,
        "deliveries": [PublishedOut(id=one.id, webhook_id=one.webhook_id) for one in item.deliveries],
        "matched": item.matched,
        "unmatched": item.unmatched,
        "readable": item.readable,
    }
