"""Errors as problem+json (RFC 9457). A problem names the fields at fault by JSON pointer and repeats no input."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from temporalio.service import RPCError, RPCStatusCode

from webhooks.store.pages import BadCursorError

log = logging.getLogger(__name__)

_RETRY_AFTER = {"Retry-After": "5"}


class FieldError(BaseModel):
    """One thing wrong with one field."""

    pointer: str = Field(description="JSON pointer into the body, or the name of a parameter", examples=["/url"])
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


def temporal_unreachable() -> ProblemError:
    return ProblemError(503, "Temporal is not reachable; nothing is lost, try again", headers=_RETRY_AFTER)


RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": description}
    for status, description in {401: "No valid API key", 422: "The request is not valid"}.items()
}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries for the problems that a route can answer."""
    return {status: {"model": Problem, "description": HTTPStatus(status).phrase} for status in statuses}


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
        errors = [(_pointer(item["loc"]), str(item["msg"])) for item in error.errors()]
        return _response(422, "the request is not valid", errors=errors)

    @app.exception_handler(BadCursorError)
    async def _cursor(_: Request, error: BadCursorError) -> JSONResponse:
        return _response(422, str(error), errors=[("cursor", str(error))])

    @app.exception_handler(RPCError)
    async def _temporal(_: Request, error: RPCError) -> JSONResponse:
        if error.status in (
            RPCStatusCode.UNAVAILABLE,
            RPCStatusCode.DEADLINE_EXCEEDED,
            RPCStatusCode.RESOURCE_EXHAUSTED,
            RPCStatusCode.CANCELLED,
        ):
            log.warning("Temporal: %s", error.status.name)
            problem = temporal_unreachable()
            return _response(problem.status, problem.detail, headers=problem.headers)
        log.error("Temporal: %s", error, exc_info=error)
        return _response(500, "internal error")

    @app.exception_handler(Exception)
    async def _bug(_: Request, error: Exception) -> JSONResponse:  # the server logs the trace
        return _response(500, "internal error")


def _pointer(location: Sequence[str | int]) -> str:
    place, *path = location
    if place != "body":
        return ".".join(str(part) for part in path)
    if path and isinstance(path[0], int):  # "JSON decode error" carries a position, not a path
        return ""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _response(
    status: int,
    detail: str,
    *,
    errors: Sequence[tuple[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    problem = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        errors=[FieldError(pointer=pointer, detail=text) for pointer, text in errors] or None,
    )
    return JSONResponse(
        problem.model_dump(exclude_none=True), status, headers=headers, media_type="application/problem+json"
    )
