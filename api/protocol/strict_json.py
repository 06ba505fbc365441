"""Strict requests. The body is read only after authentication, up to a maximum size. It must be JSON as RFC 8259
defines it: no NaN, no lone surrogates, bounded nesting. An unknown query parameter is an error, so that a misspelt
filter is noticed."""

import json
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic_core import from_json

from api.deps import authenticate
from webhooks.json_numbers import has_float, read_float, read_integer

_SPARE_LEVELS = 50
"""Levels of nesting kept free: the value must still be readable when it is nested deeper in a stored record."""
_JSON = re.compile(r"application/(?:[\w.-]+\+)?json")


class _StrictRequest(Request):
    max_body: int

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            chunks = bytearray()
            async for chunk in self.stream():
                chunks += chunk
                if len(chunks) > self.max_body:
                    raise HTTPException(413, f"the body is larger than {self.max_body // 1024} KiB")
            self._body = bytes(chunks)
        return self._body

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = self._parsed(await self.body())
        return self._json

    def _parsed(self, body: bytes) -> Any:
        try:
            # The parser limits nesting, so the extra brackets lower the limit for the body.
            value = from_json(b"[" * _SPARE_LEVELS + body + b"]" * _SPARE_LEVELS, allow_inf_nan=False)
            for _ in range(_SPARE_LEVELS):
                [value] = value
            json.dumps(value, allow_nan=False)  # fails for 1e400, which the parser reads as infinity
            if has_float(value):
                value = json.loads(body, parse_float=read_float, parse_int=read_integer)
                json.dumps(value, allow_nan=False)  # fails for a number with too many digits
        except ValueError:
            raise json.JSONDecodeError("not valid JSON, or nested too deep", "", 0) from None
        return value


class StrictRoute(APIRoute):
    """The class of every /v1 route."""

    max_body = 256 * 1024

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            await authenticate(request)
            content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if self.body_field and content_type and not _JSON.fullmatch(content_type):
                raise HTTPException(415, "send JSON with content-type application/json")
            unknown = request.query_params.keys() - {field.alias for field in self.dependant.query_params}
            if unknown:
                raise RequestValidationError(
                    [{"loc": ("query", name), "msg": "there is no such parameter"} for name in sorted(unknown)]
                )
            bounded = _StrictRequest(request.scope, request.receive)
            bounded.max_body = self.max_body
            return await handler(bounded)

        return strict


class LargeStrictRoute(StrictRoute):
    """The class of routes that take whole files."""

    max_body = 2 * 1024 * 1024
