"""Room for publications and for received webhooks: they wait for it, and are refused cheaply if they cannot have it."""

import contextlib
import json
import time
from collections.abc import AsyncIterator, Hashable
from functools import partial
from http import HTTPStatus

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import headers
from api.platform import Platform
from api.protocol.disconnect import disconnected
from api.protocol.problems import ProblemError
from webhooks.isolation.waiting_room import CallerGoneError, TooManyWaitingError
from webhooks.telemetry import metrics

_LIMITED_SECONDS = 0.05
"""A caller that got a 429 gets the same one again for so long: to find it out each time costs CPU that others need.
Short, so that what it may publish comes evenly and not in bursts."""
_MAX_LIMITED = 1_000
"""Callers that are remembered."""
_PATH = "/v1/occurrences"
_INBOUND = "/in/"
_STATUS = HTTPStatus.SERVICE_UNAVAILABLE
_DETAIL = "too much at once; try again"
_RETRY_AFTER = "1"
_REFUSALS = (_STATUS, HTTPStatus.TOO_MANY_REQUESTS)
_BODY = json.dumps({"type": "about:blank", "title": _STATUS.phrase, "status": _STATUS, "detail": _DETAIL}).encode()
_HEADERS = [
    (b"content-type", b"application/problem+json"),
    (b"content-length", str(len(_BODY)).encode()),
    (b"retry-after", _RETRY_AFTER.encode()),
    *headers.API,
]
_NO_ROOM: list[Message] = [
    {"type": "http.response.start", "status": _STATUS, "headers": _HEADERS},
    {"type": "http.response.body", "body": _BODY},
]


@contextlib.asynccontextmanager
async def place(request: Request, tenant: str, caller: str) -> AsyncIterator[None]:
    """Have a place among what is on its way into Temporal. The request's body must have been read. Raises ProblemError
    503 if there is no room in time, and 400 if the client has closed the connection meanwhile."""
    platform: Platform = request.app.state.platform
    try:
        async with platform.room.place(tenant, caller, partial(disconnected, request.receive)):
            yield
    except TooManyWaitingError:
        metrics.occurrence(metrics.REFUSED)
        raise ProblemError(_STATUS, _DETAIL, headers={"Retry-After": _RETRY_AFTER}) from None
    except CallerGoneError:
        raise ProblemError(400, "the connection was closed before there was room") from None


class Admission:
    """An ASGI middleware outside of everything else: to refuse must cost next to nothing, or refusing becomes the load.
    So it is not one of the application's own middlewares, which are all inside of FastAPI's."""

    def __init__(self, app: ASGIApp, platform: Platform) -> None:
        self._app = app
        self._platform = platform
        self._limited: dict[Hashable, tuple[float, list[Message]]] = {}
        """By caller: until when, and the 429."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _publishes(scope):
            await self._app(scope, receive, send)
            return
        caller = _caller(scope)
        if answer := self._known_answer(caller):
            await self._refuse(caller, answer, send)
        else:
            await self._app(scope, receive, self._noting(caller, send))

    def _known_answer(self, caller: Hashable) -> list[Message] | None:
        """Return what the caller would be answered, if that is known before it is asked who it is."""
        if self._limited:
            until, limited = self._limited.get(caller, (0.0, None))
            if limited and time.monotonic() < until:
                metrics.occurrence(metrics.LIMITED)
                return limited
        if self._platform.held_back.ignores_retry_after(caller) and self._platform.room.full():
            metrics.occurrence(metrics.REFUSED)
            return _NO_ROOM
        return None

    async def _refuse(self, caller: Hashable, answer: list[Message], send: Send) -> None:
        await self._platform.held_back.hold(caller)
        self._platform.held_back.note(caller)
        for message in answer:
            await send(message)

    def _noting(self, caller: Hashable, send: Send) -> Send:
        """Return a `send` that holds a refusal back, and remembers one for publishing too fast."""
        answer: list[Message] = []

        async def noting(message: Message) -> None:
            if not answer and message.get("status") not in _REFUSALS:
                await send(message)
                return
            answer.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self._remember(caller, answer)
                await self._refuse(caller, answer, send)

        return noting

    def _remember(self, caller: Hashable, answer: list[Message]) -> None:
        # An address may be that of many callers.
        if isinstance(caller, bytes) and _is_limit(answer[0]):
            if len(self._limited) >= _MAX_LIMITED:
                self._limited.clear()
            self._limited[caller] = time.monotonic() + _LIMITED_SECONDS, answer


def _publishes(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "POST":
        return False
    path: str = scope["path"]
    return path == _PATH or path.startswith(_INBOUND)


def _is_limit(message: Message) -> bool:
    """Return whether this begins a 429 for publishing too fast. One for wrong keys has no such header."""
    return message.get("status") == HTTPStatus.TOO_MANY_REQUESTS and any(
        name.lower() == b"ratelimit" for name, _ in message["headers"]
    )


def _caller(scope: Scope) -> Hashable:
    """Return the caller's key, or else its address and what it calls: who has signed in has a cookie, and senders of
    webhooks have no key."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            return bytes(value)
    return (scope.get("client") or ("",))[0], scope["path"]
