"""TLS to receivers: whom we trust, the certificates that we show, and what a failure means."""

import _ssl
import asyncio
import contextlib
import os
import re
import ssl
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

import httpcore
import httpx

from webhooks.errors import CannotRunError, WebhooksError

_MAX_CONTEXTS = 100
"""Contexts with a client certificate that are kept. Each holds all certificate authorities, about 0.5 MB."""
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")
_HANDSHAKE = 22
"""TLS content type of handshake messages: RFC 8446, B.1."""
_SERVER_HELLO = 2
_CERTIFICATE_REQUEST = 13
_FINISHED = 20
"""TLS message types: RFC 8446, B.3."""

_OLD = "the receiver speaks only an old version of TLS; TLS 1.2 or newer is required"
_REASONS = {
    "TLSV1_ALERT_PROTOCOL_VERSION": _OLD,
    "UNSUPPORTED_PROTOCOL": _OLD,
    "WRONG_SSL_VERSION": _OLD,
    "WRONG_VERSION_NUMBER": "the receiver does not speak TLS on this port",
    "HTTP_REQUEST": "the receiver does not speak TLS on this port",
    "PACKET_LENGTH_TOO_LONG": "the receiver does not speak TLS on this port",
    "RECORD_LAYER_FAILURE": "the receiver does not speak TLS on this port",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the receiver accepts none of our TLS versions and ciphers",
    "TLSV1_ALERT_INSUFFICIENT_SECURITY": "the receiver accepts none of our TLS versions and ciphers",
    "DH_KEY_TOO_SMALL": "the receiver's Diffie-Hellman key is too small",
    "TLSV1_UNRECOGNIZED_NAME": "the receiver has no certificate for this host name",
    "TLSV1_ALERT_UNRECOGNIZED_NAME": "the receiver has no certificate for this host name",
}
"""OpenSSL's reasons of a failed handshake, in words."""
_REFUSALS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it requires one",
    "SSLV3_ALERT_BAD_CERTIFICATE": "bad certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "unsupported certificate",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "certificate revoked",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "certificate expired",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "certificate not accepted",
    "TLSV1_ALERT_UNKNOWN_CA": "unknown certificate authority",
    "TLSV1_ALERT_ACCESS_DENIED": "access denied",
    "TLSV1_ALERT_DECRYPT_ERROR": "signature not accepted",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "handshake failure",
}
"""Alerts with which a receiver answers a client certificate, or that there is none."""


@dataclass(frozen=True)
class ClientCertificate:
    """A certificate that we show to a receiver: a PEM chain that begins with our own certificate, and its PEM key."""

    chain: str = field(repr=False)
    key: str = field(repr=False)


class BadCertificateError(WebhooksError):
    """TLS cannot use a client certificate. The message says why."""


@dataclass
class Handshake:
    """What a receiver has sent in the handshakes of one request, and whether we have a client certificate."""

    has_certificate: bool
    received: set[int] = field(default_factory=set)
    """Message types."""

    @property
    def asked(self) -> bool:
        """Whether the receiver asked for a client certificate."""
        return _CERTIFICATE_REQUEST in self.received


_current: ContextVar[Handshake | None] = ContextVar("handshake", default=None)


@contextlib.contextmanager
def watching(certificate: ClientCertificate | None) -> Iterator[Handshake]:
    """Record the handshakes that this task makes in the block."""
    handshake = Handshake(certificate is not None)
    token = _current.set(handshake)
    try:
        yield handshake
    finally:
        _current.reset(token)


class Contexts:
    """The TLS contexts of a process: one without a client certificate, and one for each certificate in use."""

    def __init__(self, ca_bundle: Path | None = None) -> None:
        """`ca_bundle` is a PEM file of authorities that are trusted in addition to the public ones. It is read now.
        Raises CannotRunError."""
        self._extra = _read_bundle(ca_bundle) if ca_bundle else ""
        self._plain = _context(self._extra)
        self._with: OrderedDict[ClientCertificate, ssl.SSLContext] = OrderedDict()

    async def get(self, certificate: ClientCertificate | None) -> ssl.SSLContext:
        """Return the context that shows `certificate`. Raises BadCertificateError."""
        if certificate is None:
            return self._plain
        if certificate not in self._with:
            # Loading the public authorities takes up to 0.1 s, without the interpreter's lock.
            self._with[certificate] = await asyncio.to_thread(_context, self._extra, certificate)
        self._with.move_to_end(certificate)
        while len(self._with) > _MAX_CONTEXTS:
            self._with.popitem(last=False)
        return self._with[certificate]


def check(certificate: ClientCertificate) -> None:
    """Raise BadCertificateError if TLS refuses this certificate, for example because its key is too short."""
    _load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate)


def _context(extra: str, certificate: ClientCertificate | None = None) -> ssl.SSLContext:
    context = httpx.create_ssl_context(trust_env=False)
    # As in Python 3.11 to 3.13 alike: a trusted certificate need not be a root, and private authorities need not have
    # every field of RFC 5280.
    context.verify_flags = (context.verify_flags | ssl.VERIFY_X509_PARTIAL_CHAIN) & ~ssl.VERIFY_X509_STRICT
    if extra:
        context.load_verify_locations(cadata=extra)
    if certificate:
        _load(context, certificate)
    # Python's own setter adds 30 us to each request.
    _ssl._SSLContext._msg_callback.__set__(context, _record)  # type: ignore[attr-defined]
    return context


def _record(_: object, direction: str, version: int, content: int, message: int, data: bytes) -> None:
    """Called by OpenSSL for each message of a handshake, in the task that makes it."""
    if content == _HANDSHAKE and direction == "read" and (handshake := _current.get()):
        handshake.received.add(message)


def _load(context: ssl.SSLContext, certificate: ClientCertificate) -> None:
    try:
        with _file(certificate.chain) as chain, _file(certificate.key) as key:
            context.load_cert_chain(chain, key, password=lambda: b"")  # without a password, OpenSSL asks the terminal
    except ssl.SSLError as error:
        raise BadCertificateError(f"TLS cannot use it: {_words(error.reason)}") from None


@contextlib.contextmanager
def _file(text: str) -> Iterator[str]:
    """Yield the path of a file with this text, which only this process can read: Python's ssl loads files only. On
    Linux it is in memory."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("certificate")
        path = f"/proc/self/fd/{descriptor}"
    else:
        descriptor, path = tempfile.mkstemp()
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            yield path
    finally:
        if sys.platform != "linux":
            Path(path).unlink()


def _read_bundle(file: Path) -> str:
    """Return the certificates of the file as PEM, one after the other. Raises CannotRunError."""
    try:
        found = _PEM.findall(file.read_bytes().decode("ascii", "replace"))
    except OSError as error:
        raise CannotRunError(f"Cannot read WEBHOOKS_CA_BUNDLE {file}: {error.strerror}") from None
    if not found:
        raise CannotRunError(
            f"WEBHOOKS_CA_BUNDLE {file} holds no certificate. It must hold PEM certificates, each between "
            "-----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----."
        )
    for number, pem in enumerate(found, 1):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
        except (ssl.SSLError, ValueError):
            raise CannotRunError(f"Certificate {number} of WEBHOOKS_CA_BUNDLE {file} cannot be read.") from None
    return "\n".join(found)


def failure(causes: Sequence[BaseException], handshake: Handshake) -> str | None:
    """Return what went wrong with TLS in a request that failed with these causes, outermost first, or None if it was
    something else. The message may be shown to the tenant: it quotes OpenSSL's reason and nothing else."""
    for cause in causes:
        match cause:
            case BadCertificateError():
                return f"client certificate: {cause}"
            case ssl.SSLCertVerificationError():
                return f"certificate not accepted: {cause.verify_message}"
            case ssl.SSLEOFError():
                return _closed(handshake)
            case ssl.SSLError():
                return _alert(cause.reason or "", handshake)
    if handshake.asked and any(_is_end(cause) for cause in causes):
        return _closed(handshake)
    return None


def _is_end(cause: BaseException) -> bool:
    """Return whether the receiver closed the connection, properly or not."""
    if isinstance(cause, httpcore.RemoteProtocolError):
        return "disconnected" in str(cause)
    return isinstance(cause, httpcore.ReadError | httpcore.WriteError)


def _closed(handshake: Handshake) -> str:
    """Return the message for a connection that the receiver closed without saying why."""
    if handshake.asked:
        got = "the webhook's" if handshake.has_certificate else "none"
        return f"the receiver asked for a client certificate, got {got}, and closed the connection"
    if _SERVER_HELLO not in handshake.received:
        return (
            "the receiver closed the connection at the start of the TLS handshake; it may not speak TLS on this port, "
            "or no version from TLS 1.2 on"
        )
    return "the receiver closed the connection during the TLS handshake"


def _alert(reason: str, handshake: Handshake) -> str:
    """Return the message for OpenSSL's reason."""
    if handshake.asked and (refusal := _REFUSALS.get(reason)):
        if handshake.has_certificate:
            return f"the receiver refused the webhook's client certificate: {refusal}"
        return f"the receiver asked for a client certificate and got none: {refusal}"
    if _FINISHED in handshake.received:
        return f"TLS failed after the handshake: {_words(reason)}"
    return f"TLS handshake failed: {_REASONS.get(reason) or _words(reason)}"


def _words(reason: str | None) -> str:
    """Return one of OpenSSL's reasons, which are names in capitals, in small letters."""
    return reason.lower().replace("_", " ") if reason else "no reason given"
