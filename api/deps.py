"""Dependencies of routes: platform, caller, database session, page."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.security import HTTPBearer
from pydantic import AfterValidator, StringConstraints
from sqlmodel.ext.asyncio.session import AsyncSession

from api.platform import Platform
from api.protocol.problems import ProblemError
from api.schemas.common import Moment, printable
from webhooks.temporal.names import MAX_KEYWORD

_bearer = HTTPBearer(auto_error=False, description="An API key")


async def _platform(request: Request) -> Platform:  # async: FastAPI runs a plain function in a thread
    platform: Platform = request.app.state.platform
    return platform


CurrentPlatform = Annotated[Platform, Depends(_platform)]


@dataclass(frozen=True)
class Caller:
    """Who sent the request, as the API key says."""

    tenant: str


async def authenticate(request: Request) -> None:
    """Set `request.state.caller` from the API key, before anything reads the body. Raises ProblemError 401."""
    credentials = await _bearer(request)
    tenant = await (await _platform(request)).keys.tenant_of(credentials.credentials) if credentials else None
    if tenant is None:
        raise ProblemError(401, "a valid API key is required", headers={"WWW-Authenticate": "Bearer"})
    request.state.caller = Caller(tenant)


async def _caller(request: Request, _: Annotated[object, Depends(_bearer)]) -> Caller:
    """Return the caller that StrictRoute has authenticated. `_bearer` is here for the OpenAPI document only."""
    caller: Caller = request.state.caller
    return caller


CurrentCaller = Annotated[Caller, Depends(_caller)]


async def _reading(platform: CurrentPlatform, _: CurrentCaller) -> AsyncIterator[AsyncSession]:
    async with platform.database.read() as session:
        yield session


async def _writing(platform: CurrentPlatform, _: CurrentCaller) -> AsyncIterator[AsyncSession]:
    async with platform.database.write() as session:
        yield session


# Function scope: the transaction commits before the response is sent. A 2xx response promises that it is stored.
Reading = Annotated[AsyncSession, Depends(_reading, scope="function")]
Writing = Annotated[AsyncSession, Depends(_writing, scope="function")]

Limit = Annotated[int, Query(ge=1, le=100, description="The maximum number of items on a page")]
Cursor = Annotated[str | None, Query(max_length=1024, description="`next_cursor` of the previous page")]

MAX_VALUES = 20
"""Of one query parameter that may be repeated."""
Either = Annotated[
    list[str] | None, Query(max_length=MAX_VALUES, description="Repeat it to list what has any one of the values")
]
Term = Annotated[str, StringConstraints(min_length=1, max_length=MAX_KEYWORD), AfterValidator(printable)]
Terms = Annotated[
    list[Term] | None, Query(max_length=MAX_VALUES, description="Repeat it to list what has any one of the values")
]
Time = Annotated[
    Moment | None,
    Query(description="RFC 3339 with a time zone (in a URL, write `+` as `%2B`); compared with `created_at`"),
]
