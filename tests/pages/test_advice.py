"""What a delivery's page says: each outcome has its own words, and no delivery is without."""

from typing import Any

import pytest

from api.pages.advice import advice, quoted
from webhooks import outcomes
from webhooks.deliveries.status import DeliveryStatus, WaitingFor


def delivery(status: str, *found: str, **fields: Any) -> dict[str, Any]:
    attempts = [
        {
            "outcome": outcome,
            "trigger": "event" if n == 0 else "retry",
            "requested_by": None,
            "duration_ms": 84.0,
            "response_body": None,
        }
        for n, outcome in enumerate(found)
    ]
    return {"status": status, "attempts": attempts, "waiting_for": None, "next_attempt_at": None, **fields}


OUTCOMES = [*outcomes.RETRIED, *outcomes.NEVER_SENT, outcomes.UNKNOWN, "http_400", "http_401", "http_404", "http_410"]


def test_each_outcome_has_words_of_its_own() -> None:
    said = [advice(delivery("failed", name)).text for name in OUTCOMES]

    assert len(set(said)) == len(OUTCOMES)
    assert not any("did not accept the request" in text for text in said)


@pytest.mark.parametrize("waiting_for", [each.value for each in WaitingFor if each.value not in ("backoff", "person")])
def test_each_reason_to_wait_has_words(waiting_for: str) -> None:
    assert advice(delivery("pending", waiting_for=waiting_for)).tone == "slow"


@pytest.mark.parametrize("status", list(DeliveryStatus))
@pytest.mark.parametrize("found", [(), ("http_418",), ("timeout", "delivered")])
def test_every_delivery_has_words(status: str, found: tuple[str, ...]) -> None:
    assert advice(delivery(status, *found)).text.endswith(".")


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (delivery("delivered", "delivered"), "at the first attempt, in 84 ms"),
        (
            delivery("delivered", "http_503", "delivered"),
            "attempt 2, after 1 failed attempt. The last failure: 503",
        ),
        (
            delivery("delivered", "timeout", "http_503", "delivered"),
            "by attempt 3, after 2 failed attempts.",
        ),
        (delivery("failed", "http_302"), "redirects (302)"),
        (delivery("failed", "http_599"), "failed at every attempt (last: 599)"),
        (delivery("failed", "http_401"), "authentication. Then resend."),
        (delivery("failed", "webhook_deleted"), "cannot be sent any more"),
        (delivery("pending"), "On its way"),
        (delivery("retrying", "http_503", next_attempt_at="2026-01-01T00:00:00Z", waiting_for="backoff"), "Send now"),
    ],
)
def test_it_says_what_happened(shown: dict[str, Any], words: str) -> None:
    assert words in advice(shown).text


def test_a_resend_names_who_asked() -> None:
    shown = delivery("delivered", "http_400", "delivered")
    shown["attempts"][1] |= {"trigger": "resend", "requested_by": "ann (person:7)"}

    assert advice(shown).text == "Delivered by hand (ann). Attempt 1 had failed: 400 Bad Request."


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ('{"error": "unknown account"}', "“unknown account”"),
        ('{"error": {"code": 7}, "detail": " no such thing "}', "“no such thing”"),
        ("out of stock", "“out of stock”"),
        ('{"error": "\\ud800"}', ""),
        ('{"error": "\\u202egnihton"}', ""),
        ("<html><h1>Bad Request</h1></html>", ""),
        ('["a"]', ""),
        ('{"error"', ""),
        ("x" * 121, ""),
        ("", ""),
        (None, ""),
    ],
)
def test_the_receivers_own_words_are_quoted_if_they_are_short(answer: str | None, words: str) -> None:
    assert quoted(answer) == words


def test_a_failure_quotes_the_receiver() -> None:
    shown = delivery("failed", "http_400")
    shown["attempts"][0]["response_body"] = '{"error": "unknown account"}'

    assert advice(shown).text.endswith("The receiver said “unknown account”. Then resend.")
