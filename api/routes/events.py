"""The event catalogue."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import JsonValue

from api.auth import needs, require
from api.deps import CurrentCaller, Cursor, Limit, Reading, Term, Writing
from api.protocol.conditional import IfMatch, require_match, tagged
from api.protocol.merge_patch import changes_in, document_of, merged, validated
from api.protocol.problems import RESPONSES, FieldError, ProblemError, invalid, require_found, responses
from api.protocol.producer_digits import DigitsOfData
from api.protocol.strict_json import LargeStrictRoute, StrictRoute
from api.schemas.common import EXAMPLE_WEBHOOK, EventKey, MergePatch, Page
from api.schemas.events import (
    DraftIn,
    EventBody,
    EventIn,
    EventOut,
    EventReplace,
    EventVersionOut,
    ImportedOut,
    PreviewIn,
    PreviewOptions,
    PreviewOut,
)
from webhooks import cursors
from webhooks.contracts import Format, Occurrence
from webhooks.events import catalogue, json_schema, operational, rendering, rules
from webhooks.events.rules import BadEventError
from webhooks.json_documents import DocumentError
from webhooks.json_numbers import digits_in
from webhooks.json_pointer import json_pointer
from webhooks.store import events as stored_events
from webhooks.store import sources as stored_sources
from webhooks.store.models import Event

router = APIRouter(prefix="/v1/events", tags=["events"], responses=RESPONSES, route_class=StrictRoute)

imports = APIRouter(route_class=LargeStrictRoute)

_CATALOGUE = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "description": "`events`, or an OpenAPI document",
                    "examples": [{"events": [{"key": "ShipmentOrderCreated", "sample": {"order": {"id": 4711}}}]}],
                }
            },
            # Not application/yaml, which works too: client generators drop a media type that they do not know.
            "application/octet-stream": {
                "schema": {"type": "string", "format": "binary", "description": "The file, in JSON or YAML"}
            },
        },
    }
}
_IMPORT = "import"
"""The last part of the import's path, so no event can have this key."""
_VERSIONED = {"version", "json_schema", "template"}
_OPERATIONAL_CHANGEABLE = {"active", "template"}
"""The fields of an operational event that can be changed."""


@router.post("", dependencies=[needs("event:add")], status_code=201, responses=responses(409))
async def create_event(body: EventIn, caller: CurrentCaller, session: Writing, response: Response) -> EventOut:
    """Adds an event to the catalogue, named by `key`, or by `entity` and `action`: its key is then `Entity.Action`."""
    where = "/key" if body.key else "/entity"
    _refuse_reserved(body.name, where)
    if await stored_events.find(session, caller.tenant, body.name):
        raise ProblemError(409, f"event {body.name} already exists", errors=[(where, "already exists")])
    event = _new(caller, body.name, body)
    session.add(event)
    response.headers["Location"] = f"/v1/events/{event.key}"
    return tagged(response, EventOut.model_validate(event))


@router.get("", dependencies=[needs("event:list")])
async def list_events(
    caller: CurrentCaller,
    session: Reading,
    active: bool | None = None,
    search: Annotated[Term | None, Query(description="What key or description contains, in either case")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[EventOut]:
    """Lists events, ordered by key."""
    after = cursors.decode(cursor) if cursor else None
    found = await stored_events.list_by_key(
        session, caller.tenant, active=active, search=search, after=after, limit=limit + 1
    )
    rows, next_cursor = cursors.page(found, limit, lambda event: event.key)
    return Page(items=[EventOut.model_validate(event) for event in rows], next_cursor=next_cursor)


@imports.post("/import", dependencies=[needs("event:add")], responses=responses(409), openapi_extra=_CATALOGUE)
async def import_events(request: Request, caller: CurrentCaller, session: Writing) -> Page[ImportedOut]:
    """Imports a catalogue in JSON or YAML: `{"events": [...]}` with items as POST /v1/events takes them, or an OpenAPI
    3.1 document, whose `webhooks` become events. Events that exist are replaced as PUT does; the others are created. If
    anything in the file is wrong, nothing is changed. A file may also be sent as `application/yaml`."""
    # In a thread, and before the transaction begins: reading a large file takes long.
    bodies = await asyncio.to_thread(_read_catalogue, caller, await request.body())
    found = await stored_events.find_all(session, caller.tenant, list(bodies), lock=True)
    known = {event.key: event for event in found}
    if known:
        require(caller, "event:edit")
    results: dict[str, Literal["created", "changed", "unchanged"]] = {}
    for key, (body, new) in bodies.items():
        if key not in known:
            session.add(new)
            results[key] = "created"
        else:
            results[key] = "changed" if await _set(session, known[key], body) else "unchanged"
    return Page(items=[ImportedOut(key=key, result=result) for key, result in results.items()], next_cursor=None)


@router.get("/{key}", dependencies=[needs("event:list")], responses=responses(404))
async def get_event(key: str, caller: CurrentCaller, session: Reading, response: Response) -> EventOut:
    return tagged(response, EventOut.model_validate(await _event(session, caller, key)))


@router.put(
    "/{key}",
    dependencies=[needs("event:edit")],
    responses={**responses(404, 409, 412), 201: {"model": EventOut, "description": "Created"}},
)
async def put_event(
    key: EventKey,
    body: EventReplace,
    caller: CurrentCaller,
    session: Writing,
    response: Response,
    if_match: IfMatch = None,
) -> EventOut:
    """Replaces or creates the event. A field that is left out gets its default. A change of schema or template makes a
    new version. Deliveries keep the body that was prepared for them."""
    named = body.entity is not None or body.action is not None
    if named and (None in (body.entity, body.action) or key != f"{body.entity}.{body.action}"):
        raise invalid("/entity" if body.entity else "/action", "the key must be Entity.Action of these")
    event = await stored_events.find(session, caller.tenant, key, lock=True)
    if event is None:
        require(caller, "event:add")
        _refuse_reserved(key, "")
        if if_match is not None:
            raise ProblemError(412, "no such event")
        event = _new(caller, key, body)
        session.add(event)
        response.status_code = 201
    else:
        require_match(if_match, EventOut.model_validate(event))
        given = body.model_fields_set - ({"sample"} if body.preset else set())
        await _set(session, event, _allowed(event, body, given))
        _check(event)
    return tagged(response, EventOut.model_validate(event))


@router.patch("/{key}", dependencies=[needs("event:edit")], responses=responses(404, 409, 412))
async def change_event(
    key: str,
    patch: MergePatch,
    caller: CurrentCaller,
    session: Writing,
    response: Response,
    if_match: IfMatch = None,
) -> EventOut:
    """Changes the given fields; `null` removes schema, template or sample. A change of schema or template makes a new
    version. Occurrences of an inactive event cannot be published."""
    event = await _event(session, caller, key, lock=True)
    view = EventOut.model_validate(event)
    require_match(if_match, view)
    patch = changes_in(patch, view, EventBody)
    body = validated(EventBody, merged(document_of(view, EventBody), patch))
    await _set(session, event, _allowed(event, body, set(EventBody.model_fields)))
    _check(event)
    return tagged(response, EventOut.model_validate(event))


@router.delete("/{key}", dependencies=[needs("event:delete")], status_code=204, responses=responses(404, 409, 412))
async def delete_event(key: str, caller: CurrentCaller, session: Writing, if_match: IfMatch = None) -> None:
    event = await _event(session, caller, key, lock=True)
    require_match(if_match, EventOut.model_validate(event))
    if key in operational.KEYS:
        raise ProblemError(409, "an operational event cannot be deleted; set `active` to false to stop it")
    if await stored_events.is_subscribed(session, event):
        raise ProblemError(409, "a webhook is subscribed to this event; delete its subscription first")
    if await stored_sources.uses_event(session, caller.tenant, key):
        raise ProblemError(409, "what a source receives becomes this event; change the source first")
    await session.delete(event)


@router.get("/{key}/versions", dependencies=[needs("event:list")], responses=responses(404))
async def list_event_versions(
    key: str, caller: CurrentCaller, session: Reading, limit: Limit = 50, cursor: Cursor = None
) -> Page[EventVersionOut]:
    """Lists the current and earlier versions of the event's schema and template, newest first."""
    event = await _event(session, caller, key)
    before = _version(cursor) if cursor else event.version
    earlier = await stored_events.earlier_versions(session, event, before=before, limit=limit + 1)
    versions = [EventVersionOut.model_validate(version) for version in earlier]
    if not cursor:
        versions.insert(0, EventVersionOut(**event.model_dump(include=_VERSIONED), replaced_at=None))
    versions, next_cursor = cursors.page(versions, limit, lambda version: str(version.version))
    return Page(items=versions, next_cursor=next_cursor)


@router.post("/{key}/preview", dependencies=[needs("event:list")], responses=responses(404))
async def preview_event(
    key: str,
    digits: DigitsOfData,
    caller: CurrentCaller,
    session: Reading,
    body: PreviewIn = Body(default_factory=PreviewIn),
) -> PreviewOut:
    """Returns the body that a template makes of data, and sends nothing. Use it to write templates."""
    event = await _event(session, caller, key)
    data = body.data if "data" in body.model_fields_set else event.sample
    template = body.template if "template" in body.model_fields_set else event.template
    return _rendered(event, template, data, digits, body, "/data")


@router.post("/preview", dependencies=[needs("event:list")])
async def preview_draft(body: DraftIn, caller: CurrentCaller, request: Request) -> PreviewOut:
    """Returns the body that an event would make of its sample, and stores nothing. The event need not exist."""
    options = body.model_dump(include=set(PreviewOptions.model_fields))
    draft = body.model_dump(exclude={"key", "preset", *options})
    event = Event(tenant=caller.tenant, key=body.name, **draft)
    if event.json_schema is not None:
        try:
            json_schema.check_schema(event.json_schema)
        except json_schema.NotASchemaError as error:
            raise invalid("/schema", f"not a JSON Schema: {error}") from None
    digits = digits_in((await request.json()).get("sample"))
    return _rendered(event, event.template, event.sample, digits, body, "/sample")


def _rendered(
    event: Event, template: JsonValue, data: JsonValue, digits: JsonValue, options: PreviewOptions, place: str
) -> PreviewOut:
    """Return what the template makes of the data. `place` is where the request has it. Raises ProblemError 422."""
    try:
        rules.check_event_template(event, template, data)
    except BadEventError as error:
        raise _refused(error) from None
    occurrence = Occurrence(
        id="preview",
        event=event.key,
        client_identifier=options.client_identifier,
        occurred_at=datetime.now(UTC),
        data=data,
        digits=digits,
    )
    try:
        text = rendering.render(
            template,
            occurrence,
            rendering.own_fields(event.tenant, EXAMPLE_WEBHOOK, occurrence, event.entity, event.action),
            format=options.format,
            sends_json=options.sends_json,
        )
    except rendering.NotRenderedError as error:
        raise invalid("/format" if options.format is Format.FORM else "/template", str(error)) from None
    found = [] if event.json_schema is None else json_schema.violations(event.json_schema, data)
    return PreviewOut(
        content_type=rendering.content_type(options.format, text),
        body=text,
        schema_errors=[FieldError(pointer=place + pointer, detail=message) for pointer, message in found],
    )


async def _event(session: Reading, caller: CurrentCaller, key: str, *, lock: bool = False) -> Event:
    return require_found("event", await stored_events.find(session, caller.tenant, key, lock=lock))


def _version(cursor: str) -> int:
    text = cursors.decode(cursor)
    if not text.isdecimal() or len(text) > 9:
        raise cursors.BadCursorError("not a cursor of this list")
    return int(text)


def _read_catalogue(caller: CurrentCaller, content: bytes) -> dict[str, tuple[EventIn, Event]]:
    """Return each event by its key: as given, and as the row to create. Raises ProblemError 422."""
    found: dict[str, tuple[EventIn, Event]] = {}
    try:
        documents = catalogue.read(content)
    except DocumentError as error:
        raise invalid(error.pointer, str(error)) from None
    for path, document in documents:
        body, place = validated(EventIn, document, *path), json_pointer(path)
        _refuse_reserved(body.name, place)
        if body.name in found:
            raise invalid(place, f"event {body.name} is in the catalogue twice")
        found[body.name] = body, _new(caller, body.name, body, place)
    return found


def _refuse_reserved(key: str, place: str) -> None:
    if key in operational.KEYS:
        raise invalid(place, f"{key} is reserved for the platform's operational event")
    if key == _IMPORT:
        raise invalid(place, f"{key} cannot be a key: /v1/events/{key} imports a catalogue")


def _allowed(event: Event, body: EventBody, given: set[str]) -> EventBody:
    """Return the body to store. For an operational event, fields that cannot be changed keep their stored values.

    `given` names the fields that the request contains. Raises ProblemError 422 if it would change such a field."""
    if event.key not in operational.KEYS:
        return body
    fixed = set(EventBody.model_fields) - _OPERATIONAL_CHANGEABLE
    for name in sorted(fixed & given):
        if getattr(body, name) != getattr(event, name):
            raise invalid(f"/{_alias(name)}", "only active and template of an operational event can be changed")
    return body.model_copy(update={name: getattr(event, name) for name in fixed})


def _alias(field: str) -> str:
    return EventBody.model_fields[field].alias or field


def _new(caller: CurrentCaller, key: str, body: EventReplace, place: str = "") -> Event:
    event = Event(tenant=caller.tenant, **body.model_dump(exclude={"key", "preset"}), key=key)
    _check(event, place)
    return event


async def _set(session: Writing, event: Event, body: EventBody) -> bool:
    """Store the body in the event. Return whether anything changed."""
    wanted = body.model_dump(exclude={"key", "preset"})
    wanted = {field: value for field, value in wanted.items() if value is not None or field not in ("entity", "action")}
    if json.dumps({field: getattr(event, field) for field in wanted}) == json.dumps(wanted):
        return False
    await stored_events.change(session, event, json_schema=wanted.pop("json_schema"), template=wanted.pop("template"))
    for field, value in wanted.items():
        setattr(event, field, value)
    event.updated_at = datetime.now(UTC)
    return True


def _check(event: Event, place: str = "") -> None:
    try:
        rules.check_event(event)
    except BadEventError as error:
        raise _refused(error, place) from None


def _refused(error: BadEventError, place: str = "") -> ProblemError:
    return ProblemError(422, str(error), errors=[(place + pointer, message) for pointer, message in error.errors])


router.include_router(imports)
