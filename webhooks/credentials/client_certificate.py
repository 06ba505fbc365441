"""The certificate with which a webhook proves itself in TLS (mutual TLS, mTLS). Pure."""

from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from pydantic import BaseModel, Field

from webhooks.credentials.masking import MASK
from webhooks.errors import WebhooksError

_KEY_TYPES = (rsa.RSAPublicKey, ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)
"""What TLS signs with."""
_MAX_RSA_BITS = 8_192
"""A handshake with a longer key keeps the event loop busy for 0.1 s and more."""


class ClientCertificate(BaseModel):
    """A certificate chain, which begins with the webhook's own certificate, and its private key, both PEM."""

    certificate: str = Field(repr=False)
    private_key: str = Field(repr=False)


class BadPartError(WebhooksError, ValueError):
    """One part of a client certificate is wrong. `part` is the name of its field."""

    def __init__(self, part: str, message: str) -> None:
        super().__init__(message)
        self.part = part


def check(given: ClientCertificate, now: datetime) -> None:
    """Raise BadPartError if the parts cannot be read, do not belong together, or are not valid at `now`. Messages hold
    nothing of the key."""
    chain = _chain(given.certificate)
    key = _public_key_of(given.private_key)
    if not isinstance(chain[0].public_key(), _KEY_TYPES):
        raise BadPartError("certificate", "TLS needs an RSA, EC, Ed25519 or Ed448 key")
    matching = [number for number, one in enumerate(chain, 1) if _spki(one.public_key()) == _spki(key)]
    if not matching:
        raise BadPartError("private_key", "the private key does not belong to the certificate")
    if matching[0] != 1:
        raise BadPartError(
            "certificate",
            f"the private key belongs to certificate {matching[0]} of the chain; put that one first, then its issuers",
        )
    for number, one in enumerate(chain, 1):
        which = "the certificate" if len(chain) == 1 else f"certificate {number} of the chain"
        if one.not_valid_after_utc <= now:
            raise BadPartError("certificate", f"{which} expired on {one.not_valid_after_utc:%Y-%m-%d at %H:%M} UTC")
        if one.not_valid_before_utc > now:
            raise BadPartError(
                "certificate", f"{which} is valid only from {one.not_valid_before_utc:%Y-%m-%d at %H:%M} UTC on"
            )


def shown(stored: ClientCertificate) -> dict[str, Any]:
    """Return the certificate as a document that may be shown."""
    own = x509.load_pem_x509_certificates(stored.certificate.encode())[0]
    return {
        "certificate": MASK,
        "private_key": MASK,
        "subject": own.subject.rfc4514_string(),
        "issuer": own.issuer.rfc4514_string(),
        "expires_at": own.not_valid_after_utc.isoformat().replace("+00:00", "Z"),
        "sha256": own.fingerprint(hashes.SHA256()).hex(),
    }


def key_forms(stored: ClientCertificate) -> set[str]:
    """Return the private key as it may be repeated: the PEM text, and its base64 in one line."""
    lines = stored.private_key.strip().splitlines()
    return {stored.private_key.strip(), "".join(line for line in lines if not line.startswith("-----"))}


def _chain(pem: str) -> list[x509.Certificate]:
    if "PRIVATE KEY-----" in pem:
        raise BadPartError("certificate", "this holds a private key; give the key in private_key only")
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        raise BadPartError(
            "certificate",
            "must be one or more PEM certificates: -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----",
        ) from None


def _public_key_of(pem: str) -> Any:
    """Return the public half of a private key."""
    try:
        # Validating an RSA key of this size takes up to 20 s, and only its owner could be harmed by a bad one.
        key = load_pem_private_key(pem.encode(), password=None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        raise BadPartError("private_key", "the private key is encrypted; give it without a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadPartError(
            "private_key", "must be a PEM private key: PKCS #8 (-----BEGIN PRIVATE KEY-----), PKCS #1 or SEC 1"
        ) from None
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size > _MAX_RSA_BITS:
        raise BadPartError("private_key", f"an RSA key may have at most {_MAX_RSA_BITS} bits")
    return key.public_key()


def _spki(key: Any) -> bytes:
    return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
