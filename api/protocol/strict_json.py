"""Strict requests. The body is read only after authentication, up to a maximum size. It must be JSON as
`webhooks/json_documents.py` reads it, or whatever the route itself reads. A query parameter that is unknown, or given
twice without a meaning, is an error, so that a misspelt filter is noticed."""

import re
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, ClassVar, get_args, get_origin

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.params import Security
from fastapi.routing import APIRoute

from api import rates
from api.auth import authenticate, record_as, record_asked_for, record_refusal
from api.protocol.bounded_body import bounded_body
from api.protocol.idempotency import HEADER, Repeatable
from api.protocol.problems import ProblemError, invalid
from webhooks.json_documents import DocumentError, MalformedJsonError, decode, parse

_JSON = re.compile(r"application/(?:[\w.-]+\+)?json")
_NOT_ENCODED = ("", "identity")
_GZIP = b"\x1f\x8b"


class _StrictRequest(Request):
    max_body: int

    async def body(self) -> bytes:
        """Return the body. Raises ProblemError 400, 408 and 413, and HTTPException 415."""
        if not hasattr(self, "_body"):
            encoding = self.headers.get("content-encoding", "").strip().lower()
            if encoding not in _NOT_ENCODED:
                raise _encoded("content-encoding is not supported")
            chunks = await bounded_body(self, self.max_body)
            if chunks.startswith(_GZIP):
                raise _encoded("the body is compressed with gzip")
            self._body = chunks
        return self._body

    async def json(self) -> Any:
        """Return the JSON value of the body. Raises ProblemError 422, and what body() raises."""
        if not hasattr(self, "_json"):
            body = await self.body()
            try:
                self._json = parse(decode(body))
            except MalformedJsonError as error:
                raise invalid("", f"not valid JSON: {error}") from None
            except DocumentError as error:
                raise invalid(error.pointer, str(error)) from None
        return self._json


class StrictRoute(APIRoute):
    """The class of every /v1 route. Each declares with api.auth.needs which permission it asks for."""

    max_body = 256 * 1024
    repeatable_status: ClassVar[int | None] = HTTPStatus.CREATED
    """Calls that answer with it take an `Idempotency-Key`."""

    @property
    def is_repeatable(self) -> bool:
        """Whether the call takes an `Idempotency-Key`."""
        return self.status_code is not None and self.status_code == self.repeatable_status

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        [permission] = [
            scope for given in self.dependencies if isinstance(given, Security) for scope in given.scopes or ()
        ]
        takes_several = {field.alias: _is_list(field.field_info.annotation) for field in self.dependant.query_params}

        async def strict(request: Request) -> Response:
            await authenticate(request, permission)
            _check_path(request)
            headers = await rates.limit(request, permission)
            _check_query(request, takes_several)
            bounded = _StrictRequest(request.scope, request.receive)
            bounded.max_body = self.max_body
            if self.body_field:
                await _read_json(bounded)
            key = request.headers.get(HEADER) if self.is_repeatable else None
            repeatable = None if key is None else Repeatable(request, key, await bounded.body())
            if repeatable and (earlier := await repeatable.earlier_answer()):
                record_as(request, None)
                return earlier
            request.state.repeatable = repeatable
            response = await handler(bounded)
            if repeatable:
                await repeatable.store(response)
            response.headers.update(headers)
            return response

        async def audited(request: Request) -> Response:
            try:
                response = await strict(request)
            except ProblemError as problem:
                record_refusal(request, f"{request.method} {self.path_format}", permission, problem)
                raise rates.slowed(request, problem) from None
            await record_asked_for(request, permission)
            return response

        return audited


class LargeStrictRoute(StrictRoute):
    """The class of routes that take whole files."""

    max_body = 2 * 1024 * 1024


def _check_path(request: Request) -> None:
    """Raise ProblemError 404 for a name with a NUL character: nothing has such a name, and PostgreSQL takes none."""
    if "\x00" in request.scope["path"]:
        raise ProblemError(404, "nothing has a name with the character U+0000")


def _check_query(request: Request, takes_several: dict[str, bool]) -> None:
    """Raise RequestValidationError if there is no such parameter, or if it is given twice and takes one value."""
    given = request.query_params
    errors = [(name, "there is no such parameter") for name in given.keys() - takes_several.keys()]
    errors += [
        (name, "it is given more than once, and takes one value")
        for name, several in takes_several.items()
        if not several and len(given.getlist(name)) > 1
    ]
    errors += [(name, "has the character U+0000") for name, value in given.multi_items() if "\x00" in value]
    if errors:
        raise RequestValidationError([{"loc": ("query", name), "msg": message} for name, message in sorted(errors)])


async def _read_json(request: _StrictRequest) -> None:
    """Read the body before FastAPI does, which answers less exactly. Raises HTTPException and ProblemError."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type and not _JSON.fullmatch(content_type):
        raise HTTPException(415, "send JSON with content-type application/json")
    if await request.body():
        if not content_type:
            raise HTTPException(415, "there is no content-type; send JSON with content-type application/json")
        await request.json()


def _encoded(reason: str) -> HTTPException:
    return HTTPException(415, f"{reason}; send the body as it is", headers={"Accept-Encoding": "identity"})


def _is_list(annotation: Any) -> bool:
    return any(get_origin(part) is list for part in (annotation, *get_args(annotation)))
