import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook as StandardVerifier
from standardwebhooks.webhooks import WebhookVerificationError
from svix.webhooks import Webhook as SvixVerifier

from webhooks.credentials.signing import Style, is_standard_secret, new_key, public_key, sign
from webhooks.credentials.webhook_secrets import SigningKey

BODY = '{"text":"Grüße, 世界"}'.encode()
Verifier = type[StandardVerifier] | type[SvixVerifier]
verifiers = pytest.mark.parametrize("verifier", [StandardVerifier, SvixVerifier])


def signed(keys: Sequence[SigningKey], *styles: Style, body: bytes = BODY) -> dict[str, str]:
    return sign(keys, styles, "order-1~w-1", int(datetime.now(UTC).timestamp()), body)


def verify_ed25519(public: str, body: bytes, headers: dict[str, str]) -> None:
    """As a receiver does with `v1a`: any of the signatures may be the one. Raises InvalidSignature."""
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_"), validate=True))
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    for signature in headers["webhook-signature"].split(" "):
        version, _, encoded = signature.partition(",")
        if version == "v1a":
            try:
                return key.verify(base64.b64decode(encoded, validate=True), text)
            except InvalidSignature:
                continue
    raise InvalidSignature


def verify_logto(signing_key: str, raw_body: bytes, expected_signature: str) -> bool:
    """Logto's documented receiver (docs.logto.io, Secure webhooks), in Python."""
    return hmac.new(signing_key.encode(), raw_body, hashlib.sha256).hexdigest() == expected_signature


def test_the_published_vector() -> None:
    headers = sign(
        [SigningKey(secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", seed=base64.b64encode(bytes(32)).decode())],
        [Style.V1],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    expected = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }

    assert expected == headers


@verifiers
@pytest.mark.parametrize("body", [BODY, b"{}", b"[1, 2]", b'"' + b"x" * 100_000 + b'"'])
def test_signatures_are_accepted_by_the_standard_s_libraries(verifier: Verifier, body: bytes) -> None:
    key = new_key()

    verifier(key.secret).verify(body, signed([key], *Style, body=body))


@verifiers
@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (BODY + b" ", {}),
        (BODY[:-2] + b".}", {}),
        (BODY, {"webhook-id": "order-2~w-1"}),
        (BODY, {"webhook-timestamp": "a minute ago"}),
        (BODY, {"webhook-signature": "v1," + base64.b64encode(bytes(32)).decode()}),
    ],
    ids=["longer body", "other body", "other id", "other time", "other signature"],
)
def test_what_was_tampered_with_is_refused(verifier: Verifier, body: bytes, changed: dict[str, str]) -> None:
    key = new_key()
    headers = signed([key], Style.V1, Style.V1A)
    earlier = str(int(headers["webhook-timestamp"]) - 60)
    headers |= {name: earlier if value == "a minute ago" else value for name, value in changed.items()}

    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        verifier(key.secret).verify(body, headers)
    with pytest.raises(InvalidSignature):
        verify_ed25519(public_key(key), body, headers)


@verifiers
def test_during_a_rotation_the_old_and_the_new_key_verify_and_no_other(verifier: Verifier) -> None:
    old, new, other = new_key(), new_key(), new_key()
    headers = signed([new, old], Style.V1, Style.V1A)

    for key in (old, new):
        verifier(key.secret).verify(BODY, headers)
        verify_ed25519(public_key(key), BODY, headers)
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        verifier(other.secret).verify(BODY, headers)
    with pytest.raises(InvalidSignature):
        verify_ed25519(public_key(other), BODY, headers)


def test_after_a_rotation_the_old_key_is_worth_nothing() -> None:
    old, new = new_key(), new_key()
    headers = signed([new], Style.V1, Style.V1A)

    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        StandardVerifier(old.secret).verify(BODY, headers)
    with pytest.raises(InvalidSignature):
        verify_ed25519(public_key(old), BODY, headers)


def test_a_public_key_is_the_one_that_rfc_8032_publishes_for_its_seed() -> None:
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    expected = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    key = SigningKey(secret="whsec_", seed=base64.b64encode(seed).decode())

    assert f"whpk_{base64.b64encode(expected).decode()}" == public_key(key)


@pytest.mark.parametrize(
    ("styles", "names", "versions"),
    [
        ([Style.V1], {"webhook-signature"}, ["v1", "v1"]),
        ([Style.V1A], {"webhook-signature"}, ["v1a", "v1a"]),
        ([Style.V1A, Style.V1], {"webhook-signature"}, ["v1", "v1", "v1a", "v1a"]),
        ([Style.LOGTO], {"logto-signature-sha-256"}, []),
        ([Style.GITHUB], {"x-hub-signature-256"}, []),
        ([Style.V1, Style.GITHUB], {"webhook-signature", "x-hub-signature-256"}, ["v1", "v1"]),
        ([], set(), []),
    ],
)
def test_a_style_sets_its_own_header_and_no_other(styles: list[Style], names: set[str], versions: list[str]) -> None:
    headers = signed([new_key(), new_key()], *styles)
    signatures = headers.get("webhook-signature", "").split()

    assert {"webhook-id", "webhook-timestamp"} | names == headers.keys()
    assert versions == [signature.partition(",")[0] for signature in signatures]


@pytest.mark.parametrize("secret", ["It's a Secret to Everybody", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "ключ"])
@pytest.mark.parametrize("body", [BODY, b"", b"\x00\xff"])
def test_logto_and_github_sign_the_raw_body_with_the_newest_secret_s_text(secret: str, body: bytes) -> None:
    headers = signed([new_key(secret), new_key()], Style.LOGTO, Style.GITHUB, body=body)

    assert verify_logto(secret, body, headers["logto-signature-sha-256"])
    assert not verify_logto(secret, body + b" ", headers["logto-signature-sha-256"])
    assert not verify_logto(secret + " ", body, headers["logto-signature-sha-256"])
    assert headers["x-hub-signature-256"] == f"sha256={headers['logto-signature-sha-256']}"


def test_the_vector_that_github_publishes() -> None:
    headers = sign([new_key("It's a Secret to Everybody")], [Style.GITHUB], "id", 1, b"Hello, World!")
    expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

    assert expected == headers["x-hub-signature-256"]


def test_new_keys_differ_and_are_as_long_as_the_standard_asks() -> None:
    fresh = [new_key() for _ in range(100)]
    secrets = {base64.b64decode(key.secret.removeprefix("whsec_"), validate=True) for key in fresh}
    seeds = {base64.b64decode(key.seed, validate=True) for key in fresh}

    assert len(secrets | seeds) == 200
    assert {len(value) for value in secrets | seeds} == {32}
    assert all(is_standard_secret(key.secret) and key.expires_at is None for key in fresh)


def test_a_secret_that_the_receiver_knows_is_kept_and_its_seed_is_fresh() -> None:
    keys = [new_key("theirs") for _ in range(2)]

    assert [key.secret for key in keys] == ["theirs", "theirs"]
    assert keys[0].seed != keys[1].seed


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        (f"whsec_{base64.b64encode(bytes(24)).decode()}", True),
        (f"whsec_{base64.b64encode(bytes(64)).decode()}", True),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", True),
        (f"whsec_{base64.b64encode(bytes(23)).decode()}", False),
        (f"whsec_{base64.b64encode(bytes(65)).decode()}", False),
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", False),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", False),  # no padding
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS*", False),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa-_", False),
        ("whsec_" + "é" * 32, False),
        ("whsec_", False),
        ("", False),
        ("a plain password of some length!", False),
    ],
)
def test_which_secrets_the_standard_can_sign_with(secret: str, expected: bool) -> None:
    assert expected == is_standard_secret(secret)


@verifiers
def test_an_older_secret_that_the_standard_cannot_sign_with_is_in_nobody_s_way(verifier: Verifier) -> None:
    new, old = new_key(), new_key("a plain password of Logto's days")
    headers = signed([new, old], Style.V1, Style.V1A)

    verifier(new.secret).verify(BODY, headers)
    verify_ed25519(public_key(old), BODY, headers)
    assert headers["webhook-signature"].count("v1,") == 1
