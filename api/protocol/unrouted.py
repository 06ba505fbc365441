"""Answers for requests that no route takes: 404 for an unknown path, 405 for a method that its path does not have."""

import re
from functools import cache

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from api.protocol.problems import ProblemError, respond


def install(app: FastAPI) -> None:
    """Answer 404 and 405 with problems that say what to change. Paths and methods are those of the OpenAPI document."""

    @cache
    def known() -> list[tuple[re.Pattern[str], list[str]]]:
        paths = sorted(app.openapi()["paths"].items(), key=lambda item: "{" in item[0])  # a fixed path comes first
        return [(compile_path(path)[0], sorted(method.upper() for method in methods)) for path, methods in paths]

    def methods_of(path: str) -> list[str] | None:
        return next((methods for pattern, methods in known() if pattern.match(path)), None)

    async def no_such_path(request: Request, _: Exception) -> JSONResponse:
        path = request.scope["path"]
        slash = path.endswith("/") and methods_of(path.rstrip("/"))
        return respond(ProblemError(404, "no such path; remove the slash at its end" if slash else "no such path"))

    async def no_such_method(request: Request, error: HTTPException) -> JSONResponse:
        # Starlette names the methods of one route only, and a path has a route for each method.
        methods = methods_of(request.scope["path"])
        allow = ", ".join(methods) if methods else (error.headers or {}).get("Allow", "")
        return respond(ProblemError(405, f"this path has no such method; use {allow}", headers={"Allow": allow}))

    app.add_exception_handler(404, no_such_path)
    app.add_exception_handler(405, no_such_method)  # type: ignore[arg-type]
