"""What is kept of headers: without secrets, and limited, whatever a receiver says."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.sockets import LOOPBACK, answering, serving
from webhooks.contracts import Attempt, AttemptDetails, Trigger
from webhooks.credentials import signing
from webhooks.credentials.authentication import (
    Authentication,
    ClientCredentials,
    KeyValuePair,
    NoAuthentication,
    Password,
)
from webhooks.credentials.masking import MASK, Redaction
from webhooks.credentials.webhook_secrets import Secrets
from webhooks.egress.client import Egress
from webhooks.sending import details

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"
SECRET = "canary-4711/+=abc"
OAUTH = {"token_url": "https://login.example/token", "client_id": "id", "client_secret": SECRET}


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    egress = Egress(LOOPBACK)
    yield egress
    await egress.close()


async def answered(egress: Egress, raw: bytes, headers: dict[str, str] | None = None) -> AttemptDetails:
    """Return what is kept of a request to a receiver that says this."""
    async with serving(answering(raw)) as url:
        answer = await egress.send("acme", "POST", url, headers or {}, b"{}", 10)
    assert answer.exchange
    secrets = Secrets(signing=[signing.new_key()], headers={"X-Token": SECRET})
    return details.of(answer.exchange, answer.complete, secrets.header_names(), Redaction(secrets.values()))


@pytest.mark.parametrize(
    ("authentication", "hidden"),
    [
        (NoAuthentication(), set()),
        (KeyValuePair.model_validate({"type": "Key Value Pair", "name": "X-Pair", "value": "pair"}), {"x-pair"}),
        (
            KeyValuePair.model_validate({"type": "Key Value Pair", "name": "X-Pair", "value": "pair", "in": "query"}),
            set(),
        ),
        (ClientCredentials.model_validate({"type": "OAuth 2.0 Client Credentials", **OAUTH}), {"authorization"}),
        (
            Password.model_validate({"type": "OAuth 2.0 Password", **OAUTH, "username": "u", "password": "p"}),
            {"authorization"},
        ),
    ],
)
def test_the_headers_that_hold_a_secret_are_those_of_the_authentication_and_the_configured_ones(
    authentication: Authentication, hidden: set[str]
) -> None:
    headers = {"X-Api-Token": "short", "X-Env": "prod", "X-Value": "Bearer abc"}
    secrets = Secrets(signing=[signing.new_key()], headers=headers, authentication=authentication)

    assert secrets.header_names() == {"x-api-token", "x-value"} | hidden


async def test_a_request_s_secrets_are_masked_and_the_rest_is_as_it_was_sent(egress: Egress) -> None:
    sent = {"X-Token": SECRET, "x-env": "prod", "webhook-signature": "v1,abc=", "x-repeated": f"<{SECRET}>"}
    kept = await answered(egress, HEAD + b"\r\n", sent)
    lines = kept.request_headers.split("\n")

    assert SECRET not in kept.model_dump_json()
    assert lines[0].startswith("Host: 127.0.0.1:")
    assert {f"X-Token: {MASK}", "x-env: prod", "webhook-signature: v1,abc=", f"x-repeated: <{MASK}>"} <= set(lines)
    assert kept.request_size == 2


async def test_secrets_that_a_receiver_repeats_and_its_own_are_masked(egress: Egress) -> None:
    said = [
        f"X-You-Said: {SECRET}",
        f"X-Quoted: {SECRET.replace('/', '%2F').replace('+', '%2B').replace('=', '%3D')}",
        "Set-Cookie: session=abc; Path=/",
        "X-Api-Key: abc",
        'WWW-Authenticate: Bearer error="invalid_token"',
        "X-Request-Id: 0193677e9a3b700080000123456789ab",
    ]
    kept = await answered(egress, HEAD + "\r\n".join(said).encode() + b"\r\n\r\n")

    assert kept.response_headers.split("\n") == [
        "content-length: 0",
        f"X-You-Said: {MASK}",
        f"X-Quoted: {MASK}",
        f"Set-Cookie: {MASK}",
        f"X-Api-Key: {MASK}",
        'WWW-Authenticate: Bearer error="invalid_token"',
        "X-Request-Id: 0193677e9a3b700080000123456789ab",
    ]
    assert (kept.response_size, kept.response_complete, kept.http_version) == (0, True, "HTTP/1.1")


@pytest.mark.parametrize(
    "lines",
    [
        b"".join(b"x-%d: %d\r\n" % (n, n) for n in range(1000)),
        b"x-long: " + b"a" * 1_000_000 + b"\r\n",
        b"".join(b"x-%d: %b\r\n" % (n, b"b" * 1_500) for n in range(60)),
        b"x-nul: a\0b\r\n",
        b"x-bytes: \xff\xfe\x80\r\n",
        b"x-control: \x1b[31m\x01\r\n",
        "x-text: grün 山田\r\n".encode(),
        ("x-long-text: " + "é" * 5_000 + "\r\n").encode(),
        b"x-markup: <script>alert(1)</script>\r\n",
        b"x-empty:\r\n",
        b"x-folded: a\r\n b\r\n",
        b"not a header\r\n",
    ],
    ids=[
        "1000", "1 MB", "60 long", "NUL", "invalid UTF-8", "control", "UTF-8", "long UTF-8", "markup", "empty",
        "folded", "no header",
    ],
)  # fmt: skip
async def test_hostile_headers_are_limited_and_can_be_stored(egress: Egress, lines: bytes) -> None:
    kept = await answered(egress, HEAD + lines + b"\r\n")
    attempt = Attempt(
        trigger=Trigger.EVENT,
        url="http://receiver.test/",
        started_at="2026-01-10T10:30:00Z",
        duration_ms=1,
        outcome="delivered",
        details=kept,
    )
    headers = kept.response_headers.split("\n") if kept.response_headers else []

    assert "\0" not in kept.response_headers
    assert len(headers) <= 50
    assert len(kept.response_headers) <= 8 * 1024
    assert max(map(len, headers), default=0) <= 1024
    assert len(attempt.model_dump_json()) < 60_000
    assert Attempt.model_validate_json(attempt.model_dump_json()) == attempt


async def test_no_beginning_of_a_secret_remains_where_a_header_is_cut_off(egress: Egress) -> None:
    for length in range(1024 - len("x-a: ") - len(SECRET), 1024):
        kept = await answered(egress, HEAD + f"x-a: {'a' * length}{SECRET}\r\n\r\n".encode())
        assert SECRET[:6] not in kept.response_headers
        await asyncio.sleep(0)


def test_an_attempt_of_an_earlier_version_is_read() -> None:
    old = (
        '{"trigger":"event","url":"https://a.example/","started_at":"2026-01-10T10:30:00Z","duration_ms":1.0,'
        '"outcome":"http_503","status_code":503,"error":null,"response_body":"","retry_after":null,"backoff":10.1}'
    )

    assert Attempt.model_validate_json(old).details is None
