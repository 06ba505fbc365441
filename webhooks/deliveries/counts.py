"""Counting deliveries by what Temporal's visibility knows of them, which reads no history."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from opentelemetry.metrics import CallbackOptions, Observation, get_meter
from temporalio.client import Client
from temporalio.service import RPCError

from webhooks import VERSION
from webhooks.deliveries.visibility import AWAITING, RUNNING, count_rows, quoted
from webhooks.temporal.names import (
    DELIVER_WEBHOOK,
    TENANT_ID,
    WEBHOOK_ID,
)

log = logging.getLogger(__name__)

_OPEN = f"WorkflowType = '{DELIVER_WEBHOOK}' AND {RUNNING}"
_AWAITING_RESEND = f"{_OPEN} AND {AWAITING}"
_POLL_SECONDS = 30.0


@dataclass(frozen=True)
class Counts:
    """The deliveries of a webhook that have not ended."""

    unfinished: int
    """Those that do not wait for a person: attempts follow by themselves."""
    awaiting_resend: int


async def of_webhook(client: Client, tenant: str, webhook_id: str) -> Counts:
    """Return the counts of a webhook. Raises RPCError."""
    of = f" AND {TENANT_ID.name} = {quoted(tenant)} AND {WEBHOOK_ID.name} = {quoted(webhook_id)}"
    every, awaiting_resend = await asyncio.gather(
        count_rows(client, _OPEN + of), count_rows(client, _AWAITING_RESEND + of)
    )
    return Counts(max(every - awaiting_resend, 0), awaiting_resend)


class AwaitingResend:
    """How many deliveries of all tenants wait for a person, as of some seconds ago."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._count: int | None = None

    async def update(self) -> None:
        """Ask Temporal. While it does not answer, the number is unknown, not 0."""
        try:
            self._count = await count_rows(self._client, _AWAITING_RESEND)
        except RPCError as error:
            self._count = None
            log.debug("cannot count the deliveries that wait for a resend: %s", error.status.name)

    def observe(self, _: CallbackOptions) -> Iterable[Observation]:
        """Return the number for OpenTelemetry; nothing while it is unknown."""
        return [] if self._count is None else [Observation(self._count)]


@contextlib.asynccontextmanager
async def exporting(client: Client) -> AsyncIterator[None]:
    """Export how many deliveries wait for a person while the block runs. Once for each process."""
    awaiting_resend = AwaitingResend(client)
    get_meter("durable-webhooks", VERSION).create_observable_gauge(
        "webhooks.awaiting_resend",
        [awaiting_resend.observe],
        "{delivery}",
        "Deliveries that failed for good and wait for a resend, of the whole platform",
    )
    updating = asyncio.create_task(_update(awaiting_resend))
    try:
        yield
    finally:
        updating.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await updating


async def _update(awaiting_resend: AwaitingResend) -> None:
    while True:
        await awaiting_resend.update()
        await asyncio.sleep(_POLL_SECONDS)
