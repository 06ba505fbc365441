"""Closing something that may be in use."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Resource = TypeVar("Resource")


class Retiring(Generic[Resource]):
    """A resource that several tasks use at the same time: `async with` counts its users. After `retire`, it is closed
    when the last user has left."""

    def __init__(self, resource: Resource, close: Callable[[], Awaitable[object]]) -> None:
        self.resource = resource
        self._close = close
        self._users = 0
        self._retired = False

    async def __aenter__(self) -> Resource:
        self._users += 1
        return self.resource

    async def __aexit__(self, *_: object) -> None:
        self._users -= 1
        await self._close_if_unused()

    async def retire(self) -> None:
        self._retired = True
        await self._close_if_unused()

    async def _close_if_unused(self) -> None:
        if self._retired and not self._users:
            await self._close()
