"""The event catalogue."""

import json
from datetime import UTC, datetime

from fastapi import APIRouter, Response
from pydantic import JsonValue

from api.deps import CurrentCaller, Cursor, Limit, Reading, Writing
from api.problems import RESPONSES, ProblemError, invalid, not_found, responses
from api.schemas import EventIn, EventOut, EventPatch, Page
from api.strict_json import StrictRoute
from webhooks import schema
from webhooks.store import events as store
from webhooks.store import pages
from webhooks.store.models import Event

router = APIRouter(prefix="/v1/events", tags=["events"], responses=RESPONSES, route_class=StrictRoute)

_MAX_TEMPLATE_BYTES = 64 * 1024


@router.post("", status_code=201, responses=responses(409))
async def create_event(body: EventIn, caller: CurrentCaller, session: Writing, response: Response) -> EventOut:
    """Adds an event to the catalogue, named by `key`, or by `entity` and `action` (its key is then `Entity.Action`)."""
    key = body.key or f"{body.entity}.{body.action}"
    if await store.find(session, caller.tenant, key):
        raise ProblemError(409, f"event {key} exists already", errors=[("/key", "exists already")])
    event = Event(tenant=caller.tenant, key=key, **body.model_dump(exclude={"key"}))
    _check(event)
    session.add(event)
    response.headers["Location"] = f"/v1/events/{key}"
    return EventOut.model_validate(event)


@router.get("")
async def list_events(
    caller: CurrentCaller,
    session: Reading,
    active: bool | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[EventOut]:
    """Events by key."""
    after = pages.decode(cursor) if cursor else None
    rows, more = pages.cut(
        await store.list_by_key(session, caller.tenant, active=active, after=after, limit=limit + 1), limit
    )
    return Page(
        items=[EventOut.model_validate(event) for event in rows],
        next_cursor=pages.encode(rows[-1].key) if more else None,
    )


@router.get("/{key}", responses=responses(404))
async def get_event(key: str, caller: CurrentCaller, session: Reading) -> EventOut:
    return EventOut.model_validate(await _event(session, caller, key))


@router.patch("/{key}", responses=responses(404))
async def change_event(key: str, body: EventPatch, caller: CurrentCaller, session: Writing) -> EventOut:
    """Changes what is given; `null` removes schema, template or sample. An inactive event takes no occurrences."""
    event = await _event(session, caller, key)
    for field, value in body.model_dump(exclude_unset=True).items():
        setattr(event, field, value)
    _check(event)
    event.updated_at = datetime.now(UTC)
    return EventOut.model_validate(event)


@router.delete("/{key}", status_code=204, responses=responses(404, 409))
async def delete_event(key: str, caller: CurrentCaller, session: Writing) -> None:
    event = await _event(session, caller, key)
    if await store.is_subscribed(session, event):
        raise ProblemError(409, "a webhook is subscribed to this event; delete or change it first")
    await session.delete(event)


async def _event(session: Reading, caller: CurrentCaller, key: str) -> Event:
    event = await store.find(session, caller.tenant, key)
    if event is None:
        raise not_found("event")
    return event


def _check(event: Event) -> None:
    if _size(event.template) > _MAX_TEMPLATE_BYTES:
        raise invalid("/template", f"the template is over {_MAX_TEMPLATE_BYTES} bytes")
    if event.json_schema is None:
        return
    try:
        schema.check(event.json_schema)
    except schema.NotASchemaError as error:
        raise invalid("/schema", f"not a JSON Schema: {error}") from None
    if event.sample is not None and (found := schema.violations(event.json_schema, event.sample)):
        raise ProblemError(
            422,
            "the sample does not fit the schema",
            errors=[(f"/sample{pointer}", message) for pointer, message in found],
        )


def _size(value: JsonValue) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())
