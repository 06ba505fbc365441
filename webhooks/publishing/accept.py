"""Accepting an occurrence. Every way in calls `accept`: the API, operational events, webhooks that we receive."""

from dataclasses import dataclass

from webhooks.contracts import Occurrence
from webhooks.deliveries.visibility import can_be_queried
from webhooks.errors import WebhooksError
from webhooks.events import json_schema, operational
from webhooks.publishing.matching import match
from webhooks.publishing.publish import MAX_STARTED_AT_ONCE, Published, Publisher
from webhooks.store import webhooks as stored_webhooks
from webhooks.store.database import Database

_UNUSABLE_IDENTIFIER = """contains `"` or `\\`, or begins or ends with `'`: deliveries could not be found by it"""


class NotAcceptedError(WebhooksError, ValueError):
    """The occurrence is refused. `errors` are pairs of a JSON pointer into it and what is wrong there."""

    def __init__(self, message: str, *errors: tuple[str, str]) -> None:
        super().__init__(message)
        self.errors = errors


@dataclass(frozen=True)
class Accepted:
    """What became of an occurrence. `matched` is how many webhooks get it. `published` are the deliveries that are
    stored; none if there are so many that they are started later. `unmatched` says why no webhook matched; it is empty
    if one did. `new`: false if everything was stored before."""

    published: list[Published]
    unmatched: str
    new: bool = True
    matched: int = 0


async def accept(
    publisher: Publisher, database: Database, tenant: str, occurrence: Occurrence, *, operational_event: bool = False
) -> Accepted:
    """Check an occurrence against its event, find the webhooks that match, and start a delivery for each.

    When this returns, everything is stored: each delivery, or of many the list of webhooks that get one.
    `operational_event`: the platform itself publishes it; then it leaves no trace in Temporal if no webhook matches.
    Raises NotAcceptedError, and what `Publisher.publish` and `Publisher.fan_out` raise."""
    if not operational_event and occurrence.event in operational.KEYS:
        raise _refused("/event", "only the platform publishes it")
    if not operational_event and not can_be_queried(occurrence.client_identifier or ""):
        raise _refused("/client_identifier", _UNUSABLE_IDENTIFIER)
    async with database.read() as session:
        event, subscribed = await stored_webhooks.subscribed(session, tenant, occurrence.event)
    if event is None:
        raise _refused("/event", "no such event")
    checked = None if operational_event else event.json_schema
    if checked is not None and (found := json_schema.violations(checked, occurrence.data)):
        errors = [(f"/data{pointer}", message) for pointer, message in found]
        raise NotAcceptedError("data does not fit the event's schema", *errors)
    matches, unmatched = match(event, subscribed, occurrence)
    if operational_event and not matches:
        return Accepted([], unmatched)
    if not matches:
        return Accepted([], unmatched, await publisher.record(tenant, occurrence, unmatched))
    if len(matches) > MAX_STARTED_AT_ONCE:
        new = await publisher.fan_out(tenant, occurrence, matches)
        return Accepted([], unmatched, new, len(matches))
    published = await publisher.publish(tenant, occurrence, matches, unmatched)
    return Accepted(published, unmatched, any(item.new for item in published), len(published))


def _refused(pointer: str, message: str) -> NotAcceptedError:
    return NotAcceptedError(message, (pointer, message))
