"""Dependencies of routes: platform, caller, database session, page."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Query, Request
from pydantic import AfterValidator, StringConstraints
from sqlmodel.ext.asyncio.session import AsyncSession

from api.auth import address_of
from api.platform import Platform
from api.schemas.common import Moment, printable
from webhooks.identity import audit
from webhooks.identity.caller import Caller
from webhooks.temporal.names import MAX_KEYWORD


async def platform_of(request: Request) -> Platform:  # async: FastAPI runs a plain function in a thread
    platform: Platform = request.app.state.platform
    return platform


CurrentPlatform = Annotated[Platform, Depends(platform_of)]


async def _caller(request: Request) -> Caller:
    """Return the caller that StrictRoute has authenticated."""
    caller: Caller = request.state.caller
    return caller


CurrentCaller = Annotated[Caller, Depends(_caller)]


async def _reading(platform: CurrentPlatform, _: CurrentCaller) -> AsyncIterator[AsyncSession]:
    async with platform.database.read() as session:
        yield session


async def _writing(platform: CurrentPlatform, caller: CurrentCaller, request: Request) -> AsyncIterator[AsyncSession]:
    async with platform.database.write() as session:
        audit.begin(session, caller, address_of(request))
        request.state.writing = session
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
