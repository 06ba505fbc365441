"""Signatures of deliveries, and the keys that make them. Pure.

`v1` (HMAC-SHA256) and `v1a` (Ed25519) are those of the Standard Webhooks specification 1.0.0, over
`{id}.{timestamp}.{body}`; ids and timestamps must hold no dot, or the signed text would be ambiguous. `logto` and
`github` sign the body alone, as those two do, with the secret's text as the key: receivers written for them need no
change, and have no protection against replays.
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
_FEWEST, _MOST = 24, 64  # bytes of a v1 secret, as the specification asks


class Style(StrEnum):
    """How deliveries are signed; a webhook may choose several."""

    V1 = "v1"
    V1A = "v1a"
    LOGTO = "logto"
    GITHUB = "github"


def new_key(secret: str | None = None) -> SigningKey:
    """A fresh key; `secret` is the one that a receiver knows already."""
    return SigningKey(
        secret=secret or _PREFIX + base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode(),
        seed=base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode(),
    )


def public_key(key: SigningKey) -> str:
    """What a receiver verifies `v1a` with, `whpk_` and base64."""
    return _PUBLIC_PREFIX + base64.b64encode(_ed25519(key).public_key().public_bytes_raw()).decode()


def is_standard_secret(secret: str) -> bool:
    """Whether `v1` can sign with it: `whsec_` and base64 of 24 to 64 bytes."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return False
    return secret.startswith(_PREFIX) and _FEWEST <= len(key) <= _MOST


def sign(
    keys: Sequence[SigningKey], styles: Sequence[Style], message_id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """The headers that sign a request, `webhook-id` and `webhook-timestamp` included. `timestamp` is in Unix seconds,
    the time of this attempt. With several keys, newest first, the Standard Webhooks header holds a signature by each;
    the other styles have room for one."""
    signed = b".".join((message_id.encode(), str(timestamp).encode(), body))
    headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp)}
    standard = [
        # An older key may be one that v1 cannot sign with: it was another style's.
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
