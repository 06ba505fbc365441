"""Access: what the person who looks may do, and tokens. Keys, roles and tenants have files of their own."""

from collections.abc import Collection
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api.pages.calls import CallError
from api.pages.fields import faults_in
from api.pages.page import CurrentPage, Page, PageRoute
from webhooks.identity.permissions import ACTIONS

router = APIRouter(include_in_schema=False, route_class=PageRoute)

TABS = (
    ("You", "/access", None),
    ("API keys", "/access/keys", "key:list"),
    ("Roles", "/access/roles", "role:list"),
    ("Tenants", "/access/tenants", "tenant:list"),
)
"""Name, path, and the permission without which it is not shown."""
_LIFETIMES = {"900": "15 minutes", "1800": "30 minutes", "3600": "1 hour"}


def tabs(page: Page) -> list[Any]:
    return [tab for tab in TABS if page.may(tab[2])]


def grouped(page: Page) -> dict[str, list[str]]:
    """Return the permissions that the page's person can give, by resource."""
    return by_resource(page.caller.permissions)


def by_resource(permissions: Collection[str]) -> dict[str, list[str]]:
    """Return the permissions by resource, in the order of ACTIONS."""
    named = {resource: [f"{resource}:{action}" for action in actions] for resource, actions in ACTIONS.items()}
    given = {resource: [name for name in names if name in permissions] for resource, names in named.items()}
    return {resource: names for resource, names in given.items() if names}


@router.get("/access")
async def show_access(page: CurrentPage) -> Response:
    return _you(page)


@router.post("/access")
async def create_token(page: CurrentPage) -> Response:
    """Make a token, and show it once."""
    form = await page.form()
    typed = {name: form.get(name).strip() for name in ("expires_in", "client_identifier", "kind")}
    chosen = form.all("permission")
    body: dict[str, Any] = {"expires_in": int(typed["expires_in"]) if typed["expires_in"].isdecimal() else 900}
    if typed["client_identifier"]:
        body["client_identifier"] = typed["client_identifier"]
    if typed["kind"] == "some":
        body["permissions"] = chosen
    try:
        token = await page.api.post("/v1/tokens", body)
    except CallError as error:
        return _you(page, typed=typed, chosen=chosen, error=error)
    return _you(page, typed=typed, chosen=chosen, token=token)


def _you(
    page: Page,
    *,
    typed: dict[str, str] | None = None,
    chosen: list[str] | None = None,
    token: Any = None,
    error: CallError | None = None,
) -> Response:
    settings = page.platform.settings
    return page.render(
        "access.html",
        error.status if error else 200,
        title="Access",
        tabs=tabs(page),
        groups=grouped(page),
        can_make_tokens=page.may("token:add") and page.caller.key_id is not None,
        lifetimes=_LIFETIMES,
        typed=typed or {"expires_in": "3600", "client_identifier": "", "kind": "all"},
        chosen=chosen or [],
        token=token,
        faults=faults_in(error, "expires_in", "client_identifier", "permissions") if error else {},
        api=f"{settings.public_url or str(page.request.base_url).rstrip('/')}/v1",
    )
