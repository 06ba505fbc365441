"""Sent: the deliveries, newest first. What is filtered is in the URL."""

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.datastructures import QueryParams
from starlette.responses import Response

from api.pages import spans, start
from api.pages.calls import CallError
from api.pages.page import CurrentPage, Page, PageRoute
from webhooks.deliveries.status import DeliveryStatus
from webhooks.ids import is_delivery_id
from webhooks.store import webhooks as stored_webhooks

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_ROWS = 50
_MOST_RESENT = 200
_MOST_CHOICES = 100
_FILTERS = ("status", "event", "webhook_id", "client_identifier", "time", "since", "until", "q")


@router.get("/sent")
async def show_sent(page: CurrentPage) -> Response:
    query = page.request.query_params
    if is_delivery_id(query.get("q", "").strip()):
        return page.go(f"/deliveries/{query['q'].strip()}")
    found = await _found(page, query)
    fields = {
        "deliveries": found["items"],
        "next_cursor": found["next_cursor"],
        "names": await webhook_names(page, found["items"]),
    }
    here = urlencode([(name, value) for name, value in query.multi_items() if name in _FILTERS])
    if page.is_part:
        return page.render_rows("sent_rows.html", **fields)
    webhooks = await _choices(page, "/v1/webhooks", "webhook:list")
    return page.render(
        "sent.html",
        **fields,
        title="Sent",
        webhooks={webhook["id"]: webhook["name"] for webhook in webhooks},
        events={event["key"]: "" for event in await _choices(page, "/v1/events", "event:list")},
        statuses={status.value: "" for status in DeliveryStatus},
        times=spans.NAMES,
        chosen={name: query.getlist(name) for name in _FILTERS},
        is_filtered=any(query.get(name) for name in _FILTERS),
        is_first="cursor" not in query,
        can_start=all(map(page.may, start.STEPS)),
        here=here,
    )


@router.get("/sent/figures")
async def show_figures(page: CurrentPage) -> Response:
    """Return the figures above the list, of the same filters. The page asks for them after it is shown."""
    query = page.request.query_params
    span = query.get("time", "")
    asked = {name: query.getlist(name) or None for name in ("webhook_id", "event", "client_identifier")}
    figures = await page.api.get("/v1/statistics", **asked, window=span if span in spans.NAMES else "24h")
    return page.render("sent_figures.html", figures=figures, here=urlencode(query.multi_items(), doseq=True), span=span)


@router.post("/sent/resend")
async def resend(page: CurrentPage) -> Response:
    """Resend the chosen deliveries, and say what became of each."""
    form = await page.form()
    results: list[tuple[str, str | None]] = []
    for id in form.all("id")[:_MOST_RESENT]:
        try:
            await page.api.post(f"/v1/deliveries/{id}/resend")
            results.append((id, None))
        except CallError as error:
            results.append((id, error.detail))
    if all(fault is None for _, fault in results):
        return page.go(f"/sent?{form.get('here')}", said="resent")
    return page.render("resent.html", title="Resend", results=results, here=form.get("here"))


async def _found(page: Page, query: QueryParams) -> Any:
    """Return the page of the API's list that the query of the URL asks for."""
    asked: dict[str, Any] = {
        "status": query.getlist("status") or None,
        "event": query.getlist("event") or None,
        "webhook_id": query.getlist("webhook_id") or None,
        "client_identifier": query.getlist("client_identifier") or None,
        "since": spans.begin(query),
        "until": query.get("until") or None,
        "cursor": query.get("cursor") or None,
        "limit": _ROWS,
    }
    if searched := query.get("q", "").strip():
        asked[await searched_field(page, searched, **asked)] = searched
    return await page.api.get("/v1/deliveries", **asked)


async def searched_field(page: Page, text: str, **asked: Any) -> str:
    """Return which field of a delivery the text of a search is: that of its occurrence's id, or that of its client."""
    if asked.get("client_identifier"):
        return "occurrence_id"
    found = await page.api.get("/v1/deliveries", occurrence_id=text, limit=1)
    return "occurrence_id" if found["items"] else "client_identifier"


async def _choices(page: Page, path: str, permission: str) -> list[Any]:
    """Return what can be chosen in a filter."""
    return await page.api.all(path, most=_MOST_CHOICES) if page.may(permission) else []


async def webhook_names(page: Page, deliveries: list[dict[str, Any]]) -> dict[str, str]:
    """Return the names of the deliveries' webhooks, by id."""
    if not deliveries or not page.may("webhook:list"):
        return {}
    async with page.platform.database.read() as session:
        return await stored_webhooks.names(session, page.caller.tenant, {item["webhook_id"] for item in deliveries})
