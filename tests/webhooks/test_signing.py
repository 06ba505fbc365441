import base64
import binascii
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook as StandardVerifier
from standardwebhooks.webhooks import WebhookVerificationError
from svix.webhooks import Webhook as SvixVerifier

from webhooks.signing import new_secret, sign

BODY = '{"text":"Grüße, 世界"}'.encode()
Verifier = type[StandardVerifier] | type[SvixVerifier]
verifiers = pytest.mark.parametrize("verifier", [StandardVerifier, SvixVerifier])


def signed(secret: str, body: bytes = BODY) -> dict[str, str]:
    now = int(datetime.now(UTC).timestamp())
    return {
        "webhook-id": "order-1~w-1",
        "webhook-timestamp": str(now),
        "webhook-signature": sign(secret, "order-1~w-1", now, body),
    }


@pytest.mark.parametrize("prefix", ["", "whsec_"])
def test_the_published_vector(prefix: str) -> None:
    signature = sign(
        f"{prefix}MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )

    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@verifiers
@pytest.mark.parametrize("body", [BODY, b"{}", b"[1, 2]", b'"' + b"x" * 100_000 + b'"'])
def test_signatures_are_accepted_by_the_standard_s_libraries(verifier: Verifier, body: bytes) -> None:
    secret = new_secret()

    verifier(secret).verify(body, signed(secret, body))


@verifiers
@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (BODY + b" ", {}),
        (BODY[:-2] + b".}", {}),
        (BODY, {"webhook-id": "order-2~w-1"}),
        (BODY, {"webhook-timestamp": str(int(datetime.now(UTC).timestamp()) - 60)}),
        (BODY, {"webhook-signature": "v1," + base64.b64encode(bytes(32)).decode()}),
    ],
    ids=["longer body", "other body", "other id", "other time", "other signature"],
)
def test_what_was_tampered_with_is_refused(verifier: Verifier, body: bytes, changed: dict[str, str]) -> None:
    secret = new_secret()

    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        verifier(secret).verify(body, signed(secret) | changed)


@verifiers
def test_another_secret_s_signature_is_refused(verifier: Verifier) -> None:
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        verifier(new_secret()).verify(BODY, signed(new_secret()))


def test_new_secrets_differ_and_are_as_long_as_the_standard_asks() -> None:
    fresh = {new_secret() for _ in range(100)}
    keys = {base64.b64decode(secret.removeprefix("whsec_"), validate=True) for secret in fresh}

    assert len(keys) == 100
    assert {len(key) for key in keys} == {32}
    assert all(secret.startswith("whsec_") for secret in fresh)


def test_a_secret_that_is_not_base64_is_refused_rather_than_misread() -> None:
    with pytest.raises(binascii.Error):
        sign("whsec_ab*cd", "id", 1, BODY)
