"""How a request proves that it comes from the sender of a source. Pure.

What the headers alone prove is checked before the body is read, so that refusing costs little. Every comparison takes
the same time for every wrong value, and every secret that is valid now is tried.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from webhooks.errors import WebhooksError

TOLERANCE_SECONDS = 300
"""How far a signed timestamp may be from our clock. Stripe, Slack and Standard Webhooks recommend five minutes."""

_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_PUBLIC_KEY = "whpk_"


class SenderStyle(StrEnum):
    """Whose way it is."""

    STANDARD = "standard"
    GITHUB = "github"
    STRIPE = "stripe"
    SLACK = "slack"
    SHOPIFY = "shopify"
    KEY_VALUE = "key_value"
    BASIC = "basic"
    NONE = "none"


class Verification(BaseModel):
    """What a source asks of a request, without the secrets. `name` and `place` say where a `key_value` is."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    type: SenderStyle
    name: str = ""
    place: Literal["header", "query"] = Field("header", alias="in")
    username: str = ""


@dataclass(frozen=True)
class Head:
    """A request without its body. Names of headers are in lower case."""

    headers: Mapping[str, str]
    query: Mapping[str, str]
    address: str = ""


@dataclass(frozen=True)
class Sender:
    """The sender's own id and type of a message; None where its style has none."""

    id: str | None = None
    type: str | None = None


class NotVerifiedError(WebhooksError):
    """The request does not prove where it comes from. The message is for the operator, not for the sender."""


def check_head(verification: Verification, secrets: Sequence[str], head: Head, now: float) -> None:
    """Check what the headers and the query alone prove. `now` is in Unix seconds. Raises NotVerifiedError."""
    style = verification.type
    if style is SenderStyle.NONE:
        return
    if not secrets:
        raise NotVerifiedError("the source has no secret yet")
    match style:
        case SenderStyle.KEY_VALUE:
            given = (head.headers if verification.place == "header" else head.query).get(_key_of(verification))
            if given is None:
                raise NotVerifiedError(f"the {verification.place} {verification.name} is missing")
            if not _equals_any(given, secrets):
                raise NotVerifiedError(f"the {verification.place} {verification.name} has another value")
        case SenderStyle.BASIC:
            _check_basic(verification.username, secrets, head)
        case SenderStyle.STANDARD:
            _header(head, "webhook-id", "svix-id")
            _header(head, "webhook-signature", "svix-signature")
            _check_time(_header(head, "webhook-timestamp", "svix-timestamp"), now)
        case SenderStyle.STRIPE:
            _check_time(_of_stripe(head)[0], now)
        case SenderStyle.SLACK:
            _header(head, "x-slack-signature")
            _check_time(_header(head, "x-slack-request-timestamp"), now)
        case SenderStyle.GITHUB:
            _header(head, "x-hub-signature-256")
        case SenderStyle.SHOPIFY:
            _header(head, "x-shopify-hmac-sha256")


def check_body(verification: Verification, secrets: Sequence[str], head: Head, body: bytes) -> None:
    """Check the signature of a request whose head was checked. Raises NotVerifiedError."""
    match verification.type:
        case SenderStyle.STANDARD:
            signed = b".".join(
                (
                    _header(head, "webhook-id", "svix-id").encode("latin-1"),
                    _header(head, "webhook-timestamp", "svix-timestamp").encode(),
                    body,
                )
            )
            given = _header(head, "webhook-signature", "svix-signature").split()
            right = sum(_is_signed(secret, signed, given) for secret in secrets) > 0
        case SenderStyle.STRIPE:
            time, given = _of_stripe(head)
            signed = time.encode() + b"." + body
            right = sum(_equals_any(_hmac(secret, signed).hex(), given) for secret in secrets) > 0
        case SenderStyle.SLACK:
            signed = b":".join((b"v0", _header(head, "x-slack-request-timestamp").encode(), body))
            expected = [f"v0={_hmac(secret, signed).hex()}" for secret in secrets]
            right = _equals_any(_header(head, "x-slack-signature"), expected)
        case SenderStyle.GITHUB:
            expected = [f"sha256={_hmac(secret, body).hex()}" for secret in secrets]
            right = _equals_any(_header(head, "x-hub-signature-256"), expected)
        case SenderStyle.SHOPIFY:
            expected = [base64.b64encode(_hmac(secret, body)).decode() for secret in secrets]
            right = _equals_any(_header(head, "x-shopify-hmac-sha256"), expected)
        case _:
            return
    if not right:
        raise NotVerifiedError("the signature is wrong: another secret, or a changed body")


def sender_of(style: SenderStyle, head: Head, data: JsonValue) -> Sender:
    """Return the sender's id and type of a message that is verified. `data` is what its body holds."""
    match style:
        case SenderStyle.STANDARD:
            return Sender(_header(head, "webhook-id", "svix-id"), _text(data, "type"))
        case SenderStyle.GITHUB:
            return Sender(head.headers.get("x-github-delivery"), head.headers.get("x-github-event"))
        case SenderStyle.SHOPIFY:
            return Sender(head.headers.get("x-shopify-webhook-id"), head.headers.get("x-shopify-topic"))
        case SenderStyle.STRIPE:
            return Sender(_text(data, "id"), _text(data, "type"))
        case SenderStyle.SLACK:
            return Sender(_text(data, "event_id"), _text(data, "event", "type") or _text(data, "type"))
    return Sender()


def challenge_of(style: SenderStyle, data: JsonValue) -> str | None:
    """Return what Slack wants to get back when somebody registers the URL there; None for any other message."""
    if style is SenderStyle.SLACK and _text(data, "type") == "url_verification":
        return _text(data, "challenge")
    return None


def is_right_token(token: str | None, given: str) -> bool:
    """Return whether this is the verify token, in constant time."""
    return token is not None and _equals_any(given, [token])


def is_usable(style: SenderStyle, secret: str) -> bool:
    """Return whether a style can use this secret."""
    if style is not SenderStyle.STANDARD:
        return True
    public = secret.startswith(_PUBLIC_KEY)
    try:
        key = base64.b64decode(secret.removeprefix(_PUBLIC_KEY if public else "whsec_"), validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(key) == 32 if public else len(key) > 0


def _key_of(verification: Verification) -> str:
    return verification.name.lower() if verification.place == "header" else verification.name


def _header(head: Head, *names: str) -> str:
    for name in names:
        if (value := head.headers.get(name)) is not None:
            return value
    raise NotVerifiedError(f"the header {names[0]} is missing")


def _check_time(timestamp: str, now: float) -> None:
    if not _TIMESTAMP.fullmatch(timestamp):
        raise NotVerifiedError("the timestamp is not a number of seconds")
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        raise NotVerifiedError(f"the timestamp is {now - int(timestamp):.0f} s old; {TOLERANCE_SECONDS} are allowed")


def _check_basic(username: str, secrets: Sequence[str], head: Head) -> None:
    scheme, _, encoded = _header(head, "authorization").partition(" ")
    try:
        given = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        given = b""
    right = [hmac.compare_digest(given, f"{username}:{secret}".encode()) for secret in secrets]
    if scheme.lower() != "basic" or not any(right):
        raise NotVerifiedError("the user name or the password is wrong")


def _of_stripe(head: Head) -> tuple[str, list[str]]:
    """Return the timestamp and the signatures of Stripe's header."""
    pairs = [part.strip().partition("=") for part in _header(head, "stripe-signature").split(",")]
    return next((value for name, _, value in pairs if name == "t"), ""), [
        value for name, _, value in pairs if name == "v1"
    ]


def _is_signed(secret: str, signed: bytes, given: Sequence[str]) -> bool:
    """Return whether one of the signatures of Standard Webhooks was made with this secret or its private key."""
    if not secret.startswith(_PUBLIC_KEY):
        key = base64.b64decode(secret.removeprefix("whsec_"))
        expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        return _equals_any(f"v1,{expected}", given)
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(secret.removeprefix(_PUBLIC_KEY)))
    for signature in given:
        version, _, encoded = signature.partition(",")
        try:
            if version == "v1a":
                public.verify(base64.b64decode(encoded), signed)
                return True
        except (InvalidSignature, binascii.Error, ValueError):
            continue
    return False


def _hmac(secret: str, signed: bytes) -> bytes:
    return hmac.digest(secret.encode(), signed, hashlib.sha256)


def _equals_any(value: str, others: Sequence[str]) -> bool:
    """Return whether one of the others equals the value. All are compared, each in constant time."""
    return sum(hmac.compare_digest(value.encode(), other.encode()) for other in others) > 0


def _text(data: JsonValue, *path: str) -> str | None:
    for name in path:
        data = data.get(name) if isinstance(data, dict) else None
    return data if isinstance(data, str) and data else None
