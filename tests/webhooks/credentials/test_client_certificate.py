"""Which client certificates a webhook may have, and what is shown of one."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.support.tls_receiver import pem_of
from webhooks.credentials.client_certificate import BadPartError, ClientCertificate, check, key_forms, shown
from webhooks.credentials.signing import new_key
from webhooks.credentials.webhook_secrets import Secrets

NOW = datetime.now(UTC)
ROOT = trustme.CA()
CHILD = ROOT.create_child_ca()
CHAIN, KEY = pem_of(CHILD.issue_cert("client.test", organization_unit_name="Warehouse"))
_, OTHER_KEY = pem_of(ROOT.issue_cert("other.test"))
OWN, ISSUER = CHAIN.split("-----END CERTIFICATE-----\n", 1)
OWN += "-----END CERTIFICATE-----\n"


def pem(key: PrivateKeyTypes, format: PrivateFormat = PrivateFormat.PKCS8, password: str = "") -> str:
    encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, format, encryption).decode()


KEY_OBJECT = load_pem_private_key(KEY.encode(), None)


def certificate(chain: str = CHAIN, key: str = KEY) -> ClientCertificate:
    return ClientCertificate(certificate=chain, private_key=key)


@pytest.mark.parametrize(
    ("chain", "key"),
    [
        (CHAIN, KEY),
        (OWN, KEY),
        (CHAIN.replace("\n", "\r\n"), KEY.replace("\n", "\r\n")),
        (f"subject=Wärehouse\n{CHAIN}\n\n", f"\n{KEY}\n"),
        (CHAIN, pem(KEY_OBJECT)),
        (CHAIN, pem(KEY_OBJECT, PrivateFormat.TraditionalOpenSSL)),
        (CHAIN, "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + KEY),
    ],
    ids=["chain", "alone", "CRLF", "text around", "PKCS #8", "SEC 1", "EC parameters"],
)
def test_a_certificate_with_its_key(chain: str, key: str) -> None:
    check(certificate(chain, key), NOW)


@pytest.mark.parametrize(
    ("chain", "key", "part", "message"),
    [
        ("", KEY, "certificate", "must be one or more PEM certificates"),
        ("not PEM \ud800", KEY, "certificate", "must be one or more PEM certificates"),
        (CHAIN[:200], KEY, "certificate", "must be one or more PEM certificates"),
        (CHAIN + KEY, KEY, "certificate", "this holds a private key; give the key in private_key only"),
        (CHAIN, "", "private_key", "must be a PEM private key"),
        (CHAIN, CHAIN, "private_key", "must be a PEM private key"),
        (CHAIN, KEY[:100], "private_key", "must be a PEM private key"),
        (CHAIN, pem(KEY_OBJECT, PrivateFormat.OpenSSH), "private_key", "must be a PEM private key"),
        (CHAIN, pem(KEY_OBJECT, password="pass"), "private_key", "is encrypted; give it without a passphrase"),
        (
            CHAIN,
            pem(KEY_OBJECT, PrivateFormat.TraditionalOpenSSL, "pass"),
            "private_key",
            "is encrypted; give it without a passphrase",
        ),
        (CHAIN, OTHER_KEY, "private_key", "does not belong to the certificate"),
        (CHAIN, pem(ec.generate_private_key(ec.SECP384R1())), "private_key", "does not belong to the certificate"),
        (CHAIN, pem(rsa.generate_private_key(65537, 2048)), "private_key", "does not belong to the certificate"),
        (CHAIN, pem(ed25519.Ed25519PrivateKey.generate()), "private_key", "does not belong to the certificate"),
        (CHAIN, pem(x25519.X25519PrivateKey.generate()), "private_key", "does not belong to the certificate"),
        (ISSUER + OWN, KEY, "certificate", "belongs to certificate 2 of the chain; put that one first"),
    ],
)
def test_what_cannot_be_used_is_refused(chain: str, key: str, part: str, message: str) -> None:
    with pytest.raises(BadPartError, match=message) as caught:
        check(certificate(chain, key), NOW)

    assert caught.value.part == part
    assert not any(line in str(caught.value) for line in KEY.splitlines()[1:-1])


@pytest.mark.parametrize(
    ("issue", "message"),
    [
        (lambda: ROOT.issue_cert("a", not_after=NOW), r"the certificate expired on \d{4}-\d\d-\d\d at \d\d:\d\d UTC"),
        (
            lambda: ROOT.issue_cert("a", not_before=NOW + timedelta(days=1), not_after=NOW + timedelta(days=2)),
            "the certificate is valid only from",
        ),
        (lambda: CHILD.issue_cert("a", not_after=NOW - timedelta(days=1)), "certificate 1 of the chain expired on"),
    ],
    ids=["expired now", "not yet valid", "expired, with a chain"],
)
def test_a_certificate_that_is_not_valid_now_is_refused(issue: Callable[[], trustme.LeafCert], message: str) -> None:
    chain, key = pem_of(issue())
    with pytest.raises(BadPartError, match=message) as caught:
        check(certificate(chain, key), NOW)

    assert caught.value.part == "certificate"


def test_who_it_names_and_when_it_expires_is_shown() -> None:
    expires = datetime(2099, 1, 2, 3, 4, 5, tzinfo=UTC)
    chain, key = pem_of(ROOT.issue_cert("client.test", organization_unit_name="Wärehouse", not_after=expires))
    document = shown(certificate(chain, key))

    assert (document.pop("certificate"), document.pop("private_key")) == ("********", "********")
    assert len(document.pop("sha256")) == 64
    assert document.pop("expires_at") == "2099-01-02T03:04:05Z"
    assert "OU=Wärehouse" in document.pop("subject")
    assert "OU=Testing CA" in document.pop("issuer")
    assert document == {}


def test_a_key_is_in_no_representation_and_is_redacted() -> None:
    secrets = Secrets(signing=[new_key("a-secret-of-our-own")], client_certificate=certificate())
    body = "".join(KEY.splitlines()[1:-1])

    assert "PRIVATE KEY" not in repr(secrets) + repr(secrets.client_certificate)
    assert key_forms(certificate()) == {KEY.strip(), body}
    assert body in secrets.values()
