"""Whether a webhook works: since when it has been failing, and its deactivation once that has lasted too long."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks import outcomes
from webhooks.store import webhooks as stored_webhooks
from webhooks.store.database import Database
from webhooks.store.models import Webhook
from webhooks.telemetry.internal_errors import InternalErrors

log = logging.getLogger(__name__)

_PATIENCE = 60.0
"""Seconds that a webhook fails before that is written down, so that one that fails now and then costs no writes."""
_QUIET = 0.2
"""A failure that follows on the one before later than this share of the limit, and than a minute, says nothing about
the time between."""
_WRITE_SECONDS = 5.0


class Deactivation:
    """Takes note of attempts. A success of a webhook that works costs nothing, nor does a failure that passes."""

    def __init__(
        self,
        database: Database,
        deactivate_after: float,
        internal_errors: InternalErrors,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`deactivate_after` in seconds; 0 for never."""
        self._database = database
        self._limit = timedelta(seconds=deactivate_after)
        self._patience = min(_PATIENCE, deactivate_after / 2 or _PATIENCE)
        self._internal_errors = internal_errors
        self._clock = clock
        self._failing: dict[str, float] = {}
        """When a webhook that is not known to be failing first failed here without a success since."""
        self._failed: dict[str, float] = {}
        """When a webhook last failed here, if nothing has succeeded since."""

    async def record_attempt(self, webhook: Webhook, outcome: str) -> bool:
        """Whether an attempt deactivated the webhook, which is as it was loaded for it. Never raises: the answer has
        come and counts, so a database that is away must not cost us the attempt."""
        now = datetime.now(UTC)
        if outcome in outcomes.NEVER_SENT:
            return False
        if outcome == outcomes.DELIVERED:
            self._failing.pop(webhook.id, None)
            self._failed.pop(webhook.id, None)
            if webhook.failing_since:
                await self._write(webhook, lambda session: stored_webhooks.clear_failing(session, webhook))
            return False
        if outcome == outcomes.of_status(outcomes.GONE):
            return await self._deactivate(webhook, now, "the receiver answered 410 Gone")
        since, before = webhook.failing_since, self._failed.get(webhook.id)
        self._failed[webhook.id] = self._clock()
        if since is None:
            first = self._failing.setdefault(webhook.id, self._clock())
            if self._clock() - first >= self._patience:
                del self._failing[webhook.id]
                await self._write(webhook, lambda session: stored_webhooks.set_failing(session, webhook, now))
        elif before is None or self._clock() - before > max(self._limit.total_seconds() * _QUIET, _PATIENCE):
            return False  # silence is no failure: only one that goes on counts
        elif self._limit and now - since > self._limit:
            reason = f"no attempt has succeeded since {since:%Y-%m-%dT%H:%MZ}"
            return await self._deactivate(webhook, now, reason, failing_since=since)
        return False

    async def _deactivate(
        self, webhook: Webhook, now: datetime, reason: str, *, failing_since: datetime | None = None
    ) -> bool:
        done = await self._write(
            webhook,
            lambda session: stored_webhooks.deactivate(session, webhook, now, reason, failing_since=failing_since),
        )
        if done:
            log.warning("webhook %s is deactivated: %s", webhook.id, reason)
        return done

    async def _write(self, webhook: Webhook, change: Callable[[AsyncSession], Awaitable[bool]]) -> bool:
        """Whether it changed anything."""
        try:
            async with asyncio.timeout(_WRITE_SECONDS), self._database.write() as session:
                changed = await change(session)
        except Exception as error:
            self._internal_errors.report(error, f"health of {webhook.id}")
            return False
        self._internal_errors.resolved(f"health of {webhook.id}")
        return changed
