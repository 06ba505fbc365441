"""One occurrence on its way to one webhook."""

import asyncio
import contextlib
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from activities.delivery import DeliveryActivities
    from webhooks import outcomes
    from webhooks.contracts import RESEND_SIGNAL, Attempt, Deferred, Delivery, Prepared, SendOrder, Trigger
    from webhooks.temporal import DELIVER_WEBHOOK, DELIVERY_STATUS, PARKED, RESENT

_PREPARE_TIMEOUT = timedelta(seconds=10)
_SEND_MARGIN = 10.0
"""Seconds that `send` may take beyond the request's own deadline, for loading and signing."""
_AT_ONCE = timedelta(milliseconds=1)
"""Every backoff is longer, so each is a timer in history with its attempt's failure before it."""


@workflow.defn(name=DELIVER_WEBHOOK)
class DeliverWebhook:
    """Prepares once, then sends under the webhook's retry policy until it is delivered. A delivery that failed for
    good waits for the `resend` signal until its window ends; the same signal cuts a backoff short. Either starts the
    policy anew."""

    @workflow.init
    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._prepared: Prepared | None = None
        self._resend = False

    @workflow.signal(name=RESEND_SIGNAL)
    def resend(self) -> None:
        self._resend = True

    @workflow.run
    async def run(self, delivery: Delivery) -> Attempt:
        """Returns the attempt that delivered. Fails with type DeliveryFailed when the resend window ends."""
        # A resend of a closed delivery starts this run with the signal already there.
        trigger = Trigger.RESEND if self._resend else Trigger.EVENT
        while True:
            self._resend = False
            attempt = await self._deliver(trigger)
            if attempt:
                return attempt
            if not self._resend:
                await self._park()
            trigger = Trigger.RESEND

    async def _deliver(self, trigger: Trigger) -> Attempt | None:
        """One chain of attempts. None when it failed for good, or when a resend ended it."""
        try:
            if self._prepared is None:
                self._prepared = await workflow.execute_local_activity_method(
                    DeliveryActivities.prepare,
                    self._delivery,
                    start_to_close_timeout=_PREPARE_TIMEOUT,
                    retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=1)),
                    local_retry_threshold=_AT_ONCE,
                )
            return await self._send(self._prepared, trigger)
        except FailureError:  # not ActivityError: a local activity's failure is bare when live and on replay alike
            return None

    async def _send(self, prepared: Prepared, trigger: Trigger) -> Attempt | None:
        attempts_made = 0
        while True:
            self._resend = False  # one that came earlier gets what it asked for right now
            rules = outcomes.remaining(prepared.retry, attempts_made)
            sending = workflow.start_local_activity_method(
                DeliveryActivities.send,
                SendOrder(
                    tenant=self._delivery.tenant,
                    webhook_id=self._delivery.webhook_id,
                    delivery_id=self._delivery.id,
                    prepared=prepared,
                    trigger=trigger,
                    attempts_made=attempts_made,
                ),
                start_to_close_timeout=timedelta(seconds=prepared.timeout + _SEND_MARGIN),
                retry_policy=RetryPolicy(
                    initial_interval=timedelta(seconds=rules.initial_interval),
                    backoff_coefficient=rules.backoff_coefficient,
                    maximum_interval=timedelta(seconds=rules.maximum_interval),
                    maximum_attempts=rules.maximum_attempts,
                    non_retryable_error_types=outcomes.final_outcomes(),
                ),
                local_retry_threshold=_AT_ONCE,
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                summary=f"{prepared.method} {prepared.url}",
            )
            await workflow.wait_condition(lambda task=sending: self._resend or task.done())  # type: ignore[misc]
            if not sending.done():
                sending.cancel()  # ends a backoff; `send` itself finishes a request that is on the wire
            try:
                result = await sending
            except asyncio.CancelledError:
                if self._resend:
                    return None
                raise
            if isinstance(result, Attempt):
                return result
            attempts_made = await self._defer(result)
            if self._resend:
                return None

    async def _defer(self, deferred: Deferred) -> int:
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._resend, timeout=deferred.after, timeout_summary=f"deferred: {deferred.reason}"
            )
        return deferred.attempts_made

    async def _park(self) -> None:
        """Waits for `resend`. Raises when the window ends without one."""
        workflow.upsert_search_attributes([DELIVERY_STATUS.value_set(PARKED)])
        try:
            await workflow.wait_condition(
                lambda: self._resend,
                timeout=self._delivery.resend_window,
                timeout_summary="failed: waiting for resend",
            )
        except TimeoutError:
            raise ApplicationError("not delivered", type="DeliveryFailed", non_retryable=True) from None
        workflow.upsert_search_attributes([DELIVERY_STATUS.value_set(RESENT)])
