"""Request bodies: bounded, and JSON as RFC 8259 has it (no NaN, no lone surrogates, no bottomless nesting)."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json

MAX_BODY_BYTES = 256 * 1024


class _StrictRequest(Request):
    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            chunks = bytearray()
            async for chunk in self.stream():
                chunks += chunk
                if len(chunks) > MAX_BODY_BYTES:
                    raise HTTPException(413, f"a body holds at most {MAX_BODY_BYTES} bytes")
            self._body = bytes(chunks)
        return self._body

    async def json(self) -> Any:
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError:
            raise json.JSONDecodeError("not valid JSON", "", 0) from None


class StrictRoute(APIRoute):
    """The class of every route that takes a body."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(_StrictRequest(request.scope, request.receive))

        return strict
