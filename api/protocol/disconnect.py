"""Noticing that a client has gone away."""

from starlette.types import Receive


async def disconnected(receive: Receive) -> None:
    """Return when the client has closed the connection. What it still sends of a body is dropped."""
    while (await receive())["type"] != "http.disconnect":
        pass
