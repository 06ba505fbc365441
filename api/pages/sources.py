"""Sources: the systems that send webhooks to us, and how each proves that it is the sender."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api.pages.calls import CallError
from api.pages.fields import faults_in
from api.pages.page import CurrentPage, Page, PageRoute
from api.protocol.forms import Form
from webhooks.inbound.verification import SenderStyle

router = APIRouter(prefix="/sources", include_in_schema=False, route_class=PageRoute)

_SHOWN = ("name", "event", "client_identifier", "verification", "duplicate_window", "secret", "verify_token")
_NEW: dict[str, Any] = {
    "name": "",
    "event": "",
    "events_by_type": {},
    "client_identifier": "",
    "verification": {"type": "standard", "name": "", "in": "header", "username": ""},
    "duplicate_window": 300,
    "active": True,
}


@router.get("")
async def list_sources(page: CurrentPage) -> Response:
    found = await page.api.get("/v1/sources", cursor=page.request.query_params.get("cursor") or None)
    return page.render("sources.html", title="Sources", sources=found["items"], next_cursor=found["next_cursor"])


@router.get("/new")
async def show_new(page: CurrentPage) -> Response:
    return await _form(page, _NEW)


@router.post("/new")
async def create_source(page: CurrentPage) -> Response:
    form = await page.form()
    body = _body_of(form)
    try:
        created = await page.api.post("/v1/sources", body)
    except CallError as error:
        return await _form(page, _NEW | body, error)
    return page.render("source_secret.html", title="The source", source=created, secret=created["secret"])


@router.get("/{id}")
async def show_source(id: str, page: CurrentPage) -> Response:
    source = await page.api.get(f"/v1/sources/{id}")
    return await _form(page, source, source=source)


@router.post("/{id}")
async def change_source(id: str, page: CurrentPage) -> Response:
    body = _body_of(await page.form())
    source = await page.api.get(f"/v1/sources/{id}")
    try:
        await page.api.call("PATCH", f"/v1/sources/{id}", body)
    except CallError as error:
        return await _form(page, source | body, error, source=source)
    return page.go("/sources", said="saved")


@router.post("/{id}/rotate-secret")
async def rotate_secret(id: str, page: CurrentPage) -> Response:
    form = await page.form()
    asked = {"secret": form.get("secret")} if form.get("secret") else {}
    source = await page.api.get(f"/v1/sources/{id}")
    try:
        rotated = await page.api.post(f"/v1/sources/{id}/rotate-secret", asked)
    except CallError as error:
        return await _form(page, source, error, source=source)
    return page.render("source_secret.html", title="The new secret", source=source, secret=rotated["secret"])


@router.post("/{id}/delete")
async def delete_source(id: str, page: CurrentPage) -> Response:
    await page.api.call("DELETE", f"/v1/sources/{id}")
    return page.go("/sources", said="deleted")


def _body_of(form: Form) -> dict[str, Any]:
    """Return the body of the API call. An empty secret is left out: the stored one stays, or one is made."""
    window = form.get("duplicate_window")
    verification = {
        "type": form.get("verification.type"),
        "name": form.get("verification.name"),
        "in": form.get("verification.in", "header"),
        "username": form.get("verification.username"),
    }
    pairs = [line.partition("=") for line in form.get("events_by_type").split("\n") if line.strip()]
    body: dict[str, Any] = {
        "name": form.get("name"),
        "event": form.get("event"),
        "events_by_type": {type.strip(): event.strip() for type, _, event in pairs},
        "client_identifier": form.get("client_identifier") or None,
        "verification": verification,
        "duplicate_window": int(window) if window.isdigit() else window,
        "active": "active" in form,
    }
    return body | {name: form.get(name) for name in ("secret", "verify_token") if form.get(name)}


async def _form(page: Page, fields: dict[str, Any], error: CallError | None = None, *, source: Any = None) -> Response:
    events = await page.api.all("/v1/events") if page.may("event:list") else []
    return page.render(
        "source.html",
        error.status if error else 200,
        title=source["name"] if source else "New source",
        source=source,
        fields=fields,
        faults=faults_in(error, *_SHOWN) if error else {},
        events=[event["key"] for event in events if not event["operational"]],
        styles=[style.value for style in SenderStyle],
    )
