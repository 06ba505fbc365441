"""The FastAPI application."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json

from api import problems
from api.platform import Platform
from api.routes import deliveries, events, health, occurrences, webhooks

MAX_BODY_BYTES = 256 * 1024

_DESCRIPTION = """
Publish **occurrences** of **events**; every **webhook** subscribed to the event receives each one by HTTP, signed
after [Standard Webhooks](https://www.standardwebhooks.com), tried again while the receiver fails, and shown here with
every attempt as a **delivery**.

Send `Authorization: Bearer <key>` with every `/v1` call. Errors are `application/problem+json` (RFC 9457). Lists
answer `items` and `next_cursor`.
"""


class _StrictRequest(Request):
    """Reads JSON as RFC 8259 has it: no NaN, no lone surrogates, no bottomless nesting."""

    async def json(self) -> Any:
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError:
            raise json.JSONDecodeError("not valid JSON", "", 0) from None


class _StrictRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(_StrictRequest(request.scope, request.receive))

        return strict


def create_app(platform: Platform) -> FastAPI:
    """The API on a platform whose parts somebody else opens and closes."""
    app = FastAPI(
        title="durable-webhooks",
        version="0.1.0",
        description=_DESCRIPTION,
        max_body_size=MAX_BODY_BYTES,
        swagger_ui_parameters={"persistAuthorization": True, "displayRequestDuration": True},
    )
    app.state.platform = platform
    problems.install(app)
    for routes in (events, webhooks, occurrences, deliveries, health):
        routes.router.route_class = _StrictRoute
        app.include_router(routes.router)
    return app
