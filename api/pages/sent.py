"""Sent: the deliveries, newest first. What is filtered is in the URL."""

import asyncio
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.datastructures import QueryParams
from starlette.responses import Response

from api.pages import choices, spans, start
from api.pages.calls import CallError
from api.pages.page import CurrentPage, Page, PageRoute
from api.pages.shown import label
from webhooks.deliveries.status import DeliveryStatus
from webhooks.ids import is_delivery_id

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_ROWS = 50
_MOST_RESENT, _RESENT_TOGETHER = 200, 8
_MOST_NAMES = 100
_USUAL, _LONGEST = "24h", "30d"
"""Of which time the figures are if none is chosen: of everything, and of what is searched."""
_COUNTED = {
    "delivered": (DeliveryStatus.DELIVERED,),
    "failed": (DeliveryStatus.FAILED, DeliveryStatus.EXPIRED, DeliveryStatus.CANCELED),
    "waiting": (DeliveryStatus.PENDING, DeliveryStatus.RETRYING),
}
"""The statuses that each figure counts."""
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
    chosen = {name: choices.given(query.getlist(name)) or [] for name in _FILTERS}
    return page.render(
        "sent.html",
        **fields,
        title="Sent",
        webhooks=await choices.webhooks(page, chosen["webhook_id"]),
        events=await choices.events(page, chosen["event"]),
        statuses={status.value: "" for status in DeliveryStatus},
        times=spans.NAMES,
        chosen=chosen,
        is_filtered=any(query.get(name) for name in _FILTERS),
        is_first="cursor" not in query,
        resent=_number(query.get("resent", "")),
        elsewhere=urlencode(
            [(name, value) for name, value in query.multi_items() if name in _FILTERS and name != "status"]
        ),
        can_start=all(map(page.may, start.STEPS)),
        here=here,
    )


@router.get("/sent/figures")
async def show_figures(page: CurrentPage) -> Response:
    """Return the figures above the list, of the same filters, and the number beside Sent in the navigation: one answer,
    so that they never are of different times. The page asks for them after it is shown."""
    query = page.request.query_params
    asked: dict[str, Any] = {
        name: choices.given(query.getlist(name)) for name in ("webhook_id", "event", "client_identifier")
    }
    searched = query.get("q", "").strip()
    if searched:
        asked[await searched_field(page, searched, **asked)] = searched
    times = _times(query, _LONGEST if searched else _USUAL)
    figures, number = await asyncio.gather(page.api.get("/v1/statistics", **asked, **times), _failed_count(page))
    others = [(name, value) for name, value in query.multi_items() if name not in ("status", "time")]
    others += [("time", times["window"])] if "window" in times else []
    return page.render(
        "sent_figures.html",
        figures=figures,
        number=number,
        here=urlencode(query.multi_items()),
        window=times.get("window"),
        any_status="status" in query,
        links={
            name: f"/sent?{urlencode([*others, *(('status', status) for status in statuses)])}"
            for name, statuses in _COUNTED.items()
        },
    )


def _times(query: QueryParams, otherwise: str) -> dict[str, str]:
    """Return the times that the figures are of: those of the list, or a window if it shows deliveries of all times."""
    if (span := query.get("time")) in spans.NAMES:
        return {"window": str(span)}
    given = {name: query[name] for name in ("since", "until") if query.get(name)}
    return given or {"window": otherwise}


@router.get("/sent/failed-count")
async def show_failed_count(page: CurrentPage) -> Response:
    """Return the number beside Sent in the navigation, which every page asks for after it is shown."""
    return page.render("failed_count.html", number=await _failed_count(page), refreshes=True)


async def _failed_count(page: Page) -> Any:
    return (await page.api.get("/v1/statistics/awaiting-resend"))["awaiting_resend"]


@router.post("/sent/resend")
async def resend(page: CurrentPage) -> Response:
    """Resend the chosen deliveries, and say what became of each."""
    form = await page.form()
    gate = asyncio.Semaphore(_RESENT_TOGETHER)

    async def resend_one(id: str) -> tuple[str, str | None]:
        async with gate:
            try:
                await page.api.post(f"/v1/deliveries/{id}/resend")
            except CallError as error:
                return id, error.detail
            return id, None

    results = await asyncio.gather(*map(resend_one, form.all("id")[:_MOST_RESENT]))
    if all(fault is None for _, fault in results):
        here = form.get("here")
        return page.go(f"/sent?{here}{'&' if here else ''}{urlencode({'resent': len(results)})}")
    return page.render("resent.html", title="Resend", results=results, here=form.get("here"))


def _number(text: str) -> int | None:
    """Return how many deliveries were resent, as the URL says; None if it says nothing that can be."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 4 and int(text) else None


async def _found(page: Page, query: QueryParams) -> Any:
    """Return the page of the API's list that the query of the URL asks for."""
    asked: dict[str, Any] = {
        **{name: choices.given(query.getlist(name)) for name in ("status", "event", "webhook_id", "client_identifier")},
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


async def webhook_names(page: Page, deliveries: list[dict[str, Any]]) -> dict[str, str]:
    """Return how the deliveries' webhooks are called, by id."""
    if not page.may("webhook:list"):
        return {}
    ids = sorted({item["webhook_id"] for item in deliveries})
    names: dict[str, str] = {}
    for first in range(0, len(ids), _MOST_NAMES):
        found = await page.api.get("/v1/webhooks/names", webhook_id=ids[first : first + _MOST_NAMES])
        names |= {item["id"]: label(item) for item in found["items"]}
    return names
