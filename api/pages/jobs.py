"""Jobs: what is done to many deliveries. One is counted before a person confirms it."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.datastructures import QueryParams
from starlette.responses import Response

from api.pages import spans
from api.pages.calls import CallError
from api.pages.page import CurrentPage, Page, PageRoute
from api.pages.sent import searched_field, webhook_names
from webhooks.ids import uuid7

router = APIRouter(prefix="/jobs", include_in_schema=False, route_class=PageRoute)

_LISTS = ("webhook_id", "event", "occurrence_id", "client_identifier", "status", "outcome")
_TIMES = ("since", "until", "last_attempt_since")
_KINDS = {
    "resend": ("Resend what failed", "delivery:resend", "/v1/deliveries/resend"),
    "cancel": ("Give up what waits", "delivery:cancel", "/v1/deliveries/cancel"),
    "replay": ("Send what was missed", "delivery:resend", None),
}
"""Title, permission, and the call that starts it. A replay's call names its webhook."""
Chosen = dict[str, Any]
"""The fields of a job's filter."""


@router.get("")
async def list_jobs(page: CurrentPage) -> Response:
    found = await page.api.get("/v1/jobs", cursor=page.request.query_params.get("cursor") or None)
    names = await _names(page, *(job["filter"] for job in found["items"]))
    return page.render("jobs.html", title="Jobs", jobs=found["items"], names=names, next_cursor=found["next_cursor"])


@router.get("/new")
async def show_new(page: CurrentPage) -> Response:
    """Count what the job would do, and ask."""
    kind, chosen = _kind(page.request.query_params), _chosen(page.request.query_params)
    title, permission, _ = _KINDS[kind]
    page.require(permission)
    if text := page.request.query_params.get("q", "").strip():
        chosen[await searched_field(page, text, **chosen)] = [text]
    count = fault = None
    try:
        count = (await _start(page, kind, chosen, dry_run=True))["dry_run"]
    except CallError as error:
        fault = "; ".join(dict.fromkeys([error.detail, *error.errors.values()]))
    return page.render(
        "job_new.html",
        title=title,
        kind=kind,
        count=count,
        fault=fault,
        chosen=chosen,
        names=await _names(page, chosen),
        once=uuid7(),
    )


@router.post("/new")
async def start_job(page: CurrentPage) -> Response:
    """Start a job. A form that is sent twice starts one."""
    form = await page.form()
    given = QueryParams([(name, value) for name in ("kind", *_LISTS, *_TIMES) for value in form.all(name)])
    started = await _start(page, _kind(given), _chosen(given), dry_run=False, once=form.get("once") or uuid7())
    return page.go(f"/jobs/{started['job']['id']}")


@router.get("/{id}")
async def show_job(id: str, page: CurrentPage) -> Response:
    job = await page.api.get(f"/v1/jobs/{id}")
    template = "job_part.html" if page.is_part else "job.html"
    return page.render(template, title=f"Job: {job['kind']}", job=job, names=await _names(page, job["filter"]))


@router.post("/{id}/{action}")
async def change_job(id: str, action: str, page: CurrentPage) -> Response:
    """Pause, resume or stop a job. Raises CallError 404 for another action."""
    await page.api.post(f"/v1/jobs/{id}/{action}")
    return page.go(f"/jobs/{id}")


def _kind(query: QueryParams) -> str:
    kind = query.get("kind", "")
    return kind if kind in _KINDS else "resend"


def _chosen(query: QueryParams) -> Chosen:
    """Return what a URL or a form chooses. A span of time is fixed to when it began."""
    lists = {name: [value for value in query.getlist(name) if value] for name in _LISTS}
    times = {name: query.get(name) for name in _TIMES} | {"since": spans.begin(query)}
    return {name: value for name, value in {**lists, **times}.items() if value}


async def _start(page: Page, kind: str, chosen: Chosen, *, dry_run: bool, once: str | None = None) -> Any:
    headers: dict[str, Any] = {"idempotency_key": once} if once else {}
    path = _KINDS[kind][2]
    body: dict[str, Any] = {"filter": chosen, "dry_run": dry_run}
    if path is None:
        path = f"/v1/webhooks/{(chosen.get('webhook_id') or [''])[0]}/replay"
        missed = ("since", "until", "occurrence_id")
        body = {**{name: value for name, value in chosen.items() if name in missed}, "dry_run": dry_run}
    return await page.api.call("POST", path, body, **headers)


async def _names(page: Page, *filters: Mapping[str, Any]) -> dict[str, str]:
    """Return the names of the webhooks that are chosen, by id."""
    return await webhook_names(page, [{"webhook_id": id} for one in filters for id in one.get("webhook_id", ())])
