"""The HTTP server's limits on what a client may send before its request begins: uvicorn has none for the C parser."""

import asyncio
import json
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_SECONDS = 10.0
"""From the connection, or from a request's first byte, to the end of its headers."""
MAX_HEAD_BYTES = 32 * 1024
"""Of request line and headers that arrive in parts. What one read of the socket brings (256 KiB) is taken."""


class BoundedHttp(HttpToolsProtocol):
    """Closes a connection whose headers come too slowly, or are too many."""

    _head_bytes: int | None = 0
    """None while no headers are awaited."""
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_here()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._head_bytes is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        self._head_is_here()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        if self._head_bytes is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes is not None and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"request line and headers are larger than {MAX_HEAD_BYTES // 1024} KiB",
            )

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._deadline = self.loop.call_later(
            MAX_HEAD_SECONDS,
            self._refuse,
            HTTPStatus.REQUEST_TIMEOUT,
            f"the request's headers did not arrive within {MAX_HEAD_SECONDS:g} s",
        )

    def _head_is_here(self) -> None:
        self._head_bytes = None
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        began = bool(self._head_bytes)
        self._head_is_here()
        if self.transport.is_closing():
            return
        if began:
            body = json.dumps({"type": "about:blank", "title": status.phrase, "status": status, "detail": detail})
            self.transport.write(
                f"HTTP/1.1 {status} {status.phrase}\r\ncontent-type: application/problem+json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n{body}".encode()
            )
        self.transport.close()
