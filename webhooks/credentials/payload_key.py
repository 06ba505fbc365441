"""The key that encrypts what Temporal stores of a tenant: AES-256-GCM."""

import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from webhooks.credentials.vault import CannotOpenError

KEY_BYTES = 32
"""AES-256."""
_NONCE_BYTES = 12
"""The size that GCM is made for."""
_CONTEXT = b"durable-webhooks payload\0"


@dataclass(frozen=True)
class PayloadKey:
    """A key of a tenant. What it encrypts is bound to its id."""

    id: str
    tenant: str
    secret: bytes = field(repr=False)
    _cipher: AESGCM = field(init=False, repr=False, compare=False)
    _bound_to: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_cipher", AESGCM(self.secret))
        object.__setattr__(self, "_bound_to", _CONTEXT + self.id.encode())

    def encrypt(self, cleartext: bytes) -> bytes:
        """Return the cleartext encrypted, after a random nonce."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, cleartext, self._bound_to)

    def decrypt(self, encrypted: bytes) -> bytes:
        """Return the cleartext. Raises CannotOpenError if it was changed, or encrypted with another key."""
        try:
            return self._cipher.decrypt(encrypted[:_NONCE_BYTES], encrypted[_NONCE_BYTES:], self._bound_to)
        except (InvalidTag, ValueError):
            raise CannotOpenError(f"not what was encrypted with payload key {self.id}") from None


def new_secret() -> bytes:
    """Return a new random key."""
    return secrets.token_bytes(KEY_BYTES)
