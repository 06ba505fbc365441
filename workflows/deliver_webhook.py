"""Delivering one occurrence to one webhook."""

import asyncio
import contextlib
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.delivery import DeliveryActivities
    from webhooks import outcomes, retry
    from webhooks.contracts import (
        ATTEMPTS_SIGNAL,
        JOB_SIGNAL,
        PROCEED_SIGNAL,
        REQUESTED_BY_SIGNAL,
        RESEND_SIGNAL,
        Attempt,
        Deferred,
        Delivery,
        DeliveryChange,
        JobResend,
        Prepared,
        SendInput,
        Trigger,
    )
    from webhooks.events import operational
    from webhooks.temporal.names import (
        AWAITING_RESEND,
        CREATED_AT,
        DELIVER_WEBHOOK,
        DELIVERY_STATUS,
        RESENT,
        cut_summary,
    )

_PREPARE_TIMEOUT = timedelta(seconds=10)
_REPORT_TIMEOUT = timedelta(seconds=30)
_SEND_MARGIN = 10.0
"""Seconds that `send` may take beyond the timeout of its request, to load and to sign."""
_COMMIT = timedelta(milliseconds=1)
_CANCEL_AGAIN_AFTER = timedelta(seconds=5)
_RETRY_THRESHOLD = timedelta(milliseconds=1)
"""Every backoff is longer, so the SDK records each as a timer, with the failed attempt before it: docs/decisions/."""

Sending = workflow.ActivityHandle[Attempt | Deferred]


@workflow.defn(name=DELIVER_WEBHOOK)
class DeliverWebhook:
    """Prepare once, then send under the webhook's retry policy until it is delivered.

    A delivery that failed for good waits for the signal `resend` until its window ends. The same signal ends a backoff.
    In both cases the policy starts anew."""

    @workflow.init
    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._prepared: Prepared | None = None
        self._resend = False
        self._proceed = False
        self._attempts_before = delivery.attempts_before
        """Attempts before the chain that comes next, for log and trace."""
        self._job_id = delivery.job_id
        """The job that asked for the chain that comes next; None if it was a person."""
        self._failure = ""
        self._outcome = outcomes.UNKNOWN
        """Outcome of the chain that failed last."""
        self._failed = delivery.failed_before
        self._reports: list[workflow.ActivityHandle[None]] = []

    @workflow.signal(name=RESEND_SIGNAL)
    def resend(self) -> None:
        self._resend = True

    @workflow.signal(name=ATTEMPTS_SIGNAL)
    def attempts(self, number: int) -> None:
        """The workflow cannot count them itself: the SDK does not tell it which attempt a resend interrupts."""
        self._attempts_before = number

    @workflow.signal(name=REQUESTED_BY_SIGNAL)
    def requested_by(self, who: str) -> None:
        """The monitor reads it from the history."""
        self._job_id = None

    @workflow.signal(name=JOB_SIGNAL)
    def by_job(self, resend: JobResend) -> None:
        self._attempts_before = resend.attempts_before
        self._job_id = resend.job_id

    @workflow.signal(name=PROCEED_SIGNAL)
    def proceed(self) -> None:
        self._proceed = True

    @workflow.run
    async def run(self, delivery: Delivery) -> Attempt | None:
        """Return the attempt that delivered; None if an earlier run delivered and this one had nothing to send. Fails
        with type DeliveryFailed when the resend window ends."""
        # A resend of a closed delivery starts this run together with the signal.
        trigger = Trigger.RESEND if self._resend or delivery.resent else Trigger.EVENT
        while True:
            if trigger is Trigger.RESEND:
                # End this workflow task: the monitor then shows the resend before the request leaves, and a second
                # signal (a double click) does not make Temporal run the task, and the request, again.
                await workflow.sleep(_COMMIT, summary="resend")
            self._resend = False
            attempt = await self._deliver(trigger)
            if attempt:
                with contextlib.suppress(asyncio.CancelledError):  # it stays delivered
                    if self._failed and self._reporting():
                        await workflow.sleep(_COMMIT, summary="delivered")  # recorded before anything else can fail
                        self._report(operational.DELIVERY_RECOVERED, attempt.outcome)
                    await self._reported()
                return attempt.without_details()  # they are in history already, as the result of `send`
            if not self._resend:
                if self._stays_delivered():
                    return None
                await self._await_resend()
            trigger = Trigger.RESEND

    def _stays_delivered(self) -> bool:
        return self._delivery.delivered_before and not self._failed and self._outcome in outcomes.NEVER_SENT

    async def _deliver(self, trigger: Trigger) -> Attempt | None:
        """Run one chain of attempts. None if it failed for good, or if a resend ended it."""
        try:
            while self._prepared is None:
                result = await self._prepare(trigger)
                if isinstance(result, Prepared):
                    self._prepared = result
                elif await self._wait(result):
                    return None
            return await self._send(self._prepared, trigger)
        except FailureError as error:  # not ActivityError: a local activity raises its bare failure
            if is_cancelled_exception(error):
                raise
            self._failure = str(error)
            self._outcome = (isinstance(error, ApplicationError) and error.type) or outcomes.UNKNOWN
            return None

    async def _prepare(self, trigger: Trigger) -> Prepared | Deferred:
        self._proceed = False
        result: Prepared | Deferred = await workflow.execute_local_activity_method(
            DeliveryActivities.prepare,
            args=[self._delivery, trigger is Trigger.RESEND and not self._job_id],
            start_to_close_timeout=_PREPARE_TIMEOUT,
            retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=5)),
            local_retry_threshold=_RETRY_THRESHOLD,
        )
        return result

    async def _wait(self, deferred: Deferred) -> bool:
        """Wait until it may be tried again. Return whether a person asked for it."""
        with contextlib.suppress(asyncio.TimeoutError):
            await workflow.wait_condition(
                lambda: self._resend or self._proceed,
                timeout=deferred.after,
                timeout_summary=f"{deferred.reason}, next in {deferred.after:.0f} s",
            )
        return self._resend

    async def _send(self, prepared: Prepared, trigger: Trigger) -> Attempt | None:
        attempts_made = deferrals = 0
        attempts_before = self._attempts_before
        while True:
            self._resend = self._proceed = False  # earlier signals get what they asked for now
            rules = retry.remaining(prepared.retry, attempts_made)
            earlier = attempts_before + attempts_made
            since = f"attempts from {earlier + 1}: " if earlier else ""
            sending = workflow.start_local_activity_method(
                DeliveryActivities.send,
                SendInput(
                    tenant=self._delivery.tenant,
                    webhook_id=self._delivery.webhook_id,
                    event=self._delivery.occurrence.event,
                    delivery_id=self._delivery.id,
                    prepared=prepared,
                    trigger=trigger,
                    attempts_made=attempts_made,
                    attempts_before=attempts_before,
                    deferrals=deferrals,
                    accepted_at=workflow.info().typed_search_attributes.get(CREATED_AT),
                    job_id=self._job_id,
                ),
                start_to_close_timeout=timedelta(seconds=prepared.timeout + _SEND_MARGIN),
                retry_policy=RetryPolicy(
                    initial_interval=timedelta(seconds=rules.initial_interval),
                    backoff_coefficient=rules.backoff_coefficient,
                    maximum_interval=timedelta(seconds=rules.maximum_interval),
                    maximum_attempts=rules.maximum_attempts,
                    non_retryable_error_types=retry.final_outcomes(rules),
                ),
                local_retry_threshold=_RETRY_THRESHOLD,
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                summary=cut_summary(f"{since}{prepared.method} {prepared.url}"),
            )
            await self._end(sending)
            if sending.cancelled():  # in a backoff
                return None
            result: Attempt | Deferred = sending.result()
            if isinstance(result, Attempt):
                return result
            deferrals = deferrals + 1 if result.attempts_made == attempts_made else 1
            attempts_made = result.attempts_made
            if await self._wait(result):
                return None

    async def _end(self, sending: Sending) -> None:
        """Wait for the end of the chain. A resend, or the workflow's own cancellation, ends a backoff. A request
        on the wire is waited for, because its answer counts. Raises CancelledError unless it was delivered."""
        try:
            await workflow.wait_condition(lambda: self._resend or sending.done())
            await self._cancel(sending)
        except asyncio.CancelledError:
            await self._cancel(sending)
            if sending.cancelled() or sending.exception() or not isinstance(sending.result(), Attempt):
                raise

    async def _cancel(self, sending: Sending) -> None:
        """If the cancel races with the failure, Temporal still starts the backoff: cancel again until done."""
        while not sending.done():
            sending.cancel()
            with contextlib.suppress(asyncio.TimeoutError):
                await workflow.wait_condition(
                    sending.done, timeout=_CANCEL_AGAIN_AFTER, timeout_summary="an attempt is on the wire"
                )

    async def _await_resend(self) -> None:
        """Wait for `resend`. Raises ApplicationError when the window ends without one."""
        workflow.upsert_search_attributes([DELIVERY_STATUS.value_set(AWAITING_RESEND)])
        self._failed = True
        workflow.set_current_details(  # kept in memory, and read by a query: it writes nothing
            f"Failed for good: {self._failure}. `POST /v1/deliveries/{self._delivery.id}/resend` sends it again."
        )
        if self._reporting():
            self._report(operational.DELIVERY_FAILED, self._outcome)
        try:
            await workflow.wait_condition(
                lambda: self._resend,
                timeout=self._delivery.resend_window,
                timeout_summary=f"failed ({self._outcome.removeprefix('http_')}), waits for resend",
            )
        except TimeoutError:
            await self._reported()
            raise ApplicationError(
                f"not delivered: {self._failure}", type="DeliveryFailed", non_retryable=True
            ) from None
        workflow.set_current_details("")
        workflow.upsert_search_attributes([DELIVERY_STATUS.value_set(RESENT)])

    def _reporting(self) -> bool:
        """Return whether changes are published. Not for a delivery of an operational event: that would never end."""
        return self._delivery.occurrence.event not in operational.KEYS and workflow.patched("operational-events")

    def _report(self, change: str, outcome: str) -> None:
        """Begin to publish an operational event. The workflow goes on meanwhile: an internal error must not delay a
        resend."""
        occurrence = self._delivery.occurrence
        report = DeliveryChange(
            id=f"{change.replace('.', '-')}:{workflow.info().run_id}:{len(self._reports)}",
            change=change,
            tenant=self._delivery.tenant,
            webhook_id=self._delivery.webhook_id,
            delivery_id=self._delivery.id,
            occurrence_id=occurrence.id,
            event=occurrence.event,
            client_identifier=occurrence.client_identifier,
            outcome=outcome,
            at=workflow.now(),
        )
        self._reports.append(
            workflow.start_local_activity_method(
                DeliveryActivities.report,
                report,
                start_to_close_timeout=_REPORT_TIMEOUT,
                retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=1)),
                local_retry_threshold=_RETRY_THRESHOLD,
                summary=change,
            )
        )

    async def _reported(self) -> None:
        """Wait until every change is published: a closed workflow publishes nothing."""
        if self._reports:
            await workflow.wait_condition(lambda: all(report.done() for report in self._reports))
