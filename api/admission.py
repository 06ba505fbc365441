"""Refuses publications early, cheaply, and with nothing started: while too many deliveries wait to be begun, and for a
moment after a caller was refused for publishing too fast."""

import json
import time
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.platform import Platform
from webhooks.telemetry import metrics

_MAX_CONCURRENT = 128
"""Publications that are on their way into Temporal."""
_REFUSED_SECONDS = 0.2
"""A caller that got a 429 gets the same one again for so long: to find it out each time costs CPU that others need."""
_MAX_REFUSED = 1_000
"""Callers that are remembered."""
_PATH = "/v1/occurrences"
_INBOUND = "/in/"
"""Senders have no key. How many of their requests are inside is bounded for each source."""
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
        self._refused: dict[bytes, tuple[float, list[Message]]] = {}
        """By `Authorization`: until when, and the answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
        elif scope["path"].startswith(_INBOUND):
            if self._platform.backlog.full():
                await self._refuse(send)
            else:
                await self._app(scope, receive, send)
        elif scope["path"] != _PATH:
            await self._app(scope, receive, send)
        elif self._inside >= _MAX_CONCURRENT or self._platform.backlog.full():
            await self._refuse(send)
        elif self._refused and (answer := self._refusal(_authorization(scope))):
            metrics.occurrence(metrics.LIMITED)
            for message in answer:
                await send({**message})
        else:
            self._inside += 1
            try:
                await self._app(scope, receive, self._noting(scope, send))
            finally:
                self._inside -= 1

    async def _refuse(self, send: Send) -> None:
        metrics.occurrence(metrics.REFUSED)
        await send({"type": "http.response.start", "status": _STATUS, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": _BODY})

    def _refusal(self, authorization: bytes) -> list[Message] | None:
        until, answer = self._refused.get(authorization, (0.0, None))
        return answer if time.monotonic() < until else None

    def _noting(self, scope: Scope, send: Send) -> Send:
        """Return a `send` that remembers the answer if the caller publishes too fast."""
        answer: list[Message] = []

        async def noting(message: Message) -> None:
            if answer or _is_limit(message):
                answer.append({**message})  # outer middlewares add to the message itself
                if not message.get("more_body") and len(answer) > 1:
                    self._remember(_authorization(scope), answer)
            await send(message)

        return noting

    def _remember(self, authorization: bytes, answer: list[Message]) -> None:
        if authorization:  # who has signed in has a cookie instead: each has one of their own
            if len(self._refused) >= _MAX_REFUSED:
                self._refused.clear()
            self._refused[authorization] = time.monotonic() + _REFUSED_SECONDS, answer


def _is_limit(message: Message) -> bool:
    """Return whether this begins a 429 for publishing too fast. One for wrong keys has no such header."""
    return message.get("status") == HTTPStatus.TOO_MANY_REQUESTS and any(
        name.lower() == b"ratelimit" for name, _ in message["headers"]
    )


def _authorization(scope: Scope) -> bytes:
    return next((value for name, value in scope["headers"] if name == b"authorization"), b"")
