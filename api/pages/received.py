"""Received: webhooks of other systems, newest first, and what became of each."""

from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.responses import Response

from api.pages import spans
from api.pages.occurrences import missed_by
from api.pages.page import CurrentPage, PageRoute
from webhooks.inbound.not_stored import STORED, Verdict

router = APIRouter(prefix="/received", include_in_schema=False, route_class=PageRoute)

_FILTERS = ("source", "verdict", "time")


@router.get("")
async def list_received(page: CurrentPage) -> Response:
    query = page.request.query_params
    found = await page.api.get(
        "/v1/received",
        source=query.getlist("source") or None,
        verdict=query.getlist("verdict") or None,
        since=spans.begin(query),
        cursor=query.get("cursor") or None,
    )
    sources = await page.api.all("/v1/sources") if page.may("source:list") else []
    fields = {
        "requests": found["items"],
        "names": {source["id"]: source["name"] for source in sources},
    }
    if page.is_part:
        return page.render_rows("received_rows.html", **fields)
    here = urlencode([(name, value) for name, value in query.multi_items() if name in _FILTERS])
    return page.render(
        "received.html",
        **fields,
        title="Received",
        next_cursor=found["next_cursor"],
        several_processes=page.platform.settings.processes > 1,
        verdicts={verdict.value: "" for verdict in Verdict},
        times=spans.NAMES,
        chosen={name: query.getlist(name) for name in _FILTERS},
        is_first="cursor" not in query,
        here=here,
    )


@router.get("/{id}")
async def show_received(id: str, page: CurrentPage) -> Response:
    request = await page.api.get(f"/v1/received/{id}")
    return page.render(
        "received_one.html",
        title="A received webhook",
        request=request,
        not_kept=request["verdict"] not in STORED,
        source=await page.find("source:list", f"/v1/sources/{request['source_id']}"),
        missed=await missed_by(page, request) if request["occurrence_id"] else [],
    )
