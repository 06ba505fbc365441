"""Senders of webhooks, each signing with its vendor's own library, or as its vendor documents."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import stripe
from slack_sdk.signature import SignatureVerifier
from standardwebhooks import Webhook

JSON = {"content-type": "application/json"}
STANDARD_SECRET = "whsec_" + base64.b64encode(b"a secret of 32 bytes for testing").decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"another one of 32 bytes for test").decode()

Sign = Callable[[str, bytes, float], dict[str, str]]
"""From a secret, a body and a time in Unix seconds to the headers that sign it."""


def standard(secret: str, body: bytes, at: float) -> dict[str, str]:
    id = f"msg_{uuid4().hex}"
    signature = Webhook(secret).sign(id, datetime.fromtimestamp(int(at), UTC), body.decode())
    return {**JSON, "webhook-id": id, "webhook-timestamp": str(int(at)), "webhook-signature": signature}


def github(secret: str, body: bytes, _: float = 0, event: str = "push") -> dict[str, str]:
    """docs.github.com: validating webhook deliveries."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        **JSON,
        "x-github-delivery": str(uuid4()),
        "x-github-event": event,
        "x-hub-signature-256": f"sha256={digest}",
        "user-agent": "GitHub-Hookshot/044aadd",
    }


def stripe_(secret: str, body: bytes, at: float) -> dict[str, str]:
    signature = stripe.WebhookSignature.generate_signature_header(body.decode(), secret, int(at))
    return {**JSON, "stripe-signature": signature}


def slack(secret: str, body: bytes, at: float) -> dict[str, str]:
    timestamp = str(int(at))
    signature = SignatureVerifier(secret).generate_signature(timestamp=timestamp, body=body)
    assert signature
    return {**JSON, "x-slack-request-timestamp": timestamp, "x-slack-signature": signature}


def shopify(secret: str, body: bytes, _: float = 0) -> dict[str, str]:
    """shopify.dev: deliver webhooks through HTTPS."""
    digest = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()
    return {
        **JSON,
        "x-shopify-hmac-sha256": digest,
        "x-shopify-webhook-id": str(uuid4()),
        "x-shopify-topic": "orders/create",
    }


def key_value(secret: str, _: bytes, __: float = 0) -> dict[str, str]:
    return {**JSON, "x-shared-key": secret}


def basic(secret: str, _: bytes, __: float = 0) -> dict[str, str]:
    return {**JSON, "authorization": "Basic " + base64.b64encode(f"sender:{secret}".encode()).decode()}


def none(_: str, __: bytes, ___: float = 0) -> dict[str, str]:
    return {**JSON}


SENDERS: dict[str, Sign] = {
    "standard": standard,
    "github": github,
    "stripe": stripe_,
    "slack": slack,
    "shopify": shopify,
    "key_value": key_value,
    "basic": basic,
    "none": none,
}
TIMED = ("standard", "stripe", "slack")
"""Those that sign the time."""
FIELDS: dict[str, dict[str, str]] = {"key_value": {"name": "X-Shared-Key"}, "basic": {"username": "sender"}}
now = time.time


def message(style: str) -> bytes:
    """Return a body as the sender of this style sends it."""
    id = uuid4().hex
    body: dict[str, object] = {"id": f"evt_{id}", "type": "invoice.paid", "text": "Grüße, 世界", "total": 10.5}
    if style == "slack":
        body = {"type": "event_callback", "event_id": f"Ev{id}", "event": {"type": "app_mention", "text": "hi"}}
    return json.dumps(body, ensure_ascii=False, indent=1).encode()
