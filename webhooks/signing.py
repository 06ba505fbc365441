"""Standard Webhooks signatures, scheme v1: HMAC-SHA256 over `{id}.{timestamp}.{body}`. Pure.

Source: the Standard Webhooks specification 1.0.0. Ids and timestamps must hold no dot, or the signed text would be
ambiguous; occurrence and webhook ids never do.
"""

import base64
import hashlib
import hmac
import secrets

_PREFIX = "whsec_"
_SECRET_BYTES = 32  # the specification asks for 24 to 64


def new_secret() -> str:
    """A fresh signing secret in its serialised form, `whsec_` and base64."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` header's value. `timestamp` is in Unix seconds, the time of this attempt."""
    key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    signed = b".".join((message_id.encode(), str(timestamp).encode(), body))
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
