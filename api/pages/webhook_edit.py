"""The forms that create and change a webhook."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api.pages import webhook_faults, webhook_form
from api.pages.calls import CallError
from api.pages.page import CurrentPage, Page, PageRoute

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_MOST_EVENTS = 1_000
_CHANGED = (
    "Somebody else, or the platform, has changed this webhook since you opened it. Nothing was saved. Below is what "
    "you typed: save again to overwrite the other change."
)


@router.get("/webhooks/new")
async def show_new(page: CurrentPage) -> Response:
    page.require("webhook:add")
    fields = webhook_form.new()
    fields["events"] = page.request.query_params.getlist("event")
    return await _form(page, fields)


@router.post("/webhooks/new")
async def create(page: CurrentPage) -> Response:
    """Create the webhook, and show its secret: no later answer does."""
    fields = webhook_form.typed(await page.form())
    body, faults = webhook_form.document(fields, None)
    if faults:
        return await _form(page, fields, faults=faults)
    try:
        created = await page.api.post("/v1/webhooks", body)
    except CallError as error:
        return await _refused(page, fields, error)
    return page.render("webhook_secret.html", title="Webhook created", webhook=created, secret=created, is_new=True)


@router.get("/webhooks/{id}/edit")
async def show_edit(page: CurrentPage, id: str) -> Response:
    page.require("webhook:edit")
    webhook, tag = await page.api.get_tagged(f"/v1/webhooks/{id}")
    return await _form(page, webhook_form.of(webhook), webhook=webhook, tag=tag)


@router.post("/webhooks/{id}/edit")
async def change(page: CurrentPage, id: str) -> Response:
    form = await page.form()
    webhook, tag = await page.api.get_tagged(f"/v1/webhooks/{id}")
    fields = webhook_form.typed(form)
    body, faults = webhook_form.document(fields, webhook)
    if faults:
        return await _form(page, fields, faults=faults, webhook=webhook, tag=form.get("tag"))
    try:
        await page.api.call("PATCH", f"/v1/webhooks/{id}", body, if_match=form.get("tag"))
    except CallError as error:
        return await _refused(page, fields, error, webhook=webhook, tag=form.get("tag"), newest=tag)
    return page.go(f"/webhooks/{id}", said="saved")


async def _refused(
    page: Page, fields: webhook_form.Fields, error: CallError, *, newest: str = "", **shown: Any
) -> Response:
    """Show the form again, with what was typed and what is wrong with it."""
    if error.status in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND):
        raise error
    if error.status == HTTPStatus.PRECONDITION_FAILED:
        return await _form(page, fields, faults={"": _CHANGED}, **shown | {"tag": newest})
    faults = webhook_faults.by_field(error, fields)
    return await _form(page, fields, faults=faults, **shown)


async def _form(
    page: Page,
    fields: webhook_form.Fields,
    *,
    faults: webhook_form.Faults | None = None,
    webhook: dict[str, Any] | None = None,
    tag: str = "",
) -> Response:
    return page.render(
        "webhook_form.html",
        HTTPStatus.UNPROCESSABLE_ENTITY if faults else HTTPStatus.OK,
        title="Edit webhook" if webhook else "New webhook",
        fields=fields,
        faults=faults or {},
        opened=webhook_form.opened(fields, faults or {}) | {page.request.query_params.get("section")},
        webhook=webhook,
        tag=tag,
        events=await _events(page, fields["events"]),
        **webhook_form.CHOICES,
    )


async def _events(page: Page, chosen: list[str]) -> list[str]:
    """Return the events that can be chosen, and those that are."""
    listed = await page.api.all("/v1/events", most=_MOST_EVENTS) if page.may("event:list") else []
    found = [event["key"] for event in listed if event["active"]]
    return [*found, *(key for key in chosen if key not in found)]
