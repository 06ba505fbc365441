"""Histories that are hard to come by alive, built event by event."""

from datetime import UTC, datetime, timedelta

import pytest
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import EventType, TimeoutType, WorkflowTaskFailedCause
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure, TimeoutFailureInfo
from temporalio.api.history.v1 import (
    HistoryEvent,
    MarkerRecordedEventAttributes,
    TimerCanceledEventAttributes,
    TimerStartedEventAttributes,
    WorkflowExecutionCanceledEventAttributes,
    WorkflowExecutionSignaledEventAttributes,
    WorkflowExecutionStartedEventAttributes,
    WorkflowTaskFailedEventAttributes,
)

from webhooks import contracts, outcomes
from webhooks.contracts import Attempt, Deferred, Delivery, Occurrence, Prepared, RetryRules, Trigger
from webhooks.deliveries.history import read
from webhooks.deliveries.status import DeliveryStatus, WaitingFor

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DELIVERY = Delivery(
    tenant="t", webhook_id="w", occurrence=Occurrence(id="o", event="E", occurred_at=NOW, data={"n": 1})
)
PREPARED = Prepared(
    url="https://a.example/", method="POST", content_type="application/json", body="{}", timeout=1, retry=RetryRules()
)


def event(kind: str, **attributes: object) -> HistoryEvent:
    made = HistoryEvent(event_type=EventType.Value(f"EVENT_TYPE_{kind}"), **attributes)  # type: ignore[arg-type]
    made.event_time.FromDatetime(NOW)
    return made


def started() -> HistoryEvent:
    payload = Payload(data=DELIVERY.model_dump_json().encode())
    return event(
        "WORKFLOW_EXECUTION_STARTED",
        workflow_execution_started_event_attributes=WorkflowExecutionStartedEventAttributes(
            input=Payloads(payloads=[payload])
        ),
    )


def marker(
    activity: str, result: Prepared | Attempt | Deferred | None = None, failure: Failure | None = None
) -> HistoryEvent:
    details = {"data": Payloads(payloads=[Payload(data=f'{{"activity_type": "{activity}"}}'.encode())])}
    if result:
        details["result"] = Payloads(payloads=[Payload(data=result.model_dump_json().encode())])
    return event(
        "MARKER_RECORDED",
        marker_recorded_event_attributes=MarkerRecordedEventAttributes(
            marker_name="core_local_activity", details=details, failure=failure
        ),
    )


def requested_by(who: str) -> HistoryEvent:
    return event(
        "WORKFLOW_EXECUTION_SIGNALED",
        workflow_execution_signaled_event_attributes=WorkflowExecutionSignaledEventAttributes(
            signal_name="requested_by", input=Payloads(payloads=[Payload(data=f'"{who}"'.encode())])
        ),
    )


def resend() -> HistoryEvent:
    return event(
        "WORKFLOW_EXECUTION_SIGNALED",
        workflow_execution_signaled_event_attributes=WorkflowExecutionSignaledEventAttributes(signal_name="resend"),
    )


def timer(id: str, seconds: int) -> HistoryEvent:
    attributes = TimerStartedEventAttributes(timer_id=id)
    attributes.start_to_fire_timeout.FromTimedelta(timedelta(seconds=seconds))
    return event("TIMER_STARTED", timer_started_event_attributes=attributes)


def timer_canceled(id: str) -> HistoryEvent:
    return event("TIMER_CANCELED", timer_canceled_event_attributes=TimerCanceledEventAttributes(timer_id=id))


ATTEMPT = Attempt(trigger=Trigger.EVENT, url="https://a.example/", started_at=NOW, duration_ms=1, outcome="http_503")
FAILED = Failure(
    application_failure_info=ApplicationFailureInfo(
        type="http_503", details=Payloads(payloads=[Payload(data=ATTEMPT.model_dump_json().encode())])
    )
)
TIMED_OUT = Failure(timeout_failure_info=TimeoutFailureInfo(timeout_type=TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE))


def shown(*events: HistoryEvent) -> list[str]:
    return [f"{attempt.trigger} {attempt.outcome}" for attempt in read([started(), *events]).attempts]


def test_an_attempt_that_our_process_did_not_end_is_unknown() -> None:
    assert shown(marker("prepare", PREPARED), marker("send", failure=TIMED_OUT)) == ["event unknown"]
    assert shown(marker("send", failure=TIMED_OUT), marker("send", failure=TIMED_OUT)) == [
        "event unknown",
        "retry unknown",
    ]
    assert shown(marker("send", failure=TIMED_OUT), resend(), marker("send", failure=TIMED_OUT)) == [
        "event unknown",
        "resend unknown",
    ]


def test_what_could_not_be_prepared_is_an_attempt_that_was_never_sent() -> None:
    failure = Failure(message="too large", application_failure_info=ApplicationFailureInfo(type="not_rendered"))
    run = read([started(), marker("prepare", failure=failure)])

    assert [(attempt.outcome, attempt.error, attempt.status_code) for attempt in run.attempts] == [
        ("not_rendered", "too large", None)
    ]


def test_our_own_faults_are_no_attempts() -> None:
    """A prepare that failed and will be tried again, and a send that could not be tried."""
    failure = Failure(message="away", application_failure_info=ApplicationFailureInfo(type="OperationalError"))
    deferred = Deferred(after=5, reason="internal error", attempts_made=0)
    run = read([started(), marker("prepare", failure=failure), marker("send", deferred), timer("1", 5)])

    assert run.attempts == []
    assert run.status is DeliveryStatus.PENDING
    assert run.next_attempt_at == NOW + timedelta(seconds=5)


def test_a_resend_is_due_until_its_attempt_ends() -> None:
    waiting = [marker("prepare", PREPARED), marker("send", failure=FAILED), timer("1", 60)]
    assert read([started(), *waiting]).next_attempt_at == NOW + timedelta(seconds=60)
    due = read([started(), *waiting, resend()])
    assert due.resend_due
    assert due.status is DeliveryStatus.RETRYING
    assert due.next_attempt_at is None
    deferred = Deferred(after=5, reason="internal error", attempts_made=0)
    put_off = read([started(), *waiting, resend(), timer_canceled("1"), marker("send", deferred), timer("2", 5)])
    assert not put_off.resend_due
    assert put_off.next_attempt_at == NOW + timedelta(seconds=5)
    over = read([started(), *waiting, resend(), timer_canceled("1"), marker("send", failure=FAILED), timer("2", 60)])
    assert not over.resend_due
    assert over.next_attempt_at == NOW + timedelta(seconds=60)


def canceled() -> HistoryEvent:
    return event("WORKFLOW_EXECUTION_CANCEL_REQUESTED")


def test_one_that_is_being_given_up_waits_for_nothing_and_the_resend_keeps_who_asked() -> None:
    resent = ATTEMPT.model_copy(update={"trigger": Trigger.RESEND})
    history = [requested_by("ann"), resend(), timer("1", 60), requested_by("bob"), canceled(), canceled()]
    run = read([started(), *history])
    ended = read([started(), *history, marker("send", resent)])

    assert (run.given_up, run.canceled_by, run.waiting_for, run.next_attempt_at) == (True, "bob", None, None)
    assert [attempt.requested_by for attempt in ended.attempts] == ["ann"]
    assert ended.canceled_by == "bob"


def test_an_answer_that_a_cancellation_made_temporal_drop_is_shown_as_unknown() -> None:
    """Temporal does not let a workflow end when something has come meanwhile, and forgets what the task did."""
    refused = event(
        "WORKFLOW_TASK_FAILED",
        workflow_task_failed_event_attributes=WorkflowTaskFailedEventAttributes(
            cause=WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND
        ),
    )
    end = event(
        "WORKFLOW_EXECUTION_CANCELED",
        workflow_execution_canceled_event_attributes=WorkflowExecutionCanceledEventAttributes(),
    )
    run = read([started(), refused, requested_by("bob"), canceled(), end])

    assert [attempt.outcome for attempt in run.attempts] == [outcomes.UNKNOWN]


def test_a_canceled_delivery_is_closed() -> None:
    end = event(
        "WORKFLOW_EXECUTION_CANCELED",
        workflow_execution_canceled_event_attributes=WorkflowExecutionCanceledEventAttributes(),
    )
    run = read([started(), timer("1", 60), end])

    assert run.status is DeliveryStatus.CANCELED
    assert run.closed_at == NOW
    assert run.next_attempt_at is None


OURS = Failure(message="away", application_failure_info=ApplicationFailureInfo(type="OperationalError"))


def deferred(reason: str) -> list[HistoryEvent]:
    return [marker("send", Deferred(after=5, reason=reason, attempts_made=0)), timer("1", 5)]


BEGUN = [event("WORKFLOW_TASK_SCHEDULED"), event("WORKFLOW_TASK_STARTED")]
ENDED = event("WORKFLOW_TASK_COMPLETED")
BACKOFF = [*BEGUN, marker("prepare", PREPARED), ENDED, marker("send", failure=FAILED), timer("1", 60)]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], WaitingFor.RECEIVER_IN_TROUBLE),  # its start is delayed
        (BEGUN[:1], WaitingFor.WORKER),
        (BEGUN, None),  # an attempt is in progress
        ([*BEGUN, event("WORKFLOW_TASK_TIMED_OUT")], WaitingFor.WORKER),
        ([*BEGUN, ENDED, *deferred(contracts.NO_ANSWER)], WaitingFor.RECEIVER_IN_TROUBLE),
        ([*BEGUN, ENDED, *deferred(contracts.WEBHOOK_SHARE_USED)], WaitingFor.ROOM),
        ([*BEGUN, ENDED, *deferred(contracts.TENANT_SHARE_USED)], WaitingFor.ROOM),
        ([*BEGUN, ENDED, *deferred(contracts.TENANT_SUSPENDED)], WaitingFor.LIFTING),
        ([*BEGUN, ENDED, *deferred(contracts.INTERNAL_ERROR)], WaitingFor.REPAIR),
        ([*BEGUN, ENDED, marker("prepare", failure=OURS), timer("1", 5)], WaitingFor.REPAIR),
        (BACKOFF, WaitingFor.BACKOFF),
        ([*BACKOFF, resend(), *BEGUN], None),
        ([*BACKOFF, resend(), *BEGUN[:1]], WaitingFor.WORKER),
    ],
)
def test_what_a_delivery_waits_for(events: list[HistoryEvent], expected: WaitingFor | None) -> None:
    assert read([started(), *events]).waiting_for is expected


def test_the_attempt_of_a_resend_shows_who_asked() -> None:
    """Not its retries, and not the resend of an earlier version, which did not say it."""

    def made(trigger: Trigger) -> HistoryEvent:
        attempt = Attempt(trigger=trigger, url="", started_at=NOW, duration_ms=1, outcome="http_503")
        return marker("send", attempt)

    history = [
        *(made(Trigger.EVENT), requested_by("shop"), resend(), made(Trigger.RESEND), made(Trigger.RETRY)),
        *(resend(), made(Trigger.RESEND)),
        *(requested_by("ann"), requested_by("bob"), resend(), resend(), made(Trigger.RESEND)),
    ]

    assert [attempt.requested_by for attempt in read([started(), *history]).attempts] == [
        *(None, "shop", None),
        None,
        "bob",
    ]
