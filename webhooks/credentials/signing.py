"""Signatures of deliveries, and their keys. Pure.

`v1` (HMAC-SHA256) and `v1a` (Ed25519) are those of the Standard Webhooks specification 1.0.0. They sign
`{id}.{timestamp}.{body}`; an id must not hold a dot, or the signed text would be ambiguous. `logto` and `github` sign
only the body, with the text of the secret as the key, like Logto and GitHub. Receivers written for them need no change,
but have no protection against replays.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from enum import StrEnum

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from webhooks.credentials.webhook_secrets import SigningKey

_PREFIX = "whsec_"
_PUBLIC_PREFIX = "whpk_"
_KEY_BYTES = 32
_MIN_V1_SECRET_BYTES = 24
_MAX_V1_SECRET_BYTES = 64
"""Both as the specification requires."""


class Style(StrEnum):
    """How a delivery is signed. A webhook may choose several styles."""

    V1 = "v1"
    V1A = "v1a"
    LOGTO = "logto"
    GITHUB = "github"


def new_key(secret: str | None = None) -> SigningKey:
    """Return a new key. `secret` is one that the receiver already has; without it, a random one is made."""
    return SigningKey(
        secret=secret or _PREFIX + base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode(),
        seed=base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode(),
    )


def public_key(key: SigningKey) -> str:
    """Return the public key with which a receiver verifies `v1a`: `whpk_` and base64."""
    return _PUBLIC_PREFIX + base64.b64encode(_ed25519(key).public_key().public_bytes_raw()).decode()


def is_standard_secret(secret: str) -> bool:
    """Return whether `v1` can sign with this secret: `whsec_` and base64 of 24 to 64 bytes."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return False
    return secret.startswith(_PREFIX) and _MIN_V1_SECRET_BYTES <= len(key) <= _MAX_V1_SECRET_BYTES


def sign(
    keys: Sequence[SigningKey], styles: Sequence[Style], message_id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """Return the headers that sign a request, with `webhook-id` and `webhook-timestamp`. `timestamp` is the time of
    this attempt in Unix seconds. `keys` come newest first: the Standard Webhooks header holds a signature by each of
    them, the other styles only one by the newest."""
    signed = b".".join((message_id.encode(), str(timestamp).encode(), body))
    headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp)}
    standard = [
        # v1 cannot use an older key that was made for another style.
        *(f"v1,{_base64_hmac(key, signed)}" for key in keys if Style.V1 in styles and is_standard_secret(key.secret)),
        *(f"v1a,{base64.b64encode(_ed25519(key).sign(signed)).decode()}" for key in keys if Style.V1A in styles),
    ]
    if standard:
        headers["webhook-signature"] = " ".join(standard)
    of_body = hmac.new(keys[0].secret.encode(), body, hashlib.sha256).hexdigest()
    if Style.LOGTO in styles:
        headers["logto-signature-sha-256"] = of_body
    if Style.GITHUB in styles:
        headers["x-hub-signature-256"] = f"sha256={of_body}"
    return headers


def _base64_hmac(key: SigningKey, signed: bytes) -> str:
    secret = base64.b64decode(key.secret.removeprefix(_PREFIX), validate=True)
    return base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()


def _ed25519(key: SigningKey) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(key.seed, validate=True))
