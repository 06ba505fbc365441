"""Errors as problem+json (RFC 9457). A problem names the fields at fault by JSON pointer and repeats no input."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from starlette.exceptions import HTTPException
from temporalio.service import RPCError

from webhooks.credentials.authentication import MODES
from webhooks.cursors import BadCursorError
from webhooks.json_pointer import json_pointer
from webhooks.store.database import is_away
from webhooks.store.postgresql import DatabaseAwayError
from webhooks.temporal.connection import is_passing

log = logging.getLogger(__name__)

_RETRY_AFTER = {"Retry-After": "5"}


class FieldError(BaseModel):
    """One thing wrong with one field."""

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
    """A request that cannot be served, and why; becomes the response."""

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


def invalid(pointer: str, detail: str) -> ProblemError:
    return ProblemError(422, detail, errors=[(pointer, detail)])


def temporal_unreachable(detail: str = "Temporal is not reachable; try again") -> ProblemError:
    return ProblemError(503, detail, headers=_RETRY_AFTER)


def too_much_at_once(advice: str = "try again") -> ProblemError:
    return ProblemError(503, f"too much at once; {advice}", headers=_RETRY_AFTER)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries for the problems that a route can answer."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {
                "application/problem+json": {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "example": _body(status, _EXAMPLES[status], [("/url", "https is required")] * (status == 422)),
                }
            },
            **({"headers": {"Retry-After": {"schema": {"type": "integer"}}}} if status == 503 else {}),
        }
        for status in statuses
    }


_EXAMPLES = {
    401: "a valid API key is required",
    404: "no such delivery",
    409: "occurrence order-4711 was published before with other content",
    412: "it has changed since you read it; look and try again",
    413: "the body is over 256 KiB",
    415: "send JSON, with content-type application/json",
    422: "the request is not valid",
    503: "Temporal is not reachable; try again",
}


def install(app: FastAPI) -> None:
    """Makes every error of the app a problem."""

    @app.exception_handler(ProblemError)
    async def _problem(_: Request, error: ProblemError) -> JSONResponse:
        return _response(error.status, error.detail, errors=error.errors, headers=error.headers)

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        return _response(error.status_code, str(error.detail), headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def _validation(_: Request, error: RequestValidationError) -> JSONResponse:
        errors = [(_pointer(item), _said(item)) for item in error.errors()]
        return _response(422, "the request is not valid", errors=errors)

    @app.exception_handler(BadCursorError)
    async def _cursor(_: Request, error: BadCursorError) -> JSONResponse:
        return _response(422, str(error), errors=[("cursor", str(error))])

    @app.exception_handler(DatabaseAwayError)
    @app.exception_handler(SQLAlchemyError)
    async def _database(_: Request, error: SQLAlchemyError | DatabaseAwayError) -> JSONResponse:
        if is_away(error):
            log.error("configuration database: %s", getattr(error, "orig", error))
            return _response(503, "the configuration database is not available; try again", headers=_RETRY_AFTER)
        log.error("configuration database: %s", error, exc_info=error)
        return _response(500, "internal error")

    @app.exception_handler(IntegrityError)
    async def _changed_meanwhile(_: Request, error: IntegrityError) -> JSONResponse:
        return _response(409, "another request changed this at the same time; look and try again")

    @app.exception_handler(RPCError)
    async def _temporal(_: Request, error: RPCError) -> JSONResponse:
        if is_passing(error):
            log.warning("Temporal: %s", error.status.name)
            problem = temporal_unreachable()
            return _response(problem.status, problem.detail, headers=problem.headers)
        log.error("Temporal: %s", error, exc_info=error)
        return _response(500, "internal error")

    @app.exception_handler(Exception)
    async def _bug(_: Request, error: Exception) -> JSONResponse:  # the server logs the trace
        return _response(500, "internal error")

    describe = app.openapi

    def openapi() -> dict[str, Any]:
        schema = describe()
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schema["components"]["schemas"] |= {**problem.pop("$defs"), "Problem": problem}
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


_SAID = {
    "json_invalid": "not valid JSON, or nested too deep",
    "union_tag_invalid": f"the type must be one of: {', '.join(MODES)}",  # pydantic's own words repeat what was given
    "union_tag_not_found": f"the type must be one of: {', '.join(MODES)}",
    "string_pattern_mismatch": "characters that are not allowed here, or too many or too few of them",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "extra_forbidden": "there is no such field, or it cannot be changed",
}


def _said(item: Mapping[str, Any]) -> str:
    return _SAID.get(item.get("type", ""), str(item["msg"]).removeprefix("Value error, "))


def _pointer(item: Mapping[str, Any]) -> str:
    """A JSON pointer into the body, or the bare name of a parameter."""
    place, *path = item["loc"]
    if place != "body":
        return ".".join(str(part) for part in path)
    if item.get("type") == "json_invalid":  # which carries a position, not a path
        return ""
    # pydantic's path also names the member of a union, and a key as such.
    unions = [index for index, step in enumerate(path) if step in MODES and path[index - 1] == "authentication"]
    return json_pointer([step for index, step in enumerate(path) if index not in unions and step != "[key]"])


def _body(status: int, detail: str, errors: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    named = [
        FieldError(detail=text, **({"pointer": where} if where.startswith("/") or not where else {"parameter": where}))
        for where, text in errors
    ]
    problem = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, errors=named or None)
    return problem.model_dump(exclude_none=True)


def _response(
    status: int,
    detail: str,
    *,
    errors: Sequence[tuple[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    return JSONResponse(_body(status, detail, errors), status, headers=headers, media_type="application/problem+json")


RESPONSES = responses(401, 422)
