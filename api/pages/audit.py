"""Audit: who did what, when, from where, and what changed."""

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.responses import Response

from api.pages import spans
from api.pages.page import CurrentPage, PageRoute
from webhooks.identity.audit import ACTIONS

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_ROWS = 50
_FILTERS = ("actor", "action", "resource", "time", "since", "until")
_PLACES = {
    "event": "/events/",
    "webhook": "/webhooks/",
    "delivery": "/deliveries/",
    "occurrence": "/occurrences/",
    "tenant": "/access/tenants/",
}
"""Where the page of a resource is."""


@router.get("/audit")
async def show_audit(page: CurrentPage) -> Response:
    query = page.request.query_params
    chosen = {name: query.get(name, "").strip() for name in _FILTERS}
    asked: dict[str, Any] = {name: chosen[name] or None for name in ("actor", "action", "resource", "until")}
    asked["since"] = spans.begin(query)
    found = await page.api.get("/v1/audit", **asked, cursor=query.get("cursor") or None, limit=_ROWS)
    return page.render(
        "audit.html",
        title="Audit",
        entries=found["items"],
        next_cursor=found["next_cursor"],
        actions=ACTIONS,
        times=spans.NAMES,
        places=_PLACES,
        chosen=chosen,
        is_first="cursor" not in query,
        here=urlencode({name: value for name, value in chosen.items() if value}),
        export=urlencode({name: value for name, value in asked.items() if value} | {"format": "jsonl"}),
    )
