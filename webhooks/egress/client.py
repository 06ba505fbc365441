"""The only way out: every request to a stranger's address leaves through here.

Connections go to addresses that were judged (webhooks/egress/guard.py), while Host and TLS keep the name. No redirects,
cookies, proxies from the environment or content decoding: requests go straight to an httpx transport, whose client
layer would add those.
"""

import asyncio
import errno
import logging
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

import httpx

from webhooks import USER_AGENT, outcomes, retry
from webhooks.egress import url_rules
from webhooks.egress.addresses import Network
from webhooks.egress.connections import Pools
from webhooks.egress.guard import AddressNotAllowedError, Guard, ProxyFaultError
from webhooks.egress.resolver import NotResolvedError, Resolver
from webhooks.settings import Settings
from webhooks.telemetry import traces

log = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 16 * 1024
"""How much of an answer's body is read and kept."""
_LOOKUP_SECONDS = 5.0
_MOST_PIECES = 256
"""Chunks of it: thousands that are a byte each would cost us more than the receiver."""
_BODY_SECONDS = 5.0
"""How long the body may take once the status is known; it never changes the outcome."""
_OUR_LIMITS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_NOT_CONNECTED = ("403", "502", "503", "504")
"""What a proxy answers to CONNECT when it is the destination that cannot be reached, or may not."""


class NoAnswerError(Exception):
    """No answer came, and why: for those who ask through `Egress.transport`. `outcome` is one of webhooks.outcomes."""

    def __init__(self, outcome: str, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


@dataclass(frozen=True)
class SendResult:
    """What came back, or why nothing did. `outcome` is one of webhooks.outcomes; `error` is fit for a tenant's eyes."""

    outcome: str
    status_code: int | None = None
    error: str | None = None
    body: bytes = b""
    complete: bool = True
    """Whether `body` is all of it."""
    retry_after: float | None = None


class Egress:
    """Sends requests to receivers. One for each process; close it when the process ends."""

    def __init__(
        self,
        allowed: Sequence[Network],
        *,
        proxy: str | None = None,
        resolver: Resolver | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """`proxy` is the URL of the operator's HTTP proxy, through which everything goes then."""
        self._proxied = proxy is not None
        self._resolver = resolver or Resolver()
        self._guard = Guard(self._resolver, allowed, proxied=self._proxied)
        self._pools = Pools(
            self._guard, httpx.Proxy(proxy) if proxy else None, context or httpx.create_ssl_context(trust_env=False)
        )

    @classmethod
    def of(cls, settings: Settings) -> Self:
        proxy = settings.egress_proxy
        return cls(settings.egress_allow, proxy=proxy.get_secret_value() if proxy else None)

    async def send(
        self, tenant: str, method: str, url: str, headers: dict[str, str], body: bytes, timeout: float
    ) -> SendResult:
        """One request, `timeout` seconds for all of it. Never raises for what a receiver does, and ProxyFaultError for
        what the operator's proxy does."""
        try:
            target = _target(url)
        except AddressNotAllowedError as error:
            return SendResult(outcomes.ADDRESS_NOT_ALLOWED, error=str(error))
        with traces.request(method, target.host, target.port) as span:
            answer = await self._send(tenant, method, target, {**headers, **traces.traceparent(span)}, body, timeout)
            traces.answered(span, answer.outcome, answer.status_code)
        return answer

    async def _send(
        self, tenant: str, method: str, target: httpx.URL, headers: dict[str, str], body: bytes, timeout: float
    ) -> SendResult:
        plain = target.scheme == "http"
        pool = await self._pools.get(tenant, target)
        deadline = asyncio.get_running_loop().time() + timeout
        request = httpx.Request(
            method,
            target,
            headers={"accept": "*/*", **headers, "accept-encoding": "identity"},
            content=body,
            extensions={"timeout": httpx.Timeout(timeout).as_dict()},
        )
        async with pool as transport:
            try:
                async with asyncio.timeout_at(deadline):
                    if self._proxied:  # no connection of ours is for this host, and so none asks
                        await self._guard.addresses(tenant, target.raw_host.decode(), plain=plain)
                    response = await transport.handle_async_request(request)
            except TimeoutError:
                await self._pools.retire(pool)
                return SendResult(outcomes.TIMEOUT, error=f"no answer within {timeout:.3g} s")
            except asyncio.CancelledError:
                await self._pools.retire(pool)
                raise
            except Exception as error:
                outcome, message = _classify(error)
                return SendResult(outcome, error=message)
            content, complete, pieces = bytearray(), False, 0
            try:
                async with asyncio.timeout_at(min(deadline, asyncio.get_running_loop().time() + _BODY_SECONDS)):
                    async for chunk in response.aiter_raw():
                        content += chunk
                        pieces += 1
                        if len(content) >= MAX_ANSWER_BYTES or pieces == _MOST_PIECES:
                            break
                    else:
                        complete = True
            except TimeoutError:  # the status has come and stands, whatever becomes of the body
                await self._pools.retire(pool)
            except (httpx.HTTPError, OSError):  # ssl.SSLError is an OSError
                pass
            finally:
                await response.aclose()
                await pool.close_dirty()
        status = response.status_code
        if self._proxied and plain and status == httpx.codes.PROXY_AUTHENTICATION_REQUIRED:
            raise _proxy_answered(status)
        return SendResult(
            outcomes.of_status(status),
            status,
            None if response.is_success else f"{status} {httpx.codes.get_reason_phrase(status)}".strip(),
            bytes(content[:MAX_ANSWER_BYTES]),
            complete,
            retry.retry_after_seconds(response.headers.get("retry-after"), datetime.now(UTC)),
        )

    async def check_url(self, tenant: str, text: str) -> str | None:
        """Why a request to this URL would be refused today, for the one who configures it; None if it would not be.
        A name that does not resolve is no reason with https: it may resolve by the time of the first delivery."""
        if len(text) > url_rules.MAX_URL:
            return f"longer than {url_rules.MAX_URL} characters"
        plain = False
        try:
            target = _target(text)
            plain = target.scheme == "http"
            async with asyncio.timeout(_LOOKUP_SECONDS):
                await self._guard.addresses(tenant, target.raw_host.decode(), plain=plain)
        except AddressNotAllowedError as error:
            return str(error)
        except (NotResolvedError, TimeoutError):
            return "https is required" if plain else None
        return None

    def refusal(self, text: str) -> str | None:
        """What is wrong with a URL whatever its host stands for, or None."""
        try:
            _target(text)
        except AddressNotAllowedError as error:
            return str(error)
        return None

    def transport(self, tenant: str, timeout: float) -> httpx.AsyncBaseTransport:
        """The way out for a library that brings an httpx client of its own: guarded, bounded and timed like every other
        request, `timeout` seconds for each. Raises NoAnswerError through that client."""
        return _EgressTransport(self, tenant, timeout)

    async def close(self) -> None:
        await self._pools.close()
        await self._resolver.close()


class _EgressTransport(httpx.AsyncBaseTransport):
    """Egress.send as an httpx transport."""

    def __init__(self, egress: Egress, tenant: str, timeout: float) -> None:
        self._egress = egress
        self._tenant = tenant
        self._timeout = timeout

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        headers = dict(request.headers) | {"user-agent": USER_AGENT}
        answer = await self._egress.send(
            self._tenant, request.method, str(request.url), headers, await request.aread(), self._timeout
        )
        if answer.status_code is None:
            raise NoAnswerError(answer.outcome, answer.error or answer.outcome)
        return httpx.Response(answer.status_code, content=answer.body, request=request)


def _target(text: str) -> httpx.URL:
    """Raises AddressNotAllowedError."""
    problem = url_rules.problem(text)
    if problem is None:
        try:
            url = httpx.URL(text)
            _ = url.host  # decodes A-labels, and raises for what is none
        except (httpx.InvalidURL, UnicodeError):
            problem = "not a URL"
        else:
            problem = url_rules.host_problem(url.raw_host.decode().removesuffix("."))
            if problem is None:
                return url
    raise AddressNotAllowedError(problem)


def _classify(error: Exception) -> tuple[str, str]:
    """Outcome and message of a request that got no answer. The causes hold addresses and library internals, so no
    message is built from them."""
    if isinstance(error, ProxyFaultError):
        raise error
    for cause in _chain(error):
        if isinstance(cause, OSError) and cause.errno in _OUR_LIMITS:
            raise error  # our machine's fault
        match cause:
            case AddressNotAllowedError():
                return outcomes.ADDRESS_NOT_ALLOWED, str(cause)
            case NotResolvedError():
                return outcomes.DNS_ERROR, str(cause)
            case ssl.SSLCertVerificationError():
                return outcomes.TLS_ERROR, f"certificate not accepted: {cause.verify_message}"
            case ssl.SSLError():
                return outcomes.TLS_ERROR, "TLS handshake failed"
            case ConnectionRefusedError():
                return outcomes.CONNECTION_REFUSED, "connection refused"
            case ConnectionResetError() | BrokenPipeError():
                return outcomes.CONNECTION_RESET, "connection reset by the receiver"
    match error:
        case httpx.TimeoutException():
            return outcomes.TIMEOUT, "no answer in time"
        case httpx.ConnectError():
            return outcomes.CONNECTION_FAILED, "connection failed"
        case httpx.ProxyError():  # its answer to CONNECT, as "502 Bad Gateway"
            status = str(error).split()[0]
            if status not in _NOT_CONNECTED:
                raise _proxy_answered(status) from error
            return outcomes.CONNECTION_FAILED, "the proxy could not connect"
        case httpx.ReadError() | httpx.WriteError():
            return outcomes.CONNECTION_RESET, "connection reset by the receiver"
        case httpx.RemoteProtocolError():
            return outcomes.PROTOCOL_ERROR, "the answer is not valid HTTP/1.1"
        case httpx.TransportError():
            return outcomes.CONNECTION_FAILED, "connection failed"
    raise error


def _proxy_answered(status: object) -> ProxyFaultError:
    return ProxyFaultError(f"the proxy of WEBHOOKS_EGRESS_PROXY answered {status}")


def _chain(error: BaseException | None) -> Iterable[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                yield from _chain(inner)
        error = error.__cause__ or error.__context__
