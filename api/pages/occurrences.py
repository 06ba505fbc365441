"""Occurrences: what was published, which webhooks got it or why none did, and publishing one by hand."""

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.responses import Response

from api.pages import choices, spans
from api.pages.calls import CallError
from api.pages.fields import faults_in, with_json
from api.pages.page import CurrentPage, Page, PageRoute
from api.pages.sent import webhook_names
from api.pages.shown import document
from webhooks.ids import uuid7

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_ROWS = 50
_MATCHED = {"yes": "true", "no": "false"}
_FILTERS = ("q", "event", "client_identifier", "matched", "time", "since", "until")
_FIELDS = ("id", "event", "client_identifier", "owner_id", "user_id", "occurred_at", "data")


@router.get("/occurrences")
async def show_occurrences(page: CurrentPage) -> Response:
    query = page.request.query_params
    chosen = {name: [value.strip() for value in query.getlist(name) if value.strip()] for name in _FILTERS}
    found = await page.api.get(
        "/v1/occurrences",
        id=chosen["q"] or None,
        event=chosen["event"] or None,
        client_identifier=chosen["client_identifier"] or None,
        matched=_MATCHED.get(query.get("matched", "")),
        since=spans.begin(query),
        until=query.get("until") or None,
        cursor=query.get("cursor") or None,
        limit=_ROWS,
    )
    return page.render(
        "occurrences.html",
        title="Occurrences",
        occurrences=found["items"],
        next_cursor=found["next_cursor"],
        names=await _names(page, *found["items"]),
        events=await choices.events(page, chosen["event"]),
        times=spans.NAMES,
        chosen=chosen,
        is_first="cursor" not in query,
        here=urlencode(chosen, doseq=True),
    )


@router.get("/occurrences/new")
async def show_new_occurrence(page: CurrentPage) -> Response:
    """Show the form for the chosen event, with its sample."""
    page.require("occurrence:publish")
    typed = dict.fromkeys(_FIELDS, "") | {"bulk": False, "id": uuid7(), "event": page.request.query_params.get("event")}
    return await _new_form(page, typed)


@router.post("/occurrences/new")
async def publish_occurrence(page: CurrentPage) -> Response:
    form = await page.form()
    typed: dict[str, Any] = {name: form.get(name).strip() for name in _FIELDS} | {"bulk": "bulk" in form}
    given = {name: typed[name] for name in _FIELDS if name != "data" and typed[name]}
    try:
        body = with_json(given | {"bulk": typed["bulk"]}, data=typed["data"])
        published = await page.api.post("/v1/occurrences", body)
    except CallError as error:
        return await _new_form(page, typed, error)
    return page.render(
        "published.html", title="Published", published=published, names=await _names(page, published), typed=typed
    )


@router.get("/occurrences/{id}")
async def show_occurrence(page: CurrentPage, id: str) -> Response:
    """Show an occurrence: with its data to whoever may read it."""
    if page.may("occurrence:read"):
        occurrence = await page.api.get(f"/v1/occurrences/{id}")
    else:
        found = (await page.api.get("/v1/occurrences", id=id, limit=1))["items"]
        if not found:
            raise CallError(404, {"detail": "no such occurrence"})
        occurrence = found[0]
    return page.render(
        "occurrence.html",
        title=id,
        occurrence=occurrence,
        names=await _names(page, occurrence),
        missed=await missed_by(page, occurrence),
    )


@router.post("/occurrences/{id}/erase")
async def erase_occurrence(page: CurrentPage, id: str) -> Response:
    await page.api.call("DELETE", f"/v1/occurrences/{id}")
    return page.go("/occurrences", said="erased")


async def _new_form(page: Page, typed: dict[str, Any], error: CallError | None = None) -> Response:
    events = [event for event in await _events(page) if event["active"] and not event["operational"]]
    if not typed["event"] and events:
        typed["event"] = events[0]["key"]
    chosen = next((event for event in events if event["key"] == typed["event"]), None)
    if error is None and chosen:
        typed["data"] = document(chosen["sample"]) or "{}"
    return page.render(
        "occurrence_new.html",
        error.status if error else 200,
        title="Publish",
        events=[event["key"] for event in events],
        chosen=chosen,
        typed=typed,
        faults=faults_in(error, *_FIELDS) if error else {},
    )


async def _events(page: Page) -> list[Any]:
    return await page.api.all("/v1/events") if page.may("event:list") else []


async def missed_by(page: Page, occurrence: Any) -> list[Any]:
    """Return the webhooks that have the event and no delivery of an occurrence, if the person may send it to them. None
    if so many got it that the occurrence does not name them."""
    got = {delivery["webhook_id"] for delivery in occurrence["deliveries"]}
    may = all(map(page.may, ("webhook:list", "delivery:resend", "job:list")))
    if occurrence["matched"] > len(got) or not may:
        return []
    event = occurrence["event"]
    subscribed = (await page.api.get("/v1/webhooks", event=event, active="true", limit=100))["items"]
    return [webhook for webhook in subscribed if webhook["id"] not in got]


async def _names(page: Page, *occurrences: Any) -> dict[str, str]:
    """Return the names of the webhooks that the occurrences went to, by id."""
    return await webhook_names(page, [delivery for of in occurrences for delivery in of["deliveries"]])
