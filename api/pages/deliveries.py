"""One delivery: its retry chain, every attempt, what happens next, and what a person can do."""

import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api.pages.advice import advice
from api.pages.page import CurrentPage, PageRoute
from api.pages.retry_chain import NARROW, WIDE, chain
from api.pages.shown import segment, version_of

router = APIRouter(prefix="/deliveries", include_in_schema=False, route_class=PageRoute)

_SECRET = "********"  # noqa: S105  how the API masks one
_MAX_BODY_ARGUMENT = 100_000
"""Characters of a body in a command. Linux takes no argument of 128 KiB."""
_COMPUTED = ("content-length", "host", "accept-encoding", "connection", "user-agent", "accept")
"""Headers that curl writes itself."""


@router.get("/{id}")
async def show_delivery(id: str, page: CurrentPage) -> Response:
    delivery = await page.api.get(f"/v1/deliveries/{id}")
    version = version_of(delivery)
    if page.shows(version):
        return Response(status_code=HTTPStatus.NOT_MODIFIED)
    now = datetime.now(UTC)
    fields = {
        "title": f"{delivery['event']} {delivery['occurrence_id']}",
        "delivery": delivery,
        "chains": {"wide-only": chain(delivery, now, WIDE), "narrow-only": chain(delivery, now, NARROW)},
        "advice": advice(delivery),
        "webhook": await page.find("webhook:list", f"/v1/webhooks/{delivery['webhook_id']}"),
        "version": version,
        "is_open": delivery["closed_at"] is None,
        "curl": _curl(delivery, delivery["attempts"][-1]) if delivery["attempts"] else None,
        "took": _took(delivery),
    }
    if page.is_part:
        return page.render("delivery_part.html", **fields, occurrence=None)
    occurrence = await page.find("occurrence:read", f"/v1/occurrences/{delivery['occurrence_id']}")
    return page.render("delivery.html", **fields, occurrence=occurrence)


@router.post("/{id}/resend")
async def resend_delivery(id: str, page: CurrentPage) -> Response:
    form = await page.form()
    await page.api.post(f"/v1/deliveries/{id}/resend", {"force": bool(form.get("force"))})
    return page.go(f"/deliveries/{segment(id)}", said="resent")


@router.post("/{id}/cancel")
async def cancel_delivery(id: str, page: CurrentPage) -> Response:
    await page.api.post(f"/v1/deliveries/{id}/cancel")
    return page.go(f"/deliveries/{segment(id)}", said="cancelled")


def _took(delivery: Mapping[str, Any]) -> float | None:
    """Return the milliseconds from its acceptance to the end of the attempt that delivered it."""
    if delivery["status"] != "delivered" or not delivery["attempts"]:
        return None
    last = delivery["attempts"][-1]
    started = datetime.fromisoformat(last["started_at"]) - datetime.fromisoformat(delivery["created_at"])
    return max(started.total_seconds() * 1000, 0) + float(last["duration_ms"])


def _curl(delivery: Mapping[str, Any], attempt: Mapping[str, Any]) -> str:
    """Return a command that sends the attempt's request again. Secrets are placeholders: the API does not show them."""
    request = delivery["request"] or {}
    lines = [f"curl -X {request.get('method', 'POST')} {shlex.quote(attempt['url'])}"]
    headers = attempt.get("request_headers") or []
    if not headers and request.get("content_type"):
        headers = [{"name": "content-type", "value": request["content_type"]}]
    for header in headers:
        if header["name"].lower() not in _COMPUTED:
            value = "<SECRET>" if _SECRET in header["value"] else header["value"]
            lines.append(f"-H {shlex.quote(header['name'] + ': ' + value)}")
    body = request.get("body")
    if body and len(body) <= _MAX_BODY_ARGUMENT:
        lines.append(f"--data-raw {shlex.quote(body)}")  # unlike --data-binary, it reads no file for a body like @name
    elif body:
        lines.append("--data-binary @body")
    return " \\\n  ".join(lines)
