"""Errors as problem+json (RFC 9457). A problem names each wrong field by JSON pointer and never repeats the input."""

import logging
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from starlette.exceptions import HTTPException
from temporalio.service import RPCError

from webhooks.credentials.authentication import MODES
from webhooks.cursors import BadCursorError
from webhooks.field_errors import told
from webhooks.json_pointer import json_pointer
from webhooks.store import postgresql
from webhooks.store.database import is_away, is_full
from webhooks.store.postgresql import DatabaseAwayError
from webhooks.temporal.connection import is_passing

log = logging.getLogger(__name__)

_RETRY_AFTER = {"Retry-After": "5"}

Resource = TypeVar("Resource")


class FieldError(BaseModel):
    """One error in one field."""

    pointer: str | None = Field(None, description="JSON pointer into the body", examples=["/url"])
    parameter: str | None = Field(None, description="Name of a query parameter", examples=["limit"])
    detail: str = Field(examples=["https is required"])


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field("about:blank", examples=["about:blank"])
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["the request is not valid"])
    errors: list[FieldError] | None = None


class ProblemError(Exception):
    """The request fails with this problem as its response.

    `errors` are pairs of a JSON pointer into the body, or the name of a query parameter, and what is wrong there."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors
        self.headers = headers


def not_found(noun: str) -> ProblemError:
    return ProblemError(404, f"no such {noun}")


def require_found(noun: str, resource: Resource | None) -> Resource:
    """Return the resource. Raises ProblemError 404 if it is None."""
    if resource is None:
        raise not_found(noun)
    return resource


def invalid(pointer: str, detail: str) -> ProblemError:
    return ProblemError(422, detail, errors=[(pointer, detail)])


def temporal_unreachable(detail: str = "Temporal is not reachable; try again") -> ProblemError:
    return ProblemError(503, detail, headers=_RETRY_AFTER)


def too_much_at_once(advice: str = "try again") -> ProblemError:
    return ProblemError(503, f"too much at once; {advice}", headers=_RETRY_AFTER)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of the problems that a route can answer with."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {
                "application/problem+json": {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "example": _body(
                        ProblemError(
                            status, _EXAMPLES[status], errors=[("/url", "https is required")] * (status == 422)
                        )
                    ),
                }
            },
            **({"headers": {"Retry-After": {"schema": {"type": "integer"}}}} if status in (429, 503) else {}),
        }
        for status in statuses
    }


_EXAMPLES = {
    401: "a valid API key is required",
    403: "this needs the permission event:add, which the caller does not have",
    404: "no such delivery",
    409: "occurrence order-4711 was published before with other content",
    412: "the resource has changed since you read it; read it again and retry",
    413: "the body is larger than 256 KiB",
    415: "send JSON with content-type application/json",
    422: "the request is not valid",
    429: "too many requests without a valid API key from this address",
    503: "Temporal is not reachable; try again",
}


def install(app: FastAPI, why_temporal_failed: Callable[[RPCError], str]) -> None:
    """Answer every error of the app with a problem. `why_temporal_failed` names the cause of an error that may pass."""

    def temporal_failed(error: RPCError) -> ProblemError:
        if is_passing(error):
            log.warning("Temporal: %s", error.status.name)
            return temporal_unreachable(f"{why_temporal_failed(error)}; try again")
        log.error("Temporal: %s", error, exc_info=error)
        return _internal_error(error)

    for kind, problem_of in {**_PROBLEMS, RPCError: temporal_failed}.items():
        app.add_exception_handler(kind, _handler(problem_of))


def respond(problem: ProblemError) -> JSONResponse:
    """Return the response for a problem."""
    return JSONResponse(_body(problem), problem.status, headers=problem.headers, media_type="application/problem+json")


def _handler(problem_of: Callable[[Any], ProblemError]) -> Callable[[Request, Exception], Any]:
    async def handle(_: Request, error: Exception) -> JSONResponse:
        return respond(problem_of(error))

    return handle


def _not_valid(error: RequestValidationError) -> ProblemError:
    errors = [(_pointer(item), told(item)) for item in error.errors()]
    return ProblemError(422, "the request is not valid", errors=errors)


def _database_failed(error: SQLAlchemyError | DatabaseAwayError) -> ProblemError:
    if is_away(error):
        log.error("configuration database: %s", getattr(error, "orig", error))
        if is_full(error):
            return ProblemError(503, "the disk of the configuration database is full", headers=_RETRY_AFTER)
        return ProblemError(503, "the configuration database is not available; try again", headers=_RETRY_AFTER)
    if postgresql.has_nul(error):
        return ProblemError(422, "a text has the character U+0000, which cannot be stored; remove it")
    log.error("configuration database: %s", error, exc_info=error)
    return _internal_error(error)


def _internal_error(_: Exception) -> ProblemError:
    return ProblemError(500, "internal error")


_PROBLEMS: dict[type[Exception], Callable[[Any], ProblemError]] = {
    ProblemError: lambda error: error,
    HTTPException: lambda error: ProblemError(error.status_code, str(error.detail), headers=error.headers),
    RequestValidationError: _not_valid,
    BadCursorError: lambda error: ProblemError(422, str(error), errors=[("cursor", str(error))]),
    DatabaseAwayError: _database_failed,
    SQLAlchemyError: _database_failed,
    IntegrityError: lambda _: ProblemError(409, "another request changed this at the same time; read it and try again"),
    Exception: _internal_error,  # the server logs the trace
}
"""What each error becomes. The most specific class of an error decides."""


def _pointer(item: Mapping[str, Any]) -> str:
    """Return a JSON pointer into the body, or the name of a parameter."""
    place, *path = item["loc"]
    if place != "body":
        return str(path[0])
    # pydantic's path also contains the tag of a union's member, and "[key]" for an error in a key.
    unions = [index for index, step in enumerate(path) if step in MODES and path[index - 1] == "authentication"]
    return json_pointer([step for index, step in enumerate(path) if index not in unions and step != "[key]"])


def _body(problem: ProblemError) -> dict[str, Any]:
    errors = [
        FieldError(detail=text, **({"pointer": where} if where.startswith("/") or not where else {"parameter": where}))
        for where, text in problem.errors
    ]
    title = HTTPStatus(problem.status).phrase
    body = Problem(title=title, status=problem.status, detail=problem.detail, errors=errors or None)
    return body.model_dump(exclude_none=True)


RESPONSES = responses(401, 403, 422)
