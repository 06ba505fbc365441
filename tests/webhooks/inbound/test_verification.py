"""How a request proves where it comes from: the parts that a sender over HTTP does not show."""

import base64
import time
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from svix.webhooks import Webhook as Svix

from tests.support.senders import OTHER_SECRET, SENDERS, STANDARD_SECRET, message, standard
from webhooks.inbound.verification import (
    TOLERANCE_SECONDS,
    Head,
    NotVerifiedError,
    SenderStyle,
    Verification,
    check_body,
    check_head,
    is_right_token,
    is_usable,
    sender_of,
)

BODY = b'{"type": "invoice.paid"}'
NOW = time.time()
_PROVE_NOTHING = {"x-github-delivery", "x-github-event", "user-agent", "x-shopify-topic", "x-shopify-webhook-id"}
STANDARD = Verification(type=SenderStyle.STANDARD)


def verify(verification: Verification, secrets: list[str], headers: dict[str, str], body: bytes = BODY) -> None:
    head = Head(headers, {})
    check_head(verification, secrets, head, NOW)
    check_body(verification, secrets, head, body)


def test_svix_s_own_headers_are_standard_webhooks() -> None:
    at = datetime.fromtimestamp(int(NOW), UTC)
    signature = Svix(STANDARD_SECRET).sign("msg_1", at, BODY.decode())
    headers = {"svix-id": "msg_1", "svix-timestamp": str(int(NOW)), "svix-signature": signature}

    verify(STANDARD, [OTHER_SECRET, STANDARD_SECRET], headers)
    assert sender_of(SenderStyle.STANDARD, Head(headers, {}), {"type": "invoice.paid"}).id == "msg_1"
    for secrets, changed in (
        ([OTHER_SECRET], headers),
        ([STANDARD_SECRET], {**headers, "svix-id": "msg_2"}),
        ([STANDARD_SECRET], {**headers, "svix-timestamp": str(int(NOW) + 1)}),
    ):
        with pytest.raises(NotVerifiedError, match="signature is wrong"):
            verify(STANDARD, secrets, changed)


def test_a_public_key_verifies_ed25519_signatures_and_nothing_else() -> None:
    private = Ed25519PrivateKey.generate()
    public = "whpk_" + base64.b64encode(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    timestamp = str(int(NOW))
    signature = base64.b64encode(private.sign(b".".join((b"msg_1", timestamp.encode(), BODY)))).decode()
    headers = {"webhook-id": "msg_1", "webhook-timestamp": timestamp}
    # Whoever knows the public key could make this one, if it were taken for a shared secret.
    forged = standard("whsec_" + public.removeprefix("whpk_"), BODY, NOW)

    verify(STANDARD, [public], {**headers, "webhook-signature": f"v1,AAAA v1a,{signature}"})
    for refused in (f"v1,{signature}", "v1a,AAAA", "v1a,no base64!", "v1a,", "v1a", forged["webhook-signature"]):
        with pytest.raises(NotVerifiedError, match="signature is wrong"):
            verify(STANDARD, [public], {**headers, **forged, "webhook-signature": refused})


def test_one_right_signature_among_several_is_enough() -> None:
    """A sender that rotates its secret signs with both."""
    headers = standard(STANDARD_SECRET, BODY, NOW)
    other = standard(OTHER_SECRET, BODY, NOW)["webhook-signature"]

    verify(STANDARD, [STANDARD_SECRET], {**headers, "webhook-signature": f"{other} {headers['webhook-signature']}"})


@pytest.mark.parametrize(
    ("secret", "usable"),
    [
        (STANDARD_SECRET, True),
        (STANDARD_SECRET.removeprefix("whsec_"), True),
        ("whsec_", False),
        ("whsec_no base64", False),
        ("whpk_" + base64.b64encode(bytes(32)).decode(), True),
        ("whpk_" + base64.b64encode(bytes(31)).decode(), False),
    ],
)
def test_a_secret_of_standard_webhooks_has_a_form(secret: str, usable: bool) -> None:
    assert is_usable(SenderStyle.STANDARD, secret) is usable
    assert is_usable(SenderStyle.GITHUB, secret)


@pytest.mark.parametrize("style", [style for style in SENDERS if style != "none"])
@pytest.mark.parametrize("value", ["", "\xfc\xff", "a" * 5000, "v1,", "t=,v1=", "Basic ====", "-1", "9" * 40])
def test_whatever_a_header_holds_it_is_not_verified(style: str, value: str) -> None:
    """It is refused, and is no error of ours."""
    body = message(style)
    verification = Verification(type=SenderStyle(style), name="X-Shared-Key", username="sender")
    signed = {name: text for name, text in SENDERS[style](STANDARD_SECRET, body, NOW).items() if name != "content-type"}
    for name in signed.keys() - _PROVE_NOTHING:
        with pytest.raises(NotVerifiedError):
            verify(verification, [STANDARD_SECRET], {**signed, name: value}, body)


@pytest.mark.parametrize(("age", "right"), [(TOLERANCE_SECONDS - 1, True), (TOLERANCE_SECONDS + 1, False)])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("style", ["standard", "stripe", "slack"])
def test_a_signed_time_may_be_five_minutes_away(style: str, age: int, right: bool, sign: int) -> None:
    body = message(style)
    head = Head(SENDERS[style](STANDARD_SECRET, body, int(NOW)), {})
    verification = Verification(type=SenderStyle(style))
    if right:
        check_head(verification, [STANDARD_SECRET], head, int(NOW) + sign * age)
    else:
        with pytest.raises(NotVerifiedError, match="300 are allowed"):
            check_head(verification, [STANDARD_SECRET], head, int(NOW) + sign * age)


def test_no_secret_verifies_nothing() -> None:
    with pytest.raises(NotVerifiedError, match="no secret yet"):
        verify(STANDARD, [], standard(STANDARD_SECRET, BODY, NOW))
    assert not is_right_token(None, "")
    assert is_right_token("token", "token")
