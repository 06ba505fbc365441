from datetime import UTC, datetime
from typing import Any

import pytest

from webhooks.contracts import Occurrence
from webhooks.publishing.matching import Match, match
from webhooks.store.models import Event, Subscription, Webhook


def occurrence(**fields: Any) -> Occurrence:
    return Occurrence(id="o", event="E", occurred_at=datetime.now(UTC), **{"data": {"total": 100}, **fields})


def subscribed(webhook: dict[str, Any] | None = None, **subscription: Any) -> tuple[Subscription, Webhook]:
    one = Webhook(tenant="t", id="w", url="https://a.example/", **(webhook or {}))
    return Subscription(tenant="t", event_id="e", webhook_id="w", **subscription), one


@pytest.mark.parametrize(
    ("webhook", "subscription", "fields", "reason"),
    [
        ({}, {}, {}, None),
        ({"active": False}, {}, {}, "the webhook is inactive"),
        ({}, {"active": False}, {}, "the subscription is inactive"),
        ({}, {}, {"bulk": True}, "the webhook takes no bulk occurrences"),
        ({"bulk": True}, {}, {"bulk": True}, None),
        ({}, {"allowed_client_identifiers": ["a", "b"]}, {"client_identifier": "b"}, None),
        (
            {},
            {"allowed_client_identifiers": ["a"]},
            {"client_identifier": "b"},
            "the client is not among allowedClientIdentifiers",
        ),
        ({}, {"allowed_client_identifiers": ["a"]}, {}, "the client is not among allowedClientIdentifiers"),
        ({}, {"filter": {"data": {"total": {"$gte": 100}}}}, {}, None),
        ({}, {"filter": {"data": {"total": {"$gt": 100}}}}, {}, "the filter does not match"),
    ],
)
def test_who_wants_it(
    webhook: dict[str, Any], subscription: dict[str, Any], fields: dict[str, Any], reason: str | None
) -> None:
    matches, unmatched = match(Event(tenant="t", key="E"), [subscribed(webhook, **subscription)], occurrence(**fields))

    assert matches == ([] if reason else [Match("w", "https://a.example/")])
    assert unmatched == (f"{reason} (1)" if reason else "")


def test_why_nobody_does_is_counted() -> None:
    several = [subscribed(active=False), subscribed({"active": False}), subscribed(active=False)]

    assert match(Event(tenant="t", key="E"), several, occurrence()) == (
        [],
        "the subscription is inactive (2); the webhook is inactive (1)",
    )
    assert match(Event(tenant="t", key="E"), [], occurrence()) == ([], "no webhook is subscribed")


@pytest.mark.parametrize(("fields", "fires"), [({}, False), ({"owner_id": "o"}, True), ({"user_id": "u"}, True)])
def test_an_owner_may_be_required(fields: dict[str, Any], fires: bool) -> None:
    matches, _ = match(Event(tenant="t", key="E", owner_required=True), [subscribed()], occurrence(**fields))

    assert bool(matches) is fires
