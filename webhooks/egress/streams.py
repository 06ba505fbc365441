"""Connections as httpcore reads and writes them. What is read of one answer has a limit, the status line of an answer
decides whatever follows it, and it is recognised that the receiver has closed a kept connection."""

import asyncio
import contextlib
import select
import ssl
import time
from collections.abc import Iterator
from typing import Any

import anyio.abc
import httpcore
from anyio.streams.tls import TLSStream

from webhooks.egress import answer_heads, exchange
from webhooks.errors import WebhooksError

_READ_BYTES = 2_048
"""Bytes that are read in one step. Between two steps, other tasks run: parsing many small chunks takes long."""
_MAX_HEAD_BYTES = 100 * 1024
"""A longer head is cut off. h11 would refuse it."""
_MAX_ANSWER_READ_BYTES = 256 * 1024
"""Bytes that are read of one answer: more than the longest head and the longest body that is kept (128 KiB, of a token
endpoint) together."""
_STALE_SECONDS = 2.0
"""How long after a request it can turn out that the connection was closed before: a round trip, and time to spare. A
receiver that reads the request, works for longer and then closes may have handled it."""

_BROKEN = (anyio.BrokenResourceError, anyio.ClosedResourceError)


class ClosedWithoutAnswerError(WebhooksError, httpcore.ReadError):
    """The receiver closed the connection and had sent no answer."""


class StaleConnectionError(WebhooksError, httpcore.ReadError):
    """A kept connection ended as the next request was sent, without one byte of an answer: most probably the receiver
    had closed it because it was idle, and never read the request. The cause says how it ended."""


class Stream(httpcore.AsyncNetworkStream):
    """A connection. It has no time limits of its own: the whole request has one. Also closes the socket when a TLS
    handshake is cancelled, which httpcore's stream does not."""

    def __init__(self, inner: anyio.abc.ByteStream, remote_address: str | None = None) -> None:
        """`remote_address` is where it leads, as far as it may be shown."""
        self._inner = inner
        self._remote_address = remote_address
        self._unsent = b""
        """The head of a request, until its body or its end follows: one packet, and one call of the system."""
        self._read = 0
        """Bytes of the answer that were read."""
        self._reused = False
        """Whether an earlier request on this connection was answered."""
        self._written_at = 0.0
        """When the request was written, in seconds of the monotonic clock."""
        self._head: bytearray | None = None
        """The beginning of the answer's head; None when the head has been read."""
        self._ended = False
        """Whether nothing more of the answer is read."""
        self._is_tunnel = False
        """Whether the request asks a proxy for a tunnel. The proxy's answer is left to httpcore."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._ended:
            return b""
        return await (self._receive() if self._head is None else self._read_head(self._head))

    async def _read_head(self, head: bytearray) -> bytes:
        """Return the head of the answer as h11 can read it, and what has arrived behind it. Interim answers (1xx) are
        left out. A head that ends too early or not at all is cut off."""
        searched = 0
        while answer_heads.may_be_http(head):
            if end := answer_heads.end(head, searched):
                if answer_heads.is_interim(head):  # the answer itself follows
                    del head[:end]
                    searched = 0
                    if not head:
                        exchange.begin(exchange.WAIT)
                    continue
                whole, has_body = answer_heads.readable(bytes(head[:end]))
                self._head, self._ended = None, not has_body
                return whole + head[end:] if has_body else whole
            if len(head) > _MAX_HEAD_BYTES:
                break
            searched = len(head)
            try:
                data = await self._receive()
            except httpcore.ReadError:
                if answer_heads.cut_off(bytes(head)) is None:
                    raise
                break
            if not data:
                break
            head += data
        self._head, short = None, answer_heads.cut_off(bytes(head))
        self._ended = short is not None
        return short or bytes(head)  # h11 says what is wrong

    async def _receive(self) -> bytes:
        if self._read >= _MAX_ANSWER_READ_BYTES:
            raise httpcore.RemoteProtocolError("the answer is too long")
        try:
            with _raised_as(httpcore.ReadError):
                try:
                    data = await self._inner.receive(_READ_BYTES)
                except anyio.EndOfStream:
                    data = b""
            if not data and self._head is not None and not self._head:
                raise ClosedWithoutAnswerError("closed")
        except httpcore.ReadError as error:
            if self._reused and not self._read and time.monotonic() - self._written_at < _STALE_SECONDS:
                raise StaleConnectionError("stale") from error
            raise
        if data and self._head is not None and not self._head:
            exchange.begin(exchange.READ)
        self._read += len(data)
        await asyncio.sleep(0)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._read:  # the next request begins
            self._read, self._reused = 0, True
        if not self._unsent:
            self._is_tunnel = self._is_tunnel or buffer.startswith(b"CONNECT ")
            self._head, self._ended = None if self._is_tunnel else bytearray(), False
        is_head = buffer and not self._unsent and buffer.endswith(b"\r\n\r\n")
        self._unsent += buffer
        if is_head or not self._unsent:
            return
        exchange.sent_to(self._remote_address)
        exchange.begin(exchange.CONNECT if self._is_tunnel else exchange.WAIT)
        unsent, self._unsent = self._unsent, b""
        try:
            with _raised_as(httpcore.WriteError):
                await self._inner.send(unsent)
        finally:
            self._written_at = time.monotonic()

    async def aclose(self) -> None:
        await self._inner.aclose()

    def get_extra_info(self, info: str) -> Any:
        """Return whether it `is_readable`: of an idle connection, this says that the receiver has closed it."""
        if info != "is_readable":
            return None
        with contextlib.suppress(anyio.TypedAttributeLookupError, ValueError, OSError):
            polling = select.poll()
            polling.register(self._inner.extra(anyio.abc.SocketAttribute.raw_socket), select.POLLIN)  # noqa: S610
            return bool(polling.poll(0))
        return True  # it is closed

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        exchange.begin(exchange.TLS)
        try:
            with _raised_as(httpcore.ConnectError, (*_BROKEN, anyio.EndOfStream, ssl.SSLError)):
                secured = await TLSStream.wrap(
                    self._inner, hostname=server_hostname, ssl_context=ssl_context, standard_compatible=False
                )
        except BaseException:
            await self._inner.aclose()
            raise
        exchange.end()
        return Stream(secured, self._remote_address)


@contextlib.contextmanager
def _raised_as(error: type[Exception], causes: tuple[type[Exception], ...] = _BROKEN) -> Iterator[None]:
    """Raise the errors of a broken connection as one of httpcore."""
    try:
        yield
    except causes as cause:
        raise error(str(cause)) from cause
