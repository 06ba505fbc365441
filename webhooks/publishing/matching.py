"""Matching: which webhooks receive an occurrence, and why the others do not."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from webhooks.contracts import Occurrence
from webhooks.publishing import filters
from webhooks.store.models import Event, Subscription, Webhook


@dataclass(frozen=True)
class Match:
    """A webhook that receives an occurrence."""

    webhook_id: str
    url: str


def match(
    event: Event, subscribed: Sequence[tuple[Subscription, Webhook]], occurrence: Occurrence
) -> tuple[list[Match], str]:
    """Return the webhooks that receive the occurrence, in the given order. If there are none, also return why."""
    if not event.active:
        return [], "the event is inactive"
    if event.owner_required and not (occurrence.owner_id or occurrence.user_id):
        return [], "the event requires an owner_id or a user_id"
    seen = filters.fields_of(occurrence) if any(one.filter is not None for one, _ in subscribed) else {}
    matches, reasons = [], []
    for subscription, webhook in subscribed:
        if reason := _mismatch(subscription, webhook, occurrence, seen):
            reasons.append(reason)
        else:
            matches.append(Match(webhook.id, webhook.url))
    counted = (f"{reason} ({reasons.count(reason)})" for reason in dict.fromkeys(reasons))
    return matches, "" if matches else "; ".join(counted) or "no webhook is subscribed"


def _mismatch(
    subscription: Subscription, webhook: Webhook, occurrence: Occurrence, seen: dict[str, JsonValue]
) -> str | None:
    """Return why the webhook does not receive the occurrence; None if it does. `seen` is what filters see."""
    allowed = subscription.allowed_client_identifiers
    if not webhook.active:
        return "the webhook is inactive"
    if not subscription.active:
        return "the subscription is inactive"
    if occurrence.bulk and not webhook.bulk:
        return "the webhook takes no bulk occurrences"
    if allowed and occurrence.client_identifier not in allowed:
        return "the client is not among allowedClientIdentifiers"
    if subscription.filter is not None and filters.mismatch(subscription.filter, seen) is not None:
        return "the filter does not match"
    return None
