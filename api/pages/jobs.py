"""Jobs: what is done to many deliveries. One is counted before a person confirms it."""

from typing import Any

from fastapi import APIRouter
from starlette.datastructures import QueryParams
from starlette.responses import Response

from api.pages import spans
from api.pages.calls import CallError
from api.pages.page import CurrentPage, Page, PageRoute

router = APIRouter(prefix="/jobs", include_in_schema=False, route_class=PageRoute)

_LISTS = ("webhook_id", "event", "occurrence_id", "client_identifier", "status", "outcome")
_TIMES = ("time", "since", "until")
_KINDS = {
    "resend": ("Resend all that failed", "delivery:resend", "/v1/deliveries/resend"),
    "cancel": ("Give up all that waits", "delivery:cancel", "/v1/deliveries/cancel"),
    "replay": ("Send what the webhook missed", "delivery:resend", None),
}
"""Title, permission, and the call that starts it. A replay's call names its webhook."""


@router.get("")
async def list_jobs(page: CurrentPage) -> Response:
    found = await page.api.get("/v1/jobs", cursor=page.request.query_params.get("cursor") or None)
    return page.render("jobs.html", title="Jobs", jobs=found["items"], next_cursor=found["next_cursor"])


@router.get("/new")
async def show_new(page: CurrentPage) -> Response:
    """Count what the job would do, and ask."""
    query = page.request.query_params
    kind = query.get("kind") if query.get("kind") in _KINDS else "resend"
    title, permission, _ = _KINDS[str(kind)]
    page.require(permission)
    count = fault = None
    try:
        count = (await _start(page, str(kind), query, dry_run=True))["dry_run"]
    except CallError as error:
        fault = "; ".join(dict.fromkeys([error.detail, *error.errors.values()]))
    return page.render(
        "job_new.html", title=title, kind=kind, count=count, fault=fault, given=[*query.multi_items()], query_text=query
    )


@router.post("/new")
async def start_job(page: CurrentPage) -> Response:
    form = await page.form()
    given = QueryParams([(name, value) for name in (*_LISTS, *_TIMES) for value in form.all(name)])
    kind = form.get("kind") if form.get("kind") in _KINDS else "resend"
    started = await _start(page, kind, given, dry_run=False)
    return page.go(f"/jobs/{started['job']['id']}")


@router.get("/{id}")
async def show_job(id: str, page: CurrentPage) -> Response:
    job = await page.api.get(f"/v1/jobs/{id}")
    template = "job_part.html" if page.is_part else "job.html"
    return page.render(template, title=f"Job: {job['kind']}", job=job)


@router.post("/{id}/{action}")
async def change_job(id: str, action: str, page: CurrentPage) -> Response:
    """Pause, resume or stop a job. Raises CallError 404 for another action."""
    await page.api.post(f"/v1/jobs/{id}/{action}")
    return page.go(f"/jobs/{id}")


async def _start(page: Page, kind: str, given: QueryParams, *, dry_run: bool) -> Any:
    since = spans.begin(given)
    until = given.get("until") or None
    if kind == "replay":
        missed = {"since": since, "until": until, "dry_run": dry_run}
        return await page.api.post(f"/v1/webhooks/{given.get('webhook_id', '')}/replay", missed)
    filter: dict[str, Any] = {name: given.getlist(name) for name in _LISTS if given.getlist(name)}
    if given.get("q"):
        filter["occurrence_id"] = [given["q"]]
    body = {"filter": {**filter, "since": since, "until": until}, "dry_run": dry_run}
    return await page.api.post(str(_KINDS[kind][2]), body)
