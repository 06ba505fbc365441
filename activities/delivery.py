"""The three local activities of a delivery."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Iterator
from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from webhooks import outcomes, retry
from webhooks.contracts import Attempt, Deferred, Delivery, DeliveryChange, Prepared, SendInput, Trigger
from webhooks.isolation.lanes import Lanes
from webhooks.publishing.operational_events import OperationalEvents
from webhooks.sending.sender import NotSendableError, Sender
from webhooks.telemetry import metrics, traces

log = logging.getLogger(__name__)

_SLOW_MS = 2_000
_FIRST_DEFERRAL, _LONGEST_DEFERRAL = 5.0, 300.0


class DeliveryActivities:
    """Holds what the activities share; the worker constructs it."""

    def __init__(self, sender: Sender, lanes: Lanes, reporter: OperationalEvents) -> None:
        self._sender = sender
        self._lanes = lanes
        self._reporter = reporter

    @activity.defn
    async def prepare(self, delivery: Delivery, at_once: bool = False) -> Prepared | Deferred:
        """Loads the webhook and renders the body, unless its lane is shut. Fails for good with an outcome of
        outcomes.NEVER_SENT as type."""
        workflow_id = activity.info().workflow_id or ""
        traces.describe(
            tenant=delivery.tenant,
            webhook_id=delivery.webhook_id,
            event_key=delivery.occurrence.event,
            delivery_id=delivery.id,
        )
        self._lanes.begin(workflow_id)
        if not at_once and (wait := self._lanes.turn_away(delivery.webhook_id, workflow_id)):
            return Deferred(after=wait.after, reason=wait.reason, attempts_made=0)
        try:
            with self._tried_again(f"preparing delivery {delivery.id}", NotSendableError):
                return await self._sender.prepare(delivery)
        except NotSendableError as error:
            self._lanes.drop(delivery.webhook_id, workflow_id)
            metrics.delivery(metrics.FAILED)
            traces.describe(outcome=error.outcome)
            raise ApplicationError(
                str(error), type=error.outcome, non_retryable=True, category=ApplicationErrorCategory.BENIGN
            ) from None

    @activity.defn
    async def send(self, order: SendInput) -> Attempt | Deferred:
        """Makes one attempt. A failed one is raised with its outcome as type and itself as detail, so that the retry
        policy decides; what is our own fault is returned as Deferred and costs the receiver nothing."""
        number = order.attempts_made + activity.info().attempt
        trigger = order.trigger if number == 1 else Trigger.RETRY
        at_once = trigger is Trigger.RESEND
        traces.describe(
            tenant=order.tenant,
            webhook_id=order.webhook_id,
            event_key=order.event,
            delivery_id=order.delivery_id,
            attempt=number,
            trigger=trigger.value,
        )
        if wait := await self._lanes.admit(
            order.tenant, order.webhook_id, activity.info().workflow_id or "", at_once=at_once
        ):
            traces.describe(deferred=wait.reason)
            return Deferred(after=wait.after, reason=wait.reason, attempts_made=number - 1)
        request = asyncio.ensure_future(self._in_lane(order, trigger))
        superseded, where = False, f"sending delivery {order.delivery_id}"
        try:
            try:
                attempt = await asyncio.shield(request)
            except asyncio.CancelledError:
                # A request on the wire cannot be called back, and its answer counts. If a resend cancelled us
                # (and not the worker's end), a failure ends this chain, for the resend's chain comes next.
                details = activity.cancellation_details()
                superseded = details is None or not details.worker_shutdown
                while not request.done():
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.shield(request)
                attempt = request.result()
        except Exception as error:
            self._sender.faults.happened(error, where)
            traces.describe(deferred="internal error")
            wait = min(_FIRST_DEFERRAL * 2**order.deferrals, _LONGEST_DEFERRAL)
            return Deferred(
                after=wait * random.uniform(1, 2),  # noqa: S311  spreads load, guards nothing
                reason="internal error",
                attempts_made=number - 1,
            )
        self._sender.faults.passed(where)
        if attempt.outcome == outcomes.DELIVERED:
            _record(order, number, attempt, status=metrics.DELIVERED)
            return attempt
        backoff = None
        final = superseded or attempt.deactivated or retry.is_final(attempt.outcome, order.prepared.retry)
        if not final:
            backoff = retry.backoff_seconds(
                order.prepared.retry,
                number,
                retry_after=attempt.retry_after,
                spread=random.uniform(-1, 1),  # noqa: S311
            )
        _record(order, number, attempt, status=None if backoff or superseded else metrics.FAILED, backoff=backoff)
        raise ApplicationError(
            attempt.error or attempt.outcome,
            attempt.model_copy(update={"backoff": backoff and round(backoff, 3)}),
            type=outcomes.SUPERSEDED if superseded else attempt.outcome,
            non_retryable=final,
            next_retry_delay=timedelta(seconds=backoff) if backoff else None,
            category=ApplicationErrorCategory.BENIGN,
        ) from None

    @activity.defn
    async def report(self, report: DeliveryChange) -> None:
        """Publishes what became of the delivery, as operational events."""
        with self._tried_again(f"reporting {report.change} of delivery {report.delivery_id}"):
            await self._reporter.report(report)

    @contextlib.contextmanager
    def _tried_again(self, where: str, *expected: type[Exception]) -> Iterator[None]:
        """Makes an exception that is not expected a fault of ours, which the retry policy tries again without end."""
        try:
            yield
        except expected:
            self._sender.faults.passed(where)
            raise
        except Exception as error:
            self._sender.faults.happened(error, where)
            raise ApplicationError(
                str(error), type=type(error).__name__, category=ApplicationErrorCategory.BENIGN
            ) from None
        self._sender.faults.passed(where)

    async def _in_lane(self, order: SendInput, trigger: Trigger) -> Attempt:
        hurt, slow = None, False
        try:
            attempt = await self._sender.attempt(order, trigger)
            hurt, slow = outcomes.hurts(attempt), attempt.duration_ms > _SLOW_MS
            return attempt
        finally:
            self._lanes.leave(order.tenant, order.webhook_id, hurt=hurt, slow=slow)


def _record(
    order: SendInput, number: int, attempt: Attempt, *, status: str | None, backoff: float | None = None
) -> None:
    """In metrics, trace and log: ids and outcomes, never a body or an answer. `status` is what its chain ended with, if
    it ended."""
    metrics.attempt(attempt)
    if number == 1 and order.trigger is Trigger.EVENT and order.accepted_at:
        metrics.first_attempt(attempt, order.accepted_at)
    if status:
        metrics.delivery(status)
    traces.describe(outcome=attempt.outcome, status_code=attempt.status_code)
    log.info(
        "attempt",
        extra={
            "delivery_id": order.delivery_id,
            "webhook_id": order.webhook_id,
            "event_key": order.event,
            "tenant": order.tenant,
            "attempt": number,
            "trigger": attempt.trigger.value,
            "outcome": attempt.outcome,
            "status_code": attempt.status_code,
            "duration_ms": attempt.duration_ms,
            "next_in_s": backoff and round(backoff, 1),
        },
    )
