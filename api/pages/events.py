"""Events: the catalogue, and an event with its template, what that renders, its versions and its webhooks."""

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.responses import Response

from api.pages.calls import CallError
from api.pages.event_versions import versions_of
from api.pages.fields import Faults, faults_in, with_json
from api.pages.page import CurrentPage, Page, PageRoute
from api.pages.shown import document, segment
from api.protocol.forms import Form
from webhooks.contracts import Format
from webhooks.events.presets import PRESETS, Preset

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_ROWS = 50
_ACTIVE = {"yes": "true", "no": "false"}
_FIELDS = ("key", "entity", "action", "description", "schema", "template", "sample", "format")
_DOCUMENTS = ("schema", "template", "sample")
_EMPTY: dict[str, Any] = {
    **dict.fromkeys(_FIELDS, ""),
    "format": Format.JSON.value,
    "named": "key",
    "active": True,
    "owner_required": False,
    "sends_json": True,
    "preset": "",
    "etag": "",
}
"""What a form has before somebody types."""


@router.get("/events")
async def show_events(page: CurrentPage) -> Response:
    query = page.request.query_params
    chosen = {name: query.get(name, "").strip() for name in ("q", "active")}
    found = await page.api.get(
        "/v1/events",
        search=chosen["q"] or None,
        active=_ACTIVE.get(chosen["active"]),
        cursor=query.get("cursor") or None,
        limit=_ROWS,
    )
    return page.render(
        "events.html",
        title="Events",
        events=found["items"],
        next_cursor=found["next_cursor"],
        chosen=chosen,
        is_first="cursor" not in query,
        here=urlencode({name: value for name, value in chosen.items() if value}),
    )


@router.get("/events/new")
async def show_new_event(page: CurrentPage) -> Response:
    page.require("event:add")
    return await _new_form(page, _EMPTY)


@router.post("/events/new")
async def create_event(page: CurrentPage) -> Response:
    form = await page.form()
    typed = _typed(form)
    if form.get("do") in ("fill", "preview"):
        return await _new_form(page, _filled(typed) if form.get("do") == "fill" else typed)
    try:
        body = _name(typed) | _plain(typed)
        created = await page.api.post("/v1/events", with_json(body, **_documents(typed)))
    except CallError as error:
        return await _new_form(page, typed, error)
    if form.get("do") == "another":  # EngageIP's Save/New
        return page.go("/events/new", said="created")
    return page.go(f"/events/{segment(created['key'])}", said="created")


@router.post("/events/preview")
async def preview_event(page: CurrentPage) -> Response:
    """Show what the form's template makes of its sample."""
    return page.render("event_preview.html", **await _preview(page, _typed(await page.form())))


@router.get("/events/import")
async def show_import(page: CurrentPage) -> Response:
    page.require("event:add")
    return page.render("event_import.html", title="Import events", content="", results=[], fault=None)


@router.post("/events/import")
async def import_events(page: CurrentPage) -> Response:
    content = (await page.form()).get("content")
    fields: dict[str, Any] = {"title": "Import events", "content": content, "results": [], "fault": None}
    try:
        fields["results"] = (await page.api.post("/v1/events/import", content.encode()))["items"]
    except CallError as error:
        fault = "; ".join(f"{pointer or 'the file'}: {detail}" for pointer, detail in error.errors.items())
        return page.render("event_import.html", error.status, **fields | {"fault": fault or error.detail})
    return page.render("event_import.html", **fields)


@router.get("/events/{key}")
async def show_event(page: CurrentPage, key: str) -> Response:
    event, etag = await page.api.get_tagged(f"/v1/events/{key}")
    return await _event_form(page, event, _stored(event, etag))


@router.post("/events/{key}")
async def change_event(page: CurrentPage, key: str) -> Response:
    form = await page.form()
    event = await page.api.get(f"/v1/events/{key}")
    typed = _typed(form) | {name: event[name] or "" for name in ("key", "entity", "action")}
    if form.get("do") in ("fill", "preview"):
        return await _event_form(page, event, _filled(typed) if form.get("do") == "fill" else typed)
    try:
        if event["operational"]:
            body = with_json({"active": typed["active"]}, template=typed["template"])
        else:
            body = with_json(_plain(typed), **_documents(typed))
        await page.api.call("PATCH", f"/v1/events/{key}", body, if_match=typed["etag"])
    except CallError as error:
        return await _event_form(page, event, typed, error)
    return page.go(f"/events/{segment(key)}", said="saved")


@router.post("/events/{key}/delete")
async def delete_event(page: CurrentPage, key: str) -> Response:
    try:
        await page.api.call("DELETE", f"/v1/events/{key}")
    except CallError as error:
        if error.status != 409:
            raise
        event, etag = await page.api.get_tagged(f"/v1/events/{key}")
        return await _event_form(page, event, _stored(event, etag), error)
    return page.go("/events", said="deleted")


async def _new_form(page: Page, typed: dict[str, Any], error: CallError | None = None) -> Response:
    known = (await page.api.get("/v1/events", limit=100))["items"] if page.may("event:list") else []
    return page.render(
        "event.html",
        error.status if error else 200,
        title="New event",
        event=None,
        typed=typed,
        faults=_faults(error),
        entities=sorted({event["entity"] for event in known if event["entity"]}),
        actions=sorted({"Create", "Update", "Delete"} | {event["action"] for event in known if event["action"]}),
        **await _preview(page, typed),
        **_CHOICES,
    )


async def _event_form(page: Page, event: Any, typed: dict[str, Any], error: CallError | None = None) -> Response:
    chosen = page.request.query_params.get("version", "")
    versions, change = await versions_of(page, event["key"], int(chosen) if chosen.isdecimal() else None)
    webhooks = None
    if page.may("webhook:list"):
        webhooks = await page.api.get("/v1/webhooks", event=event["key"], limit=100)
    return page.render(
        "event.html",
        error.status if error else 200,
        title=event["key"],
        event=event,
        typed=typed,
        faults=_faults(error),
        versions=versions,
        change=change,
        webhooks=webhooks,
        **await _preview(page, typed),
        **_CHOICES,
    )


_CHOICES = {"formats": [format.value for format in Format], "presets": [preset.value for preset in Preset]}


def _faults(error: CallError | None) -> Faults:
    if error is None:
        return {}
    if error.status == 412:
        return {"": "somebody has changed the event since you opened it; open it again, and repeat your change"}
    return faults_in(error, *_FIELDS)


async def _preview(page: Page, typed: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of event_preview.html: what the template makes of the sample, or why it cannot."""
    if not page.may("event:list"):
        return {"preview": None, "preview_faults": {}}
    name = _name(typed)
    if not all(name.values()):
        name = {"key": "Event"}  # it has no name yet
    body = {**name, "format": typed["format"], "sends_json": typed["sends_json"]}
    try:
        return {
            "preview": await page.api.post("/v1/events/preview", with_json(body, **_documents(typed))),
            "preview_faults": {},
        }
    except CallError as error:
        return {"preview": None, "preview_faults": faults_in(error, *_FIELDS)}


def _typed(form: Form) -> dict[str, Any]:
    """Return what somebody has typed."""
    typed = {name: form.get(name).strip() for name in (*_FIELDS, "named", "preset", "etag")}
    typed["format"] = typed["format"] or Format.JSON.value
    return _EMPTY | typed | {name: name in form for name in ("active", "owner_required", "sends_json")}


def _stored(event: Any, etag: str) -> dict[str, Any]:
    """Return the fields of an event as a form has them."""
    return {
        **_EMPTY,
        **{name: event[name] or "" for name in ("key", "entity", "action", "description")},
        **{name: document(event[name]) for name in _DOCUMENTS},
        "named": "entity" if event["entity"] else "key",
        "active": event["active"],
        "owner_required": event["owner_required"],
        "etag": etag,
    }


def _filled(typed: dict[str, Any]) -> dict[str, Any]:
    """Return the form with template and sample of the chosen preset."""
    if typed["preset"] not in set(Preset):
        return typed
    preset = PRESETS[Preset(typed["preset"])]
    return typed | {"template": document(preset.template), "sample": document(preset.sample)}


def _name(typed: dict[str, Any]) -> dict[str, str]:
    names = ("entity", "action") if typed["named"] == "entity" else ("key",)
    return {name: typed[name] for name in names}


def _plain(typed: dict[str, Any]) -> dict[str, Any]:
    return {name: typed[name] for name in ("description", "active", "owner_required")}


def _documents(typed: dict[str, Any]) -> dict[str, str]:
    return {name: typed[name] for name in _DOCUMENTS}
