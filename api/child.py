"""`python -m api.child NUMBER SOCKET CHANNEL`: one of several processes that serve a port. See api/processes.py.

SOCKET is the file descriptor of the listening socket, CHANNEL that of a connection to the process that has started this
one. When the channel ends, so has that process, and this one ends at once."""

import gc

if __name__ == "__main__":
    gc.disable()  # what the imports make stays: to search it for garbage would take a quarter of their time

import asyncio
import contextlib
import logging
import os
import socket
import sys

from api import starting
from api.serving import serve, watched_disk
from webhooks import process
from webhooks.sending.resources import opened
from webhooks.settings import Settings
from webhooks.telemetry import setup

log = logging.getLogger("api")

_PATIENCE_SECONDS = 10.0
"""A process takes no requests before it can deliver, because others take them. If Temporal does not answer for so
long, none can, and to answer why is better."""


async def run(settings: Settings, number: int, listening: socket.socket, channel: socket.socket) -> None:
    """Serve until SIGTERM, then finish what is in flight. Raises CannotRunError."""
    ours = settings.of_process(number)
    stop = starting.stop_signals()
    channel.setblocking(False)
    watching = asyncio.create_task(_end_with(channel))
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(watching.cancel)
        stack.enter_context(contextlib.closing(listening))
        stack.enter_context(setup.running(ours))
        resources = await stack.enter_async_context(opened(ours))
        disk = await stack.enter_async_context(watched_disk(ours))
        await serve(
            *(resources, disk, listening, stop),
            patience=_PATIENCE_SECONDS,
            serving=lambda: _tell_serving(channel),
            greets=number == 0,
        )


def _tell_serving(channel: socket.socket) -> None:
    with contextlib.suppress(OSError):
        channel.send(b".")


async def _end_with(channel: socket.socket) -> None:
    """End this process, as `kill -9` would, when the one that started it has ended: there is no Temporal server any
    more that could store what is in flight, and the next platform needs the port."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionError):
        while await loop.sock_recv(channel, 1):
            pass
    log.error("the process that started this one has ended, so this one ends as well")
    os._exit(1)


def _inherited(descriptor: str) -> socket.socket:
    found = socket.socket(fileno=int(descriptor))
    found.set_inheritable(False)
    return found


if __name__ == "__main__":
    _number, _listening, _channel = int(sys.argv[1]), _inherited(sys.argv[2]), _inherited(sys.argv[3])
    process.run(lambda settings: run(settings, _number, _listening, _channel), _number)
