"""Webhooks: their list, each one's page, and the actions on it."""

import re
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.responses import Response

from api.pages import choices, spans
from api.pages.calls import CallError
from api.pages.page import CurrentPage, Page, PageRoute
from api.pages.shown import label
from webhooks import outcomes
from webhooks.deliveries.status import DeliveryStatus

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_FILTERS = ("url", "event", "client_identifier", "active")
_ACTIVE = {"true": "active", "false": "disabled"}
_REQUESTS = 20
_LOOKED_AT = 50
"""Unfinished deliveries that are looked at for answers of 401. Lists keep what they have read for seconds."""
_REFUSED = f"http_{outcomes.UNAUTHORIZED}"
_A_MINUTE = timedelta(minutes=1)
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,15}Z")
_OVERLAPS = {"86400": "24 h", "604800": "7 days", "3600": "1 h", "0": "none: the old secret ends now"}


@router.get("/webhooks")
async def show_webhooks(page: CurrentPage) -> Response:
    query = page.request.query_params
    chosen = {name: choices.given(query.getlist(name)) or [] for name in _FILTERS}
    found = await page.api.get("/v1/webhooks", **chosen, limit=50, cursor=query.get("cursor"))
    return page.render(
        "webhooks.html",
        title="Webhooks",
        webhooks=found["items"],
        next_cursor=found["next_cursor"],
        events=await choices.events(page, chosen["event"]),
        states=_ACTIVE,
        chosen=chosen,
        here=urlencode(chosen, doseq=True),
    )


@router.get("/webhooks/health")
async def show_healths(page: CurrentPage) -> Response:
    """Return the cells of the list that tell the webhooks' health. The list asks for them after it is shown."""
    ids = page.request.query_params.getlist("webhook_id")
    healths = (await page.api.get("/v1/webhooks/health", webhook_id=ids))["items"] if ids else []
    return page.render("webhooks_health.html", healths=healths)


@router.get("/webhooks/{id}")
async def show_webhook(page: CurrentPage, id: str) -> Response:
    return await _webhook(page, id)


@router.get("/webhooks/{id}/health")
async def show_health(page: CurrentPage, id: str) -> Response:
    """Return the figures and the recent requests of a webhook's page, which asks for them after it is shown."""
    health = await page.api.get(f"/v1/webhooks/{id}/health")
    requests = []
    if page.may("delivery:list"):
        requests = (await page.api.get(f"/v1/webhooks/{id}/requests", limit=_REQUESTS))["items"][:_REQUESTS]
    return page.render("webhook_health.html", health=health, requests=requests)


@router.get("/webhooks/{id}/again")
async def show_again(page: CurrentPage, id: str) -> Response:
    """Return what can be sent to a webhook again, counted. Its page asks for it after it is shown."""
    webhook = await page.api.get(f"/v1/webhooks/{id}")
    given = page.request.query_params.get("failed_since", "")
    failing = _outage(webhook) or (given if _MOMENT.fullmatch(given) else None)
    failed: list[tuple[str, Any]] = []
    for since in (failing, spans.since("24h")):
        if since:
            chosen = {"filter": {"webhook_id": [id], "last_attempt_since": since}, "dry_run": True}
            count = (await page.api.post("/v1/deliveries/resend", chosen))["dry_run"]
            if all(count["count"] != other["count"] for _, other in failed):
                failed.append((since, count))
    return page.render("webhook_again.html", webhook=webhook, failed=failed, is_failing=failing is not None)


def _outage(webhook: dict[str, Any]) -> str | None:
    """Return since when a webhook is failing, with a minute for the attempt that failed first: it began before."""
    since = webhook["failing_since"]
    if since is None:
        return None
    return (datetime.fromisoformat(since) - _A_MINUTE).isoformat().replace("+00:00", "Z")


@router.get("/webhooks/{id}/traffic")
async def show_traffic(page: CurrentPage, id: str) -> Response:
    """Return the part of a webhook's page that asks Temporal, loaded after it."""
    traffic = await page.api.get(f"/v1/webhooks/{id}/traffic")
    refused = await _refused(page, id, traffic["unfinished"])
    return page.render("webhook_traffic.html", id=id, traffic=traffic, refused=refused)


async def _refused(page: Page, id: str, unfinished: int | None) -> dict[str, Any]:
    """Return how many (`count`) of a webhook's deliveries are retried after 401; None if that is unknown. Of many
    unfinished deliveries it counts only among the newest (`of`): what the last answer was, only histories tell."""
    if not unfinished or not page.may("delivery:list"):
        return {"count": unfinished, "of": None}
    asked = {"webhook_id": id, "status": [DeliveryStatus.PENDING.value, DeliveryStatus.RETRYING.value]}
    try:
        found = await page.api.get("/v1/deliveries", **asked, limit=_LOOKED_AT)
    except CallError:
        return {"count": None, "of": None}
    count = sum(delivery["last_outcome"] == _REFUSED for delivery in found["items"])
    return {"count": count, "of": len(found["items"]) if found["next_cursor"] else None}


@router.post("/webhooks/{id}/test")
async def test(page: CurrentPage, id: str) -> Response:
    """Send the test, and show each request with its answer."""
    event = (await page.form()).get("event")
    fields: dict[str, Any] = {"tests": [], "fault": None}
    try:
        fields["tests"] = (await page.api.post(f"/v1/webhooks/{id}/test", {"event": event} if event else {}))["items"]
    except CallError as error:
        fields["fault"] = error.detail
    if page.is_part:
        return page.render("webhook_test.html", **fields)
    return await _webhook(page, id, **fields)


@router.post("/webhooks/{id}/active")
async def set_active(page: CurrentPage, id: str) -> Response:
    """Disable a webhook or make it active. What failed before can then be resent: the page says since when."""
    is_active = (await page.form()).get("active") == "true"
    outage = _outage(await page.api.get(f"/v1/webhooks/{id}"))
    await page.api.call("PATCH", f"/v1/webhooks/{id}", {"active": is_active})
    since = f"?{urlencode({'failed_since': outage})}" if outage and is_active else ""
    return page.go(f"/webhooks/{id}{since}", said="enabled" if is_active else "disabled")


@router.get("/webhooks/{id}/rotate-secret")
async def show_rotate(page: CurrentPage, id: str) -> Response:
    page.require("webhook:edit")
    return await _rotate(page, id)


@router.post("/webhooks/{id}/rotate-secret")
async def rotate(page: CurrentPage, id: str) -> Response:
    """Make a new secret, and show it: no later answer does."""
    form = await page.form()
    overlap = form.get("overlap")
    body: dict[str, Any] = {"overlap": int(overlap)} if overlap in _OVERLAPS else {}
    if own := form.get("signing_secret").strip():
        body["signing_secret"] = own
    try:
        secret = await page.api.post(f"/v1/webhooks/{id}/rotate-secret", body)
    except CallError as error:
        if error.status in (403, 404):
            raise
        return await _rotate(page, id, fault=error.errors.get("/signing_secret"), problem=error.detail, chosen=overlap)
    webhook = await page.api.get(f"/v1/webhooks/{id}")
    return page.render("webhook_secret.html", title="Secret rotated", webhook=webhook, secret=secret, is_new=False)


@router.post("/webhooks/{id}/delete")
async def delete(page: CurrentPage, id: str) -> Response:
    await page.api.call("DELETE", f"/v1/webhooks/{id}")
    return page.go("/webhooks", said="deleted")


async def _webhook(page: Page, id: str, **fields: Any) -> Response:
    webhook = await page.api.get(f"/v1/webhooks/{id}")
    return page.render(
        "webhook.html",
        title=label(webhook),
        webhook=webhook,
        **{"tests": None, "fault": None} | fields,
    )


async def _rotate(
    page: Page, id: str, *, fault: str | None = None, problem: str | None = None, chosen: str = "86400"
) -> Response:
    return page.render(
        "webhook_rotate.html",
        422 if problem else 200,
        title="Rotate secret",
        webhook=await page.api.get(f"/v1/webhooks/{id}"),
        overlaps=_OVERLAPS,
        chosen=chosen,
        fault=fault,
        problem=None if fault else problem,
    )
