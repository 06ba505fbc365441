"""Deactivates webhooks: those that answer 410 Gone, and those that have been failing for too long."""

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

_MIN_FAILING_SECONDS = 60.0
"""How long a webhook must fail before this is stored. Short failures cost no write."""
_MAX_GAP_SHARE = 0.2
"""Failures further apart than max(20 % of deactivate_after, 60 s) do not count as one outage."""
_WRITE_SECONDS = 5.0
"""How long a write to the database may take."""


class Deactivation:
    """Follows the attempts of webhooks. Successes of a working webhook and short failures cost no write."""

    def __init__(
        self,
        database: Database,
        deactivate_after: float,
        internal_errors: InternalErrors,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`deactivate_after` is in seconds; 0: only 410 Gone deactivates."""
        self._database = database
        self._limit = timedelta(seconds=deactivate_after)
        self._min_failing_seconds = min(_MIN_FAILING_SECONDS, deactivate_after / 2 or _MIN_FAILING_SECONDS)
        self._internal_errors = internal_errors
        self._clock = clock
        self._first_failure_at: dict[str, float] = {}
        """When the current failures of a webhook began in this process, by its id, while the database does not know of
        them. In seconds of `clock`."""
        self._last_failure_at: dict[str, float] = {}
        """When a webhook last failed in this process, by its id, if it has not succeeded since. In seconds of
        `clock`."""

    async def record_attempt(self, webhook: Webhook, outcome: str) -> bool:
        """Record the outcome of an attempt, and return whether it deactivated the webhook. `webhook` is as it was
        loaded for the attempt. Never raises: the attempt counts even if the database is unavailable."""
        now = datetime.now(UTC)
        if outcome in outcomes.NEVER_SENT:
            return False
        if outcome == outcomes.DELIVERED:
            self._first_failure_at.pop(webhook.id, None)
            self._last_failure_at.pop(webhook.id, None)
            if webhook.failing_since:
                await self._write(webhook, lambda session: stored_webhooks.clear_failing(session, webhook))
            return False
        if outcome == outcomes.of_status(outcomes.GONE):
            return await self._deactivate(webhook, now, "the receiver answered 410 Gone")
        since, before = webhook.failing_since, self._last_failure_at.get(webhook.id)
        self._last_failure_at[webhook.id] = self._clock()
        if since is None:
            first = self._first_failure_at.setdefault(webhook.id, self._clock())
            if self._clock() - first >= self._min_failing_seconds:
                del self._first_failure_at[webhook.id]
                began = now - timedelta(seconds=self._clock() - first)
                await self._write(webhook, lambda session: stored_webhooks.set_failing(session, webhook, began))
        elif before is None or self._clock() - before > max(
            self._limit.total_seconds() * _MAX_GAP_SHARE, _MIN_FAILING_SECONDS
        ):
            return False  # too long after the last failure to be the same outage
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
        """Make a change, and return whether it changed anything. An error is reported, and False is returned."""
        where = f"recording the outcome of webhook {webhook.id}"
        try:
            async with asyncio.timeout(_WRITE_SECONDS), self._database.write() as session:
                changed = await change(session)
        except Exception as error:
            self._internal_errors.report(error, where)
            return False
        self._internal_errors.resolved(where)
        return changed
