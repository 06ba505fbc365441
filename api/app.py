"""The FastAPI application."""

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.types import Scope

from api.admission import Admission
from api.platform import Platform
from api.protocol import problems
from api.routes import deliveries, events, health, occurrences, subscriptions
from api.routes.webhooks import actions, crud
from webhooks import VERSION

_DESCRIPTION = """
Publish **occurrences** of **events**; every **webhook** subscribed to the event receives each one by HTTP, signed
after [Standard Webhooks](https://www.standardwebhooks.com), tried again while the receiver fails, and shown here with
every attempt as a **delivery**.

Send `Authorization: Bearer <key>` with every `/v1` call. Errors are `application/problem+json` (RFC 9457). Lists
answer `items` and `next_cursor`.
"""


def _is_asked_often(scope: Scope) -> bool:
    """And is no part of any delivery's trace."""
    return str(scope.get("path", "")).startswith("/health/")


def create_app(platform: Platform) -> FastAPI:
    """The API on a platform whose parts somebody else opens and closes."""
    app = FastAPIOffline(
        title="durable-webhooks",
        version=VERSION,
        description=_DESCRIPTION,
        telemetry={"auto_configure": False, "logs": False, "operation_spans": False, "exclude": _is_asked_often},
        swagger_ui_parameters={"persistAuthorization": True, "displayRequestDuration": True},
    )
    app.state.platform = platform
    app.add_middleware(Admission, platform=platform)
    problems.install(app)
    for routes in (events, crud, actions, subscriptions, occurrences, deliveries, health):
        app.include_router(routes.router)
    return app
