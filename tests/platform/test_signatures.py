"""Signatures on the wire, judged by other people's libraries and by the products' documented receiver code."""

import base64
import hashlib
import hmac
from datetime import datetime

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook as StandardVerifier
from standardwebhooks.webhooks import WebhookVerificationError
from svix.webhooks import Webhook as SvixVerifier

from webhooks.testing.platform_process import Json, PlatformProcess
from webhooks.testing.receiver import Received, Receiver


def logto_verifies(signing_key: str, request: Received) -> bool:
    """The code on Logto's page about securing webhooks, in Python."""
    signature = hmac.new(signing_key.encode(), request.body, hashlib.sha256).hexdigest()
    return signature == request.headers["logto-signature-sha-256"]


def github_verifies(secret: str, request: Received) -> bool:
    """The code on GitHub's page about validating deliveries."""
    expected = "sha256=" + hmac.new(secret.encode("utf-8"), msg=request.body, digestmod=hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, request.headers["x-hub-signature-256"])


def ed25519_verifies(public_key: str, request: Received) -> bool:
    """v1a of the Standard Webhooks specification."""
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key.removeprefix("whpk_")))
    id, timestamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
    for signature in request.headers["webhook-signature"].split():
        if signature.startswith("v1a,"):
            try:
                key.verify(base64.b64decode(signature[4:]), f"{id}.{timestamp}.".encode() + request.body)
            except InvalidSignature:
                continue
            return True
    return False


async def sent(platform: PlatformProcess, receiver: Receiver, path: str, event: str, count: int = 1) -> Received:
    await platform.publish(event, {"text": "Grüße, 世界"})
    return (await receiver.wait_for(path, count))[-1]


async def test_every_style_at_once(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event()
    styles = ["v1", "v1a", "logto", "github"]
    webhook = await platform.webhook(event, receiver.url(path), signatures=styles)
    request = await sent(platform, receiver, path, event)
    secret, public_key = webhook["signing_secret"], webhook["public_key"]

    StandardVerifier(secret).verify(request.body, request.headers)
    SvixVerifier(secret).verify(request.body, request.headers)
    assert ed25519_verifies(public_key, request)
    assert logto_verifies(secret, request)
    assert github_verifies(secret, request)


@pytest.mark.parametrize(
    ("style", "header"),
    [
        ("v1", "webhook-signature"),
        ("v1a", "webhook-signature"),
        ("logto", "logto-signature-sha-256"),
        ("github", "x-hub-signature-256"),
    ],
)
async def test_one_style_alone(
    platform: PlatformProcess, receiver: Receiver, path: str, style: str, header: str
) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.url(path), signatures=[style])
    request = await sent(platform, receiver, path, event)
    signed = {name for name in request.headers if "signature" in name}

    assert signed == {header}
    assert request.headers[header].startswith({"v1": "v1,", "v1a": "v1a,", "github": "sha256="}.get(style, ""))
    assert {"webhook-id", "webhook-timestamp"} <= request.headers.keys()


async def test_a_signing_key_that_receivers_know_already(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """Whoever comes from Logto brings the key; it is no Standard Webhooks secret, so v1 cannot sign with it."""
    event = await platform.event()
    key = "zHgQ3mB6Yd2kTt0Wc5nRv8Lq"
    webhook = await platform.webhook(event, receiver.url(path), signatures=["logto"], signing_secret=key)
    request = await sent(platform, receiver, path, event)
    refused = await platform.call("PATCH", f"/v1/webhooks/{webhook['id']}", {"signatures": ["v1"]}, expect=422)

    assert logto_verifies(key, request)
    assert refused["errors"][0]["pointer"] == "/signatures"


async def test_rotation_with_overlap(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """While the overlap lasts, receivers with the old secret and with the new one both verify; Logto's header, with
    room for one, has the new key at once. Without overlap the old secret is out."""
    event = await platform.event()
    webhook = await platform.webhook(event, receiver.url(path), signatures=["v1", "v1a", "logto"])
    rotated: Json = await platform.post(f"/v1/webhooks/{webhook['id']}/rotate-secret", {"overlap": 3600})
    during = await sent(platform, receiver, path, event)
    for key in (webhook, rotated):
        StandardVerifier(key["signing_secret"]).verify(during.body, during.headers)
        SvixVerifier(key["signing_secret"]).verify(during.body, during.headers)
        assert ed25519_verifies(key["public_key"], during)
    again = await platform.post(f"/v1/webhooks/{webhook['id']}/rotate-secret", {"overlap": 0})
    after = await sent(platform, receiver, path, event, 2)

    assert webhook["signing_secret"] != rotated["signing_secret"]
    assert logto_verifies(rotated["signing_secret"], during)
    assert not logto_verifies(webhook["signing_secret"], during)
    StandardVerifier(again["signing_secret"]).verify(after.body, after.headers)
    for old in (webhook, rotated):
        with pytest.raises(WebhookVerificationError):
            StandardVerifier(old["signing_secret"]).verify(after.body, after.headers)
        assert not ed25519_verifies(old["public_key"], after)


async def test_the_default_overlap_is_a_day(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    event = await platform.event()
    webhook = await platform.webhook(event, receiver.url(path))
    rotated = await platform.post(f"/v1/webhooks/{webhook['id']}/rotate-secret")
    request = await sent(platform, receiver, path, event)
    shown = await platform.get(f"/v1/webhooks/{webhook['id']}")

    StandardVerifier(webhook["signing_secret"]).verify(request.body, request.headers)
    StandardVerifier(rotated["signing_secret"]).verify(request.body, request.headers)
    assert abs(_seconds_between(shown["updated_at"], rotated["overlaps_until"]) - 86_400) < 1
    assert rotated["signing_secret"] not in str(shown)


def _seconds_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
