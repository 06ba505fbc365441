"""A request and its answer as they went over the wire: how long each part took, the headers, the sizes."""

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar
from itertools import pairwise

Header = tuple[bytes, bytes]

DNS = "dns"
CONNECT = "connect"
TLS = "tls"
WAIT = "wait"
READ = "read"
_OTHER = ""
"""What is none of these parts."""


class Exchange:
    """One request and its answer. It holds headers in clear: mask them before they are stored or shown."""

    __slots__ = (
        "_begun",
        "http_version",
        "remote_address",
        "request_headers",
        "request_size",
        "response_headers",
        "response_size",
    )

    def __init__(self, request_headers: list[Header], request_size: int) -> None:
        self.request_headers = request_headers
        self.request_size = request_size
        """Bytes of the request's body."""
        self.start()

    def start(self) -> None:
        """Forget what was recorded: the request is sent once more."""
        self._begun: list[tuple[str, float]] = []
        """Parts, and when each began in seconds of the monotonic clock. A part ends when the next one begins."""
        self.remote_address: str | None = None
        """IP address and port of the connection, as far as they may be shown."""
        self.http_version: str | None = None
        self.response_headers: list[Header] = []
        self.response_size: int | None = None
        """Bytes of the answer's body that were read."""

    def begin(self, part: str) -> None:
        """Begin a part, unless it is under way already."""
        if self._begun and self._begun[-1][0] == part:
            return
        self._begun.append((part, time.monotonic()))

    def end(self) -> None:
        """End the part that is under way."""
        self.begin(_OTHER)

    def timing(self) -> dict[str, float]:
        """Return the milliseconds of each part that happened, also of one that failed."""
        seconds: dict[str, float] = {}
        for (part, at), (_, until) in pairwise(self._begun):
            if part:
                seconds[part] = seconds.get(part, 0.0) + until - at
        return {part: round(spent * 1000, 1) for part, spent in seconds.items()}


_current: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


@contextlib.contextmanager
def recording(exchange: Exchange) -> Iterator[None]:
    """Record in `exchange` what the connections do that this task uses in the block."""
    token = _current.set(exchange)
    try:
        yield
    finally:
        _current.reset(token)


def begin(part: str) -> None:
    """Record that a part of this task's request begins."""
    if exchange := _current.get():
        exchange.begin(part)


def end() -> None:
    """Record that the part that is under way ends."""
    begin(_OTHER)


def sent_to(remote_address: str | None) -> None:
    """Record where this task's request is sent."""
    if exchange := _current.get():
        exchange.remote_address = remote_address
