"""What routes ask for."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.security import HTTPBearer
from sqlmodel.ext.asyncio.session import AsyncSession

from api.platform import Platform
from api.protocol.problems import ProblemError

_bearer = HTTPBearer(auto_error=False, description="An API key")


async def _platform(request: Request) -> Platform:  # async, or it would be run in a thread
    platform: Platform = request.app.state.platform
    return platform


CurrentPlatform = Annotated[Platform, Depends(_platform)]


@dataclass(frozen=True)
class Caller:
    """Who calls, by the key presented."""

    tenant: str


async def authenticate(request: Request) -> None:
    """Finds out who calls before anything of the body is read. Raises ProblemError 401."""
    credentials = await _bearer(request)
    tenant = await (await _platform(request)).keys.tenant_of(credentials.credentials) if credentials else None
    if tenant is None:
        raise ProblemError(401, "a valid API key is required", headers={"WWW-Authenticate": "Bearer"})
    request.state.caller = Caller(tenant)


async def _caller(request: Request, _: Annotated[object, Depends(_bearer)]) -> Caller:
    """Of a StrictRoute, which has authenticated him; `_bearer` is named for the OpenAPI document."""
    caller: Caller = request.state.caller
    return caller


CurrentCaller = Annotated[Caller, Depends(_caller)]


async def _reading(platform: CurrentPlatform, _: CurrentCaller) -> AsyncIterator[AsyncSession]:
    async with platform.database.read() as session:
        yield session


async def _writing(platform: CurrentPlatform, _: CurrentCaller) -> AsyncIterator[AsyncSession]:
    async with platform.database.write() as session:
        yield session


# Function scope: the transaction commits before the response leaves, for a 2xx is a promise.
Reading = Annotated[AsyncSession, Depends(_reading, scope="function")]
Writing = Annotated[AsyncSession, Depends(_writing, scope="function")]

Limit = Annotated[int, Query(ge=1, le=100, description="Most items on a page")]
Cursor = Annotated[str | None, Query(max_length=1024, description="`next_cursor` of the page before")]
