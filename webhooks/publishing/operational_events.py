"""Publishing operational events: what became of a delivery, and of its webhook."""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

from temporalio.client import Client

from webhooks.contracts import DeliveryChange, Occurrence
from webhooks.deliveries.start import OccurrenceConflictError
from webhooks.events import operational
from webhooks.isolation.lanes import Lanes
from webhooks.publishing.matching import match
from webhooks.publishing.publish import publish
from webhooks.settings import Settings
from webhooks.store import webhooks as store
from webhooks.store.database import Database
from webhooks.store.models import Webhook

log = logging.getLogger(__name__)

_AT_ONCE = 2
"""Operational events are less urgent than what they tell of."""
_OF_DELIVERY = {"delivery_id", "webhook_id", "occurrence_id", "event", "client_identifier", "outcome"}
_TIMES = {operational.DELIVERY_FAILED: "failed_at", operational.DELIVERY_RECOVERED: "recovered_at"}


class OperationalEvents:
    """One for each worker. Its occurrences have ids made of what happened, so that a report made again, or by many
    deliveries of one webhook, starts nothing twice. What nobody subscribed to leaves no trace in Temporal."""

    def __init__(self, client: Client, database: Database, settings: Settings, lanes: Lanes) -> None:
        self._lanes = lanes
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._client = client
        self._database = database
        self._settings = settings

    async def report(self, report: DeliveryChange) -> None:
        """Publishes the delivery's change; and, if the platform deactivated the webhook of a failed one, that too. Not
        where it deactivates: a crash between the two would lose it, while every delivery that fails by it comes here.
        """
        async with self._database.read() as session:
            webhook = await store.find(session, report.tenant, report.webhook_id)
        at = report.at.astimezone(UTC)
        data = report.model_dump(mode="json", include=_OF_DELIVERY) | {
            "webhook_name": webhook.name if webhook else "",
            _TIMES[report.change]: _text(at),
        }
        await self._publish(report.tenant, report.change, report.id, at, data)
        if report.change == operational.DELIVERY_FAILED and webhook and webhook.deactivated_at:
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
        async with self._database.read() as session:
            event, subscribed = await store.subscribed(session, tenant, key)
        if event is None or not event.active:
            return
        occurrence = Occurrence(id=id, event=key, occurred_at=at, data=data)
        matches, _ = match(event, subscribed, occurrence)
        if not matches:
            return
        try:
            async with self._gate:
                await publish(
                    self._client,
                    tenant=tenant,
                    occurrence=occurrence,
                    matches=matches,
                    unmatched="",
                    lanes=self._lanes,
                    resend_window=self._settings.resend_window,
                    task_queue=self._settings.task_queue,
                )
        except OccurrenceConflictError:  # the webhook has got another name since an earlier report
            log.info("%s was reported before", id)


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
