"""Refuses publications while too many deliveries wait to be begun: early, cheaply, and with nothing started."""

import json
from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from api.platform import Platform
from webhooks.telemetry import metrics

_MAX_CONCURRENT = 128
"""Publications that are on their way into Temporal."""
_PATH = "/v1/occurrences"
_STATUS = HTTPStatus.SERVICE_UNAVAILABLE
_BODY = json.dumps(
    {"type": "about:blank", "title": _STATUS.phrase, "status": _STATUS, "detail": "too much at once; try again"}
).encode()
_HEADERS = [
    (b"content-type", b"application/problem+json"),
    (b"content-length", str(len(_BODY)).encode()),
    (b"retry-after", b"1"),
]


class Admission:
    """An ASGI middleware before everything else: to refuse must cost next to nothing, or refusing becomes the load."""

    def __init__(self, app: ASGIApp, platform: Platform) -> None:
        self._app = app
        self._platform = platform
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != _PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
        elif self._inside >= _MAX_CONCURRENT or self._platform.backlog.full():
            metrics.occurrence(metrics.REFUSED)
            await send({"type": "http.response.start", "status": _STATUS, "headers": _HEADERS})
            await send({"type": "http.response.body", "body": _BODY})
        else:
            self._inside += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._inside -= 1
