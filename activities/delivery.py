"""The three local activities of a delivery."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from webhooks import outcomes, retry
from webhooks.contracts import INTERNAL_ERROR, Attempt, Deferred, Delivery, DeliveryChange, Prepared, SendInput, Trigger
from webhooks.isolation.backlog import Backlog
from webhooks.isolation.lane import Condition, condition_of
from webhooks.isolation.lanes import Lanes
from webhooks.isolation.live_traffic import LiveTraffic
from webhooks.publishing.operational_events import OperationalEvents
from webhooks.sending.sender import NotSendableError, Sender
from webhooks.telemetry import metrics, traces

log = logging.getLogger(__name__)

_FIRST_DEFERRAL_SECONDS = 5.0
_LONGEST_DEFERRAL_SECONDS = 300.0
"""After an internal error. Each further one in a row doubles the wait up to this."""


class DeliveryActivities:
    """Holds what the activities share. The worker makes one."""

    def __init__(
        self, sender: Sender, lanes: Lanes, backlog: Backlog, live: LiveTraffic, operational_events: OperationalEvents
    ) -> None:
        self._sender = sender
        self._lanes = lanes
        self._backlog = backlog
        self._live = live
        self._operational_events = operational_events

    @activity.defn
    async def prepare(self, delivery: Delivery, by_person: bool = False) -> Prepared | Deferred:
        """Load the webhook and render the body. Deferred if the receiver is in trouble or the tenant is suspended,
        unless a person asks.

        Fails for good with an outcome of outcomes.NEVER_SENT as type."""
        workflow_id = activity.info().workflow_id or ""
        traces.describe(
            tenant=delivery.tenant,
            webhook_id=delivery.webhook_id,
            event_key=delivery.occurrence.event,
            delivery_id=delivery.id,
        )
        self._backlog.remove(workflow_id)
        if not (delivery.job_id or delivery.fanned_out or delivery.resent):
            self._live.note()
        if not by_person and (wait := self._lanes.reject_early(delivery.tenant, delivery.webhook_id, workflow_id)):
            return Deferred(after=wait.after, reason=wait.reason, attempts_made=0)
        try:
            with self._retried(f"preparing delivery {delivery.id}", NotSendableError):
                return await self._sender.prepare(delivery)
        except NotSendableError as error:
            self._lanes.forget(delivery.webhook_id, workflow_id)
            metrics.delivery(metrics.FAILED)
            traces.describe(outcome=error.outcome)
            raise _benign(str(error), type=error.outcome, non_retryable=True) from None

    @activity.defn
    async def send(self, send: SendInput) -> Attempt | Deferred:
        """Make one attempt. A failed one is raised, with its outcome as type and the attempt as detail, so that the
        retry policy applies. What is no fault of the receiver is returned as Deferred."""
        number = send.attempts_made + activity.info().attempt  # in its chain
        trigger = send.trigger if number == 1 else Trigger.RETRY
        traces.describe(
            tenant=send.tenant,
            webhook_id=send.webhook_id,
            event_key=send.event,
            delivery_id=send.delivery_id,
            attempt=send.attempts_before + number,
            trigger=trigger.value,
        )
        workflow_id = activity.info().workflow_id or ""
        by_person = trigger is Trigger.RESEND and send.job_id is None
        if wait := await self._lanes.acquire(send.tenant, send.webhook_id, workflow_id, by_person=by_person):
            traces.describe(deferred=wait.reason)
            return Deferred(after=wait.after, reason=wait.reason, attempts_made=number - 1)
        where = f"sending delivery {send.delivery_id}"
        try:
            attempt, superseded = await self._finish(send, trigger)
        except Exception as error:
            self._sender.internal_errors.report(error, where)
            traces.describe(deferred=INTERNAL_ERROR)
            seconds = min(_FIRST_DEFERRAL_SECONDS * 2**send.deferrals, _LONGEST_DEFERRAL_SECONDS)
            return Deferred(
                after=seconds * random.uniform(1, 2),  # noqa: S311  spreads load, guards nothing
                reason=INTERNAL_ERROR,
                attempts_made=number - 1,
            )
        self._sender.internal_errors.resolved(where)
        if attempt.outcome == outcomes.DELIVERED:
            _record(send, number, attempt, status=metrics.DELIVERED)
            return attempt
        spread = random.uniform(-1, 1)  # noqa: S311
        decision = retry.decide(send.prepared.retry, attempt, number, superseded=superseded, spread=spread)
        backoff = decision.backoff
        _record(send, number, attempt, status=None if backoff or superseded else metrics.FAILED, backoff=backoff)
        raise _benign(
            attempt.error or attempt.outcome,
            attempt.model_copy(update={"backoff": backoff and round(backoff, 3)}),
            type=outcomes.SUPERSEDED if superseded else attempt.outcome,
            non_retryable=decision.final,
            next_retry_delay=timedelta(seconds=backoff) if backoff else None,
        )

    @activity.defn
    async def report(self, change: DeliveryChange) -> None:
        """Publish what became of the delivery, as operational events."""
        with self._retried(f"reporting {change.change} of delivery {change.delivery_id}"):
            await self._operational_events.report(change)

    async def _finish(self, send: SendInput, trigger: Trigger) -> tuple[Attempt, bool]:
        """Make the attempt to its end, and return whether a resend superseded it meanwhile.

        A request on the wire cannot be called back, and its answer counts. So a cancellation of the activity does not
        cancel the request. If the worker's end cancelled us, the attempt is not superseded."""
        request = asyncio.ensure_future(self._in_lane(send, trigger))
        try:
            return await asyncio.shield(request), False
        except asyncio.CancelledError:
            details = activity.cancellation_details()
            superseded = details is None or not details.worker_shutdown
            while not request.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.shield(request)
            return request.result(), superseded

    async def _in_lane(self, send: SendInput, trigger: Trigger) -> Attempt:
        condition = Condition.NEUTRAL
        try:
            attempt = await self._sender.attempt(send, trigger)
            condition = condition_of(attempt)
            return attempt
        finally:
            self._lanes.release(send.tenant, send.webhook_id, condition)

    @contextlib.contextmanager
    def _retried(self, where: str, *expected: type[Exception]) -> Iterator[None]:
        """Count an exception that is not expected as an internal error, which Temporal retries without end."""
        try:
            yield
        except expected:
            self._sender.internal_errors.resolved(where)
            raise
        except Exception as error:
            self._sender.internal_errors.report(error, where)
            raise _benign(str(error), type=type(error).__name__) from None
        self._sender.internal_errors.resolved(where)


def _benign(message: str, *details: object, **options: Any) -> ApplicationError:
    """Return an error that Temporal's SDK does not log: we have recorded it."""
    return ApplicationError(message, *details, category=ApplicationErrorCategory.BENIGN, **options)


def _record(
    send: SendInput, number: int, attempt: Attempt, *, status: str | None, backoff: float | None = None
) -> None:
    """Record an attempt in metrics, trace and log: ids and outcomes, never a body or an answer. `number` counts the
    attempts of its chain. `status` is how the chain ended, if it ended. `backoff` is in seconds."""
    metrics.attempt(attempt)
    if number == 1 and send.trigger is Trigger.EVENT and send.accepted_at and not send.job_id:
        metrics.first_attempt(attempt, send.accepted_at)
    if status:
        metrics.delivery(status)
    traces.describe(outcome=attempt.outcome, status_code=attempt.status_code)
    log.info(
        "attempt",
        extra={
            "delivery_id": send.delivery_id,
            "webhook_id": send.webhook_id,
            "event_key": send.event,
            "tenant": send.tenant,
            "attempt": send.attempts_before + number,
            "trigger": attempt.trigger.value,
            "outcome": attempt.outcome,
            "status_code": attempt.status_code,
            "duration_ms": attempt.duration_ms,
            "next_in_s": backoff and round(backoff, 1),
        },
    )
