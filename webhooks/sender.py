"""One delivery's two steps: prepare what is sent, and send it once."""

import asyncio
import logging
import time
from datetime import UTC, datetime

from webhooks import VERSION, credentials, outcomes, rendering, signing
from webhooks.contracts import Attempt, Delivery, Prepared, RetryRules, SendOrder, Trigger
from webhooks.egress import MAX_ANSWER_BYTES, Answer, Egress
from webhooks.store import webhooks as store
from webhooks.store.database import Database
from webhooks.store.models import Webhook

log = logging.getLogger(__name__)

USER_AGENT = f"durable-webhooks/{VERSION}"
_LOAD_SECONDS = 5.0
"""The database is ours: when it hangs, nobody else's time is charged."""


class NotSendableError(Exception):
    """Nothing can be sent, and trying again will not help. `outcome` is one of outcomes.NEVER_SENT."""

    def __init__(self, outcome: str, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


class Sender:
    """What the activities call. Exceptions other than NotSendableError are our own faults, never the receiver's."""

    def __init__(self, database: Database, egress: Egress) -> None:
        self._database = database
        self._egress = egress

    async def prepare(self, delivery: Delivery) -> Prepared:
        """Renders the body, which stays the same for every attempt. Raises NotSendableError."""
        async with asyncio.timeout(_LOAD_SECONDS), self._database.read() as session:
            found = await store.load_with_template(
                session, delivery.tenant, delivery.webhook_id, delivery.occurrence.event
            )
        if found is None:
            raise NotSendableError(outcomes.WEBHOOK_DELETED, "the webhook was deleted")
        webhook, template = found
        try:
            body = rendering.render(template, delivery.occurrence)
        except rendering.NotRenderedError as error:
            raise NotSendableError(outcomes.NOT_RENDERED, str(error)) from None
        return Prepared(
            url=webhook.url,
            method=webhook.method,
            content_type="application/json",
            body=body,
            timeout=webhook.timeout,
            retry=RetryRules.model_validate(webhook.retry_policy),
        )

    async def attempt(self, order: SendOrder, trigger: Trigger) -> Attempt:
        """Sends once, to the destination and with the secrets as they are now."""
        started_at, clock = datetime.now(UTC), time.monotonic()
        async with asyncio.timeout(_LOAD_SECONDS), self._database.read() as session:
            webhook = await store.load(session, order.tenant, order.webhook_id)
        if webhook is None:
            answer = Answer(outcomes.WEBHOOK_DELETED, error="the webhook was deleted")
        elif not webhook.active:
            answer = Answer(outcomes.WEBHOOK_INACTIVE, error="the webhook is inactive")
        else:
            answer = await self._send(webhook, order)
            if answer.status_code == outcomes.GONE:
                await self._deactivate(order, "the receiver answered 410 Gone")
        body = answer.body.decode("utf-8", "replace").replace("\0", "")
        if webhook:
            body = credentials.blot_out(
                body,
                [webhook.signing_secret, *credentials.secrets_of(webhook.headers)],
                cut=not answer.complete,
            )
        return Attempt(
            trigger=trigger,
            url=webhook.url if webhook else order.prepared.url,
            started_at=started_at,
            duration_ms=round((time.monotonic() - clock) * 1000, 1),
            outcome=answer.outcome,
            status_code=answer.status_code,
            error=answer.error,
            response_body=body[:MAX_ANSWER_BYTES] if answer.status_code else None,
            retry_after=answer.retry_after,
        )

    async def _send(self, webhook: Webhook, order: SendOrder) -> Answer:
        body = order.prepared.body.encode()
        timestamp = int(time.time())
        headers = {
            **{name.lower(): value for name, value in webhook.headers.items()},
            "content-type": order.prepared.content_type,
            "user-agent": USER_AGENT,
            "webhook-id": order.delivery_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signing.sign(webhook.signing_secret, order.delivery_id, timestamp, body),
        }
        return await self._egress.send(
            order.tenant, order.prepared.method, webhook.url, headers, body, order.prepared.timeout
        )

    async def _deactivate(self, order: SendOrder, reason: str) -> None:
        """The answer has come and counts, so a database that is away must not cost us the attempt."""
        try:
            async with asyncio.timeout(_LOAD_SECONDS), self._database.write() as session:
                await store.deactivate(session, order.tenant, order.webhook_id, reason)
        except Exception:
            log.exception("webhook %s could not be deactivated: %s", order.webhook_id, reason)
        else:
            log.warning("webhook %s is deactivated: %s", order.webhook_id, reason)
