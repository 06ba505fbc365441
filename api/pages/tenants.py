"""Tenants: for the installation's administrator."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api.pages.access import tabs
from api.pages.calls import CallError
from api.pages.fields import faults_in
from api.pages.page import CurrentPage, Page, PageRoute
from api.pages.shown import segment
from webhooks.identity.permissions import HOME
from webhooks.ids import uuid7

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_ROWS = 50


@router.get("/access/tenants")
async def show_tenants(page: CurrentPage) -> Response:
    return await _tenants(page, {"id": "", "name": ""})


@router.post("/access/tenants")
async def create_tenant(page: CurrentPage) -> Response:
    """Create a tenant, and show its first key once. A form that is sent twice creates one tenant."""
    form = await page.form()
    typed = {name: form.get(name).strip() for name in ("id", "name")}
    try:
        created = await page.api.call("POST", "/v1/tenants", typed, idempotency_key=form.get("once") or uuid7())
    except CallError as error:
        return await _tenants(page, typed, error=error)
    return await _tenants(page, {"id": "", "name": ""}, created=created)


@router.get("/access/tenants/{id}")
async def show_tenant(page: CurrentPage, id: str) -> Response:
    return await _tenant(page, id)


@router.post("/access/tenants/{id}")
async def change_tenant(page: CurrentPage, id: str) -> Response:
    """Rename, suspend or resume a tenant: `do` says which."""
    form = await page.form()
    changes: dict[str, dict[str, Any]] = {
        "rename": {"name": form.get("name").strip()},
        "suspend": {"suspended": True},
        "resume": {"suspended": False},
    }
    done = form.get("do")
    try:
        await page.api.call("PATCH", f"/v1/tenants/{id}", changes.get(done, {}))
    except CallError as error:
        return await _tenant(page, id, error)
    said = {"suspend": "suspended", "resume": "resumed"}.get(done, "saved")
    return page.go(f"/access/tenants/{segment(id)}", said=said)


@router.post("/access/tenants/{id}/delete")
async def delete_tenant(page: CurrentPage, id: str) -> Response:
    """Delete a tenant, if its id was typed once more."""
    confirmed = (await page.form()).get("confirm").strip()
    try:
        await page.api.call("DELETE", f"/v1/tenants/{id}", query={"confirm": confirmed or None})
    except CallError as error:
        return await _tenant(page, id, error)
    return page.go("/access/tenants", said="deleting")


async def _tenants(
    page: Page, typed: dict[str, str], *, created: Any = None, error: CallError | None = None
) -> Response:
    cursor = page.request.query_params.get("cursor")
    found = await page.api.get("/v1/tenants", cursor=cursor or None, limit=_ROWS)
    return page.render(
        "tenants.html",
        error.status if error else 200,
        title="Tenants",
        tabs=tabs(page),
        tenants=found["items"],
        next_cursor=found["next_cursor"],
        is_first=not cursor,
        typed=typed | {"once": uuid7()},
        created=created,
        faults=faults_in(error, "id", "name") if error else {},
    )


async def _tenant(page: Page, id: str, error: CallError | None = None) -> Response:
    return page.render(
        "tenant.html",
        error.status if error else 200,
        title=id,
        tabs=tabs(page),
        tenant=await page.api.get(f"/v1/tenants/{id}"),
        is_home=id == HOME,
        faults=faults_in(error, "name", "confirm") if error else {},
    )
