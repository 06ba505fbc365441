"""Calls of the API in this process, with the cookie of the person who looks at the page."""

import json
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import Message

from webhooks.json_numbers import read_float, read_integer

_FORWARDED = (b"cookie", b"origin", b"sec-fetch-site", b"host")
"""Headers of the browser's request that tell the API who calls, and from which site."""


class CallError(Exception):
    """The API answered with a problem (RFC 9457)."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.detail: str = problem["detail"]
        self.errors = {
            error.get("pointer", error.get("parameter", "")): error["detail"] for error in problem.get("errors", ())
        }
        """What is wrong in each field, by JSON pointer or the name of a parameter."""
        super().__init__(self.detail)


class Calls:
    """Calls the API for a page."""

    def __init__(self, request: Request) -> None:
        self._request = request

    async def get(self, path: str, **query: Any) -> Any:
        """Return the JSON of the answer. A query parameter that is None is left out. Raises CallError."""
        return await self.call("GET", path, query=query)

    async def all(self, path: str, *, most: int = 500) -> list[Any]:
        """Return the items of all pages of a list, of up to `most`. Raises CallError."""
        items: list[Any] = []
        cursor = None
        while len(items) < most:
            found = await self.get(path, limit=100, cursor=cursor)
            items += found["items"]
            if (cursor := found["next_cursor"]) is None:
                break
        return items

    async def get_tagged(self, path: str) -> tuple[Any, str]:
        """Return the JSON of the answer and its ETag, for `if_match` of a later change. Raises CallError."""
        shown, headers = await self._exchange("GET", path, None, {}, {})
        return shown, headers["etag"]

    async def post(self, path: str, body: object = None) -> Any:
        return await self.call("POST", path, body)

    async def call(
        self, method: str, path: str, body: object = None, *, query: dict[str, Any] | None = None, **headers: str
    ) -> Any:
        """Return the JSON of the answer, None if it has no body. `body`: a value, or the bytes to send.
        `headers` are written like `if_match`. Raises CallError."""
        shown, _ = await self._exchange(method, path, body, query or {}, headers)
        return shown

    async def _exchange(
        self, method: str, path: str, body: object, query: dict[str, Any], headers: dict[str, str]
    ) -> tuple[Any, Headers]:
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        given = {name: value for name, value in query.items() if value is not None}
        sent = [(name, value) for name, value in self._request.scope["headers"] if name in _FORWARDED]
        sent += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        if content:
            sent += [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": self._request.scope["scheme"],
            "path": path,
            "raw_path": quote(path).encode(),
            "query_string": urlencode(given, doseq=True).encode(),
            "root_path": "",
            "headers": sent,
            "client": self._request.scope["client"],
            "server": self._request.scope["server"],
        }
        status, answer, answered = 0, bytearray(), Headers()

        async def receive() -> Message:
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], Headers(raw=message["headers"])
            else:
                answer.extend(message.get("body", b""))

        await self._request.app(scope, receive, send)
        shown: Any = json.loads(answer, parse_float=read_float, parse_int=read_integer) if answer else None
        if status >= 400:
            raise CallError(status, shown)
        return shown, answered
