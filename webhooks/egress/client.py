"""The HTTP client for receivers: every request to an address that a tenant chose is sent here.

A connection goes to an address that was checked (webhooks/egress/guard.py); the Host header and TLS keep the name.
Requests use httpcore's connections without httpx's client: the client would follow redirects, keep cookies, read
proxies from the environment and decode content.
"""

import asyncio
import contextlib
import errno
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import httpcore
import httpx

from webhooks import USER_AGENT, outcomes, retry
from webhooks.egress import compression, test_receiver, tls, url_rules
from webhooks.egress.addresses import Network
from webhooks.egress.connections import Pool, Pools
from webhooks.egress.exchange import Exchange, recording
from webhooks.egress.guard import AddressNotAllowedError, Guard, ProxyFaultError
from webhooks.egress.resolver import NotResolvedError, Resolver
from webhooks.egress.streams import ClosedWithoutAnswerError, StaleConnectionError
from webhooks.egress.tls import ClientCertificate, Handshake
from webhooks.errors import OutcomeError
from webhooks.settings import Settings
from webhooks.telemetry import traces

MAX_ANSWER_BYTES = 16 * 1024
"""How much of an answer's body is read and kept."""
_MAX_BODY_CHUNKS = 256
"""How many pieces of a body are read: thousands of one byte each would cost us more CPU time than the receiver."""
_MAX_BODY_SECONDS = 5.0
"""How long the body may take after the status has arrived. The body never changes the outcome."""
_URL_CHECK_SECONDS = 5.0
"""How long `check_url` waits for name servers: a person waits for its result."""
_LOCAL_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""This machine has no socket or memory left. That is an internal error, not a failure of the receiver."""
_MAX_SHOWN_REDIRECT_CHARACTERS = 200
_UNKNOWN_PLAIN_HOST = (
    "the host name does not resolve; http is allowed only for hosts in the operator's networks, others need https"
)
_FAILURES = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, httpcore.ProxyError)
"""How a request or an answer can fail. httpcore has no name for all of them."""
_CONNECT_FAILED_STATUSES = ("403", "502", "503", "504")
"""A proxy's answers to CONNECT when it cannot reach the destination, or does not allow it."""


class NoAnswerError(OutcomeError):
    """A request got no answer. Callers of `Egress.transport` get it; `Egress.send` returns it as a Answer."""


@dataclass(frozen=True)
class Answer:
    """An answer, or the reason why there is none. `outcome` is a name of webhooks/outcomes.py; `error` may be shown to
    the tenant."""

    outcome: str
    status_code: int | None = None
    error: str | None = None
    body: bytes = b""
    complete: bool = True
    """Whether `body` is the whole body."""
    retry_after: float | None = None
    """Seconds that the receiver asks us to wait."""
    exchange: Exchange | None = field(default=None, compare=False, repr=False)
    """How it went over the wire, with the headers in clear. None if nothing may be sent to this address."""


class Egress:
    """Sends requests to receivers. A process has one, and closes it at its end."""

    def __init__(
        self,
        allowed: Sequence[Network],
        *,
        proxy: str | None = None,
        resolver: Resolver | None = None,
        ca_bundle: Path | None = None,
    ) -> None:
        """`allowed` are private networks that requests may go to. `proxy` is the URL of the operator's HTTP proxy; with
        one, every request goes through it. `ca_bundle` is a PEM file of authorities that are trusted in addition to the
        public ones. Raises CannotRunError."""
        self._proxied = proxy is not None
        self._resolver = resolver or Resolver()
        self._guard = Guard(self._resolver, allowed, proxied=self._proxied)
        self._test_receiver = test_receiver.TestReceiver()
        self._pools = Pools(self._guard, httpx.Proxy(proxy) if proxy else None, tls.Contexts(ca_bundle))

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the way out that the settings describe. Raises CannotRunError."""
        proxy = settings.egress_proxy
        return cls(
            settings.egress_allow,
            proxy=proxy.get_secret_value() if proxy else None,
            ca_bundle=settings.ca_bundle,
        )

    async def send(
        self,
        tenant: str,
        method: str,
        url: str,
        headers: dict[str, str],
        body: bytes,
        timeout: float,
        *,
        certificate: ClientCertificate | None = None,
        max_body_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """Send one request. `timeout` is in seconds, for request and answer together. `certificate` is shown to a
        receiver that asks for one. `max_body_bytes` of the answer's body are kept. Never raises for a failure of the
        receiver. Raises ProxyFaultError if the operator's proxy fails."""
        try:
            target = _target(url)
        except AddressNotAllowedError as error:
            return Answer(outcomes.ADDRESS_NOT_ALLOWED, error=str(error))
        with traces.request(method, target.host, target.port) as span:
            request = httpx.Request(
                method,
                target,
                headers=_headers(headers | traces.traceparent(span)),
                content=body,
            )
            exchange = Exchange(request.headers.raw, len(body))
            answer = await self._send(tenant, request, exchange, timeout, certificate, max_body_bytes)
            traces.answered(span, answer.outcome, answer.status_code)
        return answer

    async def _send(
        self,
        tenant: str,
        request: httpx.Request,
        exchange: Exchange,
        timeout: float,
        certificate: ClientCertificate | None,
        max_body_bytes: int,
    ) -> Answer:
        if request.url.host == test_receiver.HOST:
            status, content = self._test_receiver.answer(request.url.path, request.headers, request.content)
            exchange.response_size = len(content)
            return self._result(request.url, httpx.Response(status), exchange, content, True)
        deadline = asyncio.get_running_loop().time() + timeout
        url = request.url
        sent = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.content,
            extensions={"timeout": {"connect": timeout}},
        )
        try:
            pool = await self._pools.get(tenant, sent.url, certificate)
        except tls.BadCertificateError as error:
            return Answer(outcomes.TLS_ERROR, error=f"client certificate: {error}")
        try:
            return await self._exchange(pool, url, sent, exchange, deadline, timeout, max_body_bytes)
        except NoAnswerError as error:
            if not _is_stale(error):
                return _no_answer(error, exchange)
        # The receiver had closed the idle connection, and most probably never read the request. It gets it once more,
        # on a new connection: the other idle ones are as old.
        await pool.forget_kept()
        exchange.start()
        try:
            return await self._exchange(pool, url, sent, exchange, deadline, timeout, max_body_bytes, kept=False)
        except NoAnswerError as error:
            return _no_answer(error, exchange)

    async def _exchange(
        self,
        pool: Pool,
        target: httpx.URL,
        request: httpcore.Request,
        exchange: Exchange,
        deadline: float,
        timeout: float,
        max_body_bytes: int,
        *,
        kept: bool = True,
    ) -> Answer:
        """Send the request once; without `kept`, on a new connection. Raises NoAnswerError, or ProxyFaultError."""
        tenant, _, certificate = pool.key
        with _timed(timeout):
            async with asyncio.timeout_at(deadline):
                connection = await pool.take(kept=kept)
        try:
            with tls.watching(certificate) as handshake, recording(exchange):
                try:
                    with _timed(timeout):
                        async with asyncio.timeout_at(deadline):
                            if self._proxied:  # without a proxy, the connection's backend asks the guard
                                await self._guard.addresses(tenant, target.raw_host.decode(), plain=_is_plain(target))
                            response = await connection.handle_async_request(request)
                except NoAnswerError:
                    raise
                except Exception as error:
                    raise NoAnswerError(*_classify(error, handshake)) from error
                exchange.http_version = response.extensions["http_version"].decode("ascii", "replace")
                exchange.response_headers = response.headers
                content, complete = await _read_body(response, deadline, max_body_bytes)
        finally:
            exchange.end()
            await pool.give_back(connection)
        exchange.response_size = len(content)
        head = httpx.Response(response.status, headers=response.headers)
        encoding = head.headers.get("content-encoding", "")
        content, complete = compression.readable(content, complete, encoding, max_body_bytes)
        return self._result(target, head, exchange, content, complete)

    def _result(
        self, target: httpx.URL, response: httpx.Response, exchange: Exchange, content: bytes, complete: bool
    ) -> Answer:
        """Raises ProxyFaultError if the answer is the proxy's demand for credentials."""
        status = response.status_code
        if self._proxied and _is_plain(target) and status == httpx.codes.PROXY_AUTHENTICATION_REQUIRED:
            raise _proxy_fault(status)
        return Answer(
            outcomes.of_status(status),
            status,
            None if response.is_success else _description(target, response),
            content,
            complete,
            retry.retry_after_seconds(response.headers.get("retry-after"), datetime.now(UTC)),
            exchange,
        )

    async def check_url(self, tenant: str, text: str) -> str | None:
        """Return why a request to this URL would be refused now, or None. With https, a name that does not resolve is
        accepted: it may resolve before the first delivery."""
        if len(text) > url_rules.MAX_URL_CHARACTERS:
            return f"longer than {url_rules.MAX_URL_CHARACTERS} characters"
        plain = False
        try:
            target = _target(text)
            plain = _is_plain(target)
            async with asyncio.timeout(_URL_CHECK_SECONDS):
                await self._guard.addresses(tenant, target.raw_host.decode(), plain=plain)
        except AddressNotAllowedError as error:
            return str(error)
        except (NotResolvedError, TimeoutError):
            return _UNKNOWN_PLAIN_HOST if plain else None
        return None

    def refusal(self, text: str) -> str | None:
        """Return what is wrong with a URL, without looking up its host; None if nothing is."""
        try:
            _target(text)
        except AddressNotAllowedError as error:
            return str(error)
        return None

    def transport(
        self, tenant: str, timeout: float, *, max_body_bytes: int = MAX_ANSWER_BYTES
    ) -> httpx.AsyncBaseTransport:
        """Return a transport for a library that uses an httpx client of its own. Its requests are checked and limited
        like every other request; `timeout` is in seconds for each of them. The transport raises NoAnswerError. The
        extensions of a response hold the Answer as `answer`."""
        return _EgressTransport(self, tenant, timeout, max_body_bytes)

    async def close(self) -> None:
        """Close all connections, also those in use."""
        await self._pools.close()
        await self._resolver.close()


class _EgressTransport(httpx.AsyncBaseTransport):
    """Makes `Egress.send` an httpx transport."""

    def __init__(self, egress: Egress, tenant: str, timeout: float, max_body_bytes: int) -> None:
        self._egress = egress
        self._tenant = tenant
        self._timeout = timeout
        self._max_body_bytes = max_body_bytes

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        headers = dict(request.headers) | {"user-agent": USER_AGENT}
        answer = await self._egress.send(
            self._tenant,
            request.method,
            str(request.url),
            headers,
            await request.aread(),
            self._timeout,
            max_body_bytes=self._max_body_bytes,
        )
        if answer.status_code is None:
            raise NoAnswerError(answer.outcome, answer.error or answer.outcome)
        return httpx.Response(answer.status_code, content=answer.body, request=request, extensions={"answer": answer})


@contextlib.contextmanager
def _timed(timeout: float) -> Iterator[None]:
    """Raise NoAnswerError if the block takes too long."""
    try:
        yield
    except TimeoutError:
        raise NoAnswerError(outcomes.TIMEOUT, f"no answer within {timeout:.3g} s") from None


async def _read_body(response: httpcore.Response, deadline: float, max_bytes: int) -> tuple[bytes, bool]:
    """Return the beginning of the body, and whether it is the whole body. Never raises for a failure of the receiver:
    the outcome follows from the status alone."""
    content, complete, chunks = bytearray(), False, 0
    try:
        async with asyncio.timeout_at(min(deadline, asyncio.get_running_loop().time() + _MAX_BODY_SECONDS)):
            async for chunk in response.aiter_stream():
                content += chunk
                chunks += 1
                if len(content) >= max_bytes or chunks == _MAX_BODY_CHUNKS:
                    break
            else:
                complete = True
    except (*_FAILURES, OSError):  # TimeoutError and ssl.SSLError are OSErrors
        pass
    finally:
        await response.aclose()
    return bytes(content[:max_bytes]), complete


def _no_answer(error: NoAnswerError, exchange: Exchange) -> Answer:
    """Return the reason as an Answer. Of an address that is not allowed nothing else is told: not how long its lookup
    took, either."""
    shown = None if error.outcome == outcomes.ADDRESS_NOT_ALLOWED else exchange
    return Answer(error.outcome, error=str(error), exchange=shown)


def _headers(given: dict[str, str]) -> dict[str, str]:
    """Return the headers of a request. Their names are sent as they were given."""
    headers = {name: value for name, value in given.items() if name.lower() != "accept-encoding"}
    accept = {} if any(name.lower() == "accept" for name in given) else {"accept": "*/*"}
    return {**accept, **headers, "accept-encoding": "identity"}


def _target(text: str) -> httpx.URL:
    """Parse a URL. Raises AddressNotAllowedError if no request may go to it."""
    problem = url_rules.problem(text)
    if problem is None:
        try:
            url = httpx.URL(text)
            _ = url.host  # decodes A-labels; raises if one is invalid
            if url.raw_host.endswith(b"."):  # certificates name hosts without it
                url = url.copy_with(host=url.raw_host[:-1].decode())
        except (httpx.InvalidURL, UnicodeError):
            problem = "not a URL"
        else:
            problem = url_rules.host_problem(url.raw_host.decode())
            if problem is None:
                return url
    raise AddressNotAllowedError(problem)


def _description(target: httpx.URL, response: httpx.Response) -> str:
    """Return what an answer other than 2xx says. Of a redirect's destination, the query and credentials are left out:
    they may repeat what was sent."""
    text = f"{response.status_code} {httpx.codes.get_reason_phrase(response.status_code)}".strip()
    if not response.has_redirect_location:
        return text
    try:
        place = target.join(response.headers["location"])
        shown = str(place.copy_with(userinfo=b"", query=None, fragment=None))
    except (httpx.InvalidURL, UnicodeError):
        return f"{text}, not followed"
    return f"{text}, not followed: it leads to {shown[:_MAX_SHOWN_REDIRECT_CHARACTERS]}"


def _is_plain(target: httpx.URL) -> bool:
    """Return whether requests to `target` go without TLS."""
    return target.scheme == "http"


def _classify(error: Exception, handshake: Handshake) -> tuple[str, str]:
    """Return the outcome and the message for a request that failed with `error`. Raises `error` itself if it is an
    internal error. No message quotes a cause: causes hold addresses and details of our libraries."""
    if isinstance(error, ProxyFaultError):
        raise error
    causes = list(_chain(error))
    if any(isinstance(cause, OSError) and cause.errno in _LOCAL_SHORTAGES for cause in causes):
        raise error
    if message := tls.failure(causes, handshake):
        return outcomes.TLS_ERROR, message
    for cause in causes:
        match cause:
            case AddressNotAllowedError():
                return outcomes.ADDRESS_NOT_ALLOWED, str(cause)
            case NotResolvedError():
                return outcomes.DNS_ERROR, str(cause)
            case ClosedWithoutAnswerError():
                return outcomes.CONNECTION_RESET, "the receiver closed the connection without an answer"
            case ConnectionRefusedError():
                return outcomes.CONNECTION_REFUSED, "connection refused"
            case ConnectionResetError() | BrokenPipeError():
                return outcomes.CONNECTION_RESET, "connection reset by the receiver"
    match error:
        case httpcore.TimeoutException():
            return outcomes.TIMEOUT, "no answer in time"
        case httpcore.ConnectError():
            return outcomes.CONNECTION_FAILED, "connection failed"
        case httpcore.ProxyError():  # its text is the proxy's answer to CONNECT: "502 Bad Gateway"
            status = str(error).split()[0]
            if status not in _CONNECT_FAILED_STATUSES:
                raise _proxy_fault(status) from error
            return outcomes.CONNECTION_FAILED, "the proxy could not connect"
        case httpcore.ReadError() | httpcore.WriteError():
            return outcomes.CONNECTION_RESET, "connection reset by the receiver"
        case httpcore.RemoteProtocolError():
            return outcomes.PROTOCOL_ERROR, "the answer is not valid HTTP/1.1"
        case httpcore.NetworkError() | httpcore.ProtocolError():
            return outcomes.CONNECTION_FAILED, "connection failed"
    raise error


def _is_stale(error: NoAnswerError) -> bool:
    """Return whether a kept connection turned out to be closed, so that the request may be sent once more."""
    return any(isinstance(cause, StaleConnectionError) for cause in _chain(error))


def _proxy_fault(status: object) -> ProxyFaultError:
    return ProxyFaultError(f"the proxy of WEBHOOKS_EGRESS_PROXY answered {status}")


def _chain(error: BaseException | None) -> Iterable[BaseException]:
    """Yield the error, its causes and the members of groups."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                yield from _chain(inner)
        error = error.__cause__ or error.__context__
