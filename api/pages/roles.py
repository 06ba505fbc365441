"""Roles: named sets of permissions, the built-in ones and your own."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api.pages.access import by_resource, grouped, tabs
from api.pages.calls import CallError
from api.pages.fields import faults_in
from api.pages.page import CurrentPage, Page, PageRoute

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_FIELDS = ("name", "description", "permissions")


@router.get("/access/roles")
async def show_roles(page: CurrentPage) -> Response:
    return await _roles(page)


@router.get("/access/roles/form")
async def show_role_form(page: CurrentPage) -> Response:
    """Show the form for a new role, or for the one that the query names."""
    name = page.request.query_params.get("name")
    page.require("role:edit" if name else "role:add")
    if name is None:
        return _form(page, None, {"name": "", "description": "", "permissions": [], "etag": ""})
    role, etag = await page.api.get_tagged(f"/v1/roles/{name}")
    return _form(page, role["name"], role | {"etag": etag})


@router.post("/access/roles/form")
async def save_role(page: CurrentPage) -> Response:
    form = await page.form()
    name = page.request.query_params.get("name")
    typed: dict[str, Any] = {
        "name": name or form.get("name").strip(),
        "description": form.get("description").strip(),
        "permissions": form.all("permission"),
        "etag": form.get("etag"),
    }
    body = {field: typed[field] for field in ("description", "permissions")}
    try:
        if name:
            await page.api.call("PATCH", f"/v1/roles/{name}", body, if_match=typed["etag"])
        else:
            await page.api.post("/v1/roles", body | {"name": typed["name"]})
    except CallError as error:
        return _form(page, name, typed, error)
    return page.go("/access/roles", said="saved" if name else "created")


@router.post("/access/roles/delete")
async def delete_role(page: CurrentPage) -> Response:
    try:
        await page.api.call("DELETE", f"/v1/roles/{(await page.form()).get('name')}")
    except CallError as error:
        if error.status != 409:
            raise
        return await _roles(page, error)
    return page.go("/access/roles", said="deleted")


async def _roles(page: Page, error: CallError | None = None) -> Response:
    return page.render(
        "roles.html",
        error.status if error else 200,
        title="Roles",
        tabs=tabs(page),
        roles=(await page.api.get("/v1/roles"))["items"],
        fault=error.detail if error else None,
        by_resource=by_resource,
    )


def _form(page: Page, name: str | None, typed: dict[str, Any], error: CallError | None = None) -> Response:
    return page.render(
        "role.html",
        error.status if error else 200,
        title=name or "New role",
        name=name,
        tabs=tabs(page),
        groups=grouped(page),
        typed=typed,
        faults=faults_in(error, *_FIELDS) if error else {},
    )
