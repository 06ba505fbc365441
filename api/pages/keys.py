"""API keys: who has one, a new one, and the end of one."""

from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api.pages.access import grouped, tabs
from api.pages.calls import CallError
from api.pages.fields import faults_in
from api.pages.page import CurrentPage, Page, PageRoute
from webhooks.identity.permissions import ROLES
from webhooks.ids import uuid7

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_ROWS = 50
_DAYS = {"": "never", "1": "in 1 day", "7": "in 7 days", "30": "in 30 days", "90": "in 90 days", "365": "in 1 year"}
_FIELDS = ("name", "role", "permissions", "expires_at", "publish_rate")


@router.get("/access/keys")
async def show_keys(page: CurrentPage) -> Response:
    return await _keys(page)


@router.post("/access/keys")
async def create_key(page: CurrentPage) -> Response:
    """Make a key, and show it once. A form that is sent twice makes one key."""
    form = await page.form()
    typed = {name: form.get(name).strip() for name in ("name", "role", "days", "publish_rate", "once")}
    chosen = form.all("permission")
    body: dict[str, Any] = {"name": typed["name"]}
    if typed["role"]:
        body["role"] = typed["role"]
    else:
        body["permissions"] = chosen
    if typed["days"].isdecimal():
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)  # the same if the form is sent twice
        body["expires_at"] = (hour + timedelta(days=min(int(typed["days"]), 3650), hours=1)).isoformat()
    if typed["publish_rate"]:
        rate = typed["publish_rate"]
        body["publish_rate"] = int(rate) if rate.isdecimal() and len(rate) < 10 else rate
    try:
        key = await page.api.call("POST", "/v1/api-keys", body, idempotency_key=typed["once"] or uuid7())
    except CallError as error:
        return await _keys(page, typed=typed, chosen=chosen, error=error)
    return await _keys(page, key=key)


@router.post("/access/keys/{id}/revoke")
async def revoke_key(page: CurrentPage, id: str) -> Response:
    try:
        await page.api.call("DELETE", f"/v1/api-keys/{id}")
    except CallError as error:
        if error.status != 409:
            raise
        return await _keys(page, error=error)
    return page.go("/access/keys", said="revoked")


async def _keys(
    page: Page,
    *,
    typed: dict[str, str] | None = None,
    chosen: list[str] | None = None,
    key: Any = None,
    error: CallError | None = None,
) -> Response:
    cursor = page.request.query_params.get("cursor")
    found = await page.api.get("/v1/api-keys", cursor=cursor or None, limit=_ROWS)
    roles = [role["name"] for role in (await page.api.get("/v1/roles"))["items"]] if page.may("role:list") else ROLES
    return page.render(
        "keys.html",
        error.status if error else 200,
        title="API keys",
        tabs=tabs(page),
        keys=found["items"],
        next_cursor=found["next_cursor"],
        is_first=not cursor,
        roles=list(roles),
        days=_DAYS,
        groups=grouped(page),
        typed=(typed or {"name": "", "role": "viewer", "days": "90", "publish_rate": ""}) | {"once": uuid7()},
        chosen=chosen or [],
        key=key,
        faults=faults_in(error, *_FIELDS) if error else {},
        now=datetime.now(UTC).isoformat(),
    )
