"""The FastAPI application."""

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.responses import RedirectResponse
from starlette.types import Scope

from api import openapi, sign_in
from api.headers import SecurityHeaders
from api.pages import access, assets, keys, sent, start, webhook_edit, webhooks
from api.pages import audit as audit_page
from api.pages import deliveries as delivery_pages
from api.pages import events as event_pages
from api.pages import jobs as job_pages
from api.pages import occurrences as occurrence_pages
from api.pages import received as received_pages
from api.pages import roles as role_pages
from api.pages import sources as source_pages
from api.pages import tenants as tenant_pages
from api.platform import Platform
from api.protocol import problems, unrouted
from api.routes import (
    api_keys,
    audit,
    codec,
    deliveries,
    events,
    health,
    inbound,
    jobs,
    occurrences,
    received,
    roles,
    sources,
    statistics,
    subscriptions,
    tenants,
    tokens,
)
from api.routes.webhooks import actions, crud
from api.routes.webhooks import health as webhook_health
from webhooks import VERSION

PAGES = (
    assets,
    sent,
    start,
    delivery_pages,
    event_pages,
    occurrence_pages,
    access,
    keys,
    role_pages,
    tenant_pages,
    audit_page,
    received_pages,
    source_pages,
    webhook_edit,
    webhooks,
    job_pages,
)
"""The modules of the monitor's pages."""
_DESCRIPTION = """
Publish **occurrences** of **events**. Every **webhook** that is subscribed to the event receives each occurrence by
HTTP, signed as [Standard Webhooks](https://www.standardwebhooks.com) says. Each one is a **delivery**: it is retried
while the receiver fails, and this API shows it with all its attempts.

Send `Authorization: Bearer <key or token>` with every `/v1` request. Errors are `application/problem+json` (RFC 9457).
A list is an object with `items` and `next_cursor`.
"""


def _is_health_check(scope: Scope) -> bool:
    """Return whether to leave the request out of traces: health checks are frequent and belong to no delivery."""
    return str(scope.get("path", "")).startswith("/health/")


async def _lead_to_the_monitor() -> RedirectResponse:
    return RedirectResponse("sent")


def create_app(platform: Platform) -> FastAPI:
    """Return the API of a platform. The caller opens and closes the platform's parts."""
    app = FastAPIOffline(
        title="durable-webhooks",
        version=VERSION,
        description=_DESCRIPTION,
        generate_unique_id_function=openapi.operation_id,
        redirect_slashes=False,  # many clients drop the API key when they follow a redirect
        telemetry={"auto_configure": False, "logs": False, "operation_spans": False, "exclude": _is_health_check},
        swagger_ui_parameters={"persistAuthorization": True, "displayRequestDuration": True},
    )
    app.state.platform = platform
    app.add_middleware(codec.Cors, platform=platform)
    app.add_middleware(SecurityHeaders)  # the last one is outside of the others
    problems.install(app, platform.why_failed)
    unrouted.install(app)
    openapi.install(app)
    app.add_api_route("/", _lead_to_the_monitor, include_in_schema=False)
    for routes in (
        occurrences,  # first: a route is looked for in this order, and most calls publish
        tenants,
        api_keys,
        tokens,
        roles,
        audit,
        events,
        webhook_health,
        crud,
        actions,
        subscriptions,
        jobs,
        deliveries,
        sources,
        received,
        inbound,
        statistics,
        codec,
        health,
    ):
        app.include_router(routes.router)
    app.include_router(tokens.keys)
    app.include_router(jobs.starting)
    app.include_router(sign_in.router)
    for pages in PAGES:
        app.include_router(pages.router)
    return app
