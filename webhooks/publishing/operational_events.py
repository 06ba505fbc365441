"""Publishing operational events: what became of a delivery, and of its webhook."""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

from webhooks.contracts import DeliveryChange, Occurrence
from webhooks.deliveries.start import OccurrenceConflictError
from webhooks.events import operational
from webhooks.publishing.accept import NotAcceptedError, accept
from webhooks.publishing.publish import Publisher
from webhooks.store import webhooks as stored_webhooks
from webhooks.store.database import Database
from webhooks.store.models import Webhook

log = logging.getLogger(__name__)

_MAX_CONCURRENT = 2
"""Operational events are less urgent than what they tell of."""
_OF_DELIVERY = {"delivery_id", "webhook_id", "occurrence_id", "event", "client_identifier", "outcome"}
_TIME_FIELDS = {operational.DELIVERY_FAILED: "failed_at", operational.DELIVERY_RECOVERED: "recovered_at"}


class OperationalEvents:
    """One for each worker.

    An occurrence's id is made of what happened. So it is published once, also when a report is repeated, or when many
    deliveries of one webhook report the same."""

    def __init__(self, publisher: Publisher, database: Database) -> None:
        self._publisher = publisher
        self._database = database
        self._gate = asyncio.Semaphore(_MAX_CONCURRENT)

    async def report(self, change: DeliveryChange) -> None:
        """Publish a delivery's change, and the deactivation of its webhook if that made it fail.

        The deactivation is published here and not where it happens: a crash between the two would lose it, while every
        delivery that fails by it comes here."""
        async with self._database.read() as session:
            webhook = await stored_webhooks.find(session, change.tenant, change.webhook_id)
        at = change.at.astimezone(UTC)
        data = change.model_dump(mode="json", include=_OF_DELIVERY) | {
            "webhook_name": webhook.name if webhook else "",
            _TIME_FIELDS[change.change]: _text(at),
        }
        await self._publish(change.tenant, change.change, change.id, at, data)
        if change.change == operational.DELIVERY_FAILED and webhook and webhook.deactivated_at:
            await self._deactivated(webhook, webhook.deactivated_at)

    async def _deactivated(self, webhook: Webhook, at: datetime) -> None:
        id = f"webhook-deactivated:{webhook.id}:{at:%Y%m%dT%H%M%S%f}"
        data = {
            "webhook_id": webhook.id,
            "webhook_name": webhook.name,
            "reason": webhook.deactivated_reason or "",
            "deactivated_at": _text(at),
        }
        await self._publish(webhook.tenant, operational.WEBHOOK_DEACTIVATED, id, at, data)

    async def _publish(self, tenant: str, key: str, id: str, at: datetime, data: dict[str, Any]) -> None:
        occurrence = Occurrence(id=id, event=key, occurred_at=at, data=data)
        try:
            async with self._gate:
                await accept(self._publisher, self._database, tenant, occurrence, operational_event=True)
        except NotAcceptedError as error:  # the catalogue of the tenant may lack the event
            log.debug("%s is not published: %s", id, error)
        except OccurrenceConflictError:  # the webhook was renamed since an earlier report
            log.info("%s was reported before", id)


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
