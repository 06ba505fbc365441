"""Reading a delivery's attempts from Temporal's event history.

This is the only file that knows how the SDK records local activities: each one that ended is a marker named
`core_local_activity`. Its detail `data` names the activity. The marker has either a detail `result`, what the activity
returned, or a `failure`, what it raised. A backoff is a timer that starts after the marker.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar

from pydantic import AwareDatetime, BaseModel, TypeAdapter
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent

from webhooks import outcomes
from webhooks.contracts import (
    INTERNAL_ERROR,
    NO_ANSWER,
    REQUESTED_BY_SIGNAL,
    RESEND_SIGNAL,
    TENANT_SUSPENDED,
    Attempt,
    Deferred,
    Delivery,
    Prepared,
    Trigger,
)
from webhooks.deliveries.status import DeliveryStatus, WaitingFor
from webhooks.telemetry import traces
from webhooks.temporal.names import AWAITING_RESEND, CREATED_AT, DELIVERY_STATUS, MEMO_EXACT_DIGEST, MEMO_URL

_MARKER = "core_local_activity"
_CREATED_AT = TypeAdapter(AwareDatetime)
_PREPARED: TypeAdapter[Prepared | Deferred] = TypeAdapter(Prepared | Deferred)
_SENT: TypeAdapter[Attempt | Deferred] = TypeAdapter(Attempt | Deferred)
Model = TypeVar("Model", bound=BaseModel)

_DEFERRED_FOR = {
    NO_ANSWER: WaitingFor.RECEIVER_IN_TROUBLE,
    TENANT_SUSPENDED: WaitingFor.LIFTING,
    INTERNAL_ERROR: WaitingFor.REPAIR,
}
"""What a deferred delivery waits for, by the reason. For any other reason it is room."""

_CLOSED = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: DeliveryStatus.DELIVERED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: DeliveryStatus.EXPIRED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: DeliveryStatus.FAILED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: DeliveryStatus.FAILED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: DeliveryStatus.FAILED,
}


@dataclass
class Run:
    """One workflow run of a delivery, as its history describes it."""

    delivery: Delivery
    created_at: datetime
    """When the delivery was accepted. A resend of the closed delivery does not change it."""
    started_at: datetime
    url: str
    """The webhook's URL when the delivery was accepted."""
    exact_digest: str | None
    """As in its memo: None if it has none."""
    trace: Mapping[str, str]
    """The `traceparent` of the trace in which it was accepted; empty if there was none."""
    begun: bool = False
    """Whether its first workflow task is scheduled. Not yet while the start is delayed."""
    resent: bool = False
    """Whether a resend of the closed delivery started this run."""
    prepared: Prepared | None = None
    attempts: list[Attempt] = field(default_factory=list)
    next_attempt_at: datetime | None = None
    """When the current backoff or deferral ends. None during an attempt, and if no attempt will follow."""
    resend_due: bool = False
    """Whether a resend was requested and `send` has not ended since."""
    status: DeliveryStatus = DeliveryStatus.PENDING
    waiting_for: WaitingFor | None = None
    """None during an attempt, and when it is closed."""
    closed_at: datetime | None = None


def read(events: Sequence[HistoryEvent]) -> Run:
    """Return the run that this history describes. `events` begin with the first event of the run."""
    reader = _Reader(events[0], resent=len(events) > 1 and _is_resend(events[1]))
    for event in events[1:]:
        reader.read(event)
    return reader.run()


class _Reader:
    """Reads the events of a run in order."""

    def __init__(self, started: HistoryEvent, *, resent: bool) -> None:
        first = started.workflow_execution_started_event_attributes
        created_at = first.search_attributes.indexed_fields.get(CREATED_AT.name)
        url = first.memo.fields.get(MEMO_URL)
        exact_digest = first.memo.fields.get(MEMO_EXACT_DIGEST)
        trace = first.header.fields.get(traces.HEADER)
        self._run = Run(
            delivery=_parse(first.input.payloads[0], Delivery),
            created_at=_CREATED_AT.validate_json(created_at.data) if created_at else _time(started),
            started_at=_time(started),
            url=json.loads(url.data) if url else "",
            exact_digest=json.loads(exact_digest.data) if exact_digest else None,
            trace=json.loads(trace.data) if trace else {},
            resent=resent,
        )
        self._first_task_at = _time(started) + _duration(first.first_workflow_task_backoff)
        self._timers: dict[str, datetime] = {}
        """When each running timer ends."""
        self._timers_are_for: WaitingFor | None = None
        """What the last activity that ended makes the delivery wait for."""
        self._needs_worker = False
        """Whether its next workflow task has not been begun."""
        self._awaiting_resend = False
        self._trigger = Trigger.EVENT
        """Why the next attempt is made, for an attempt whose record does not say it."""

        self._requested_by = self._run.delivery.requested_by
        """Who asked for the resend that comes next."""

    def read(self, event: HistoryEvent) -> None:
        read = self._READ.get(event.event_type)
        if read:
            read(self, event)

    def run(self) -> Run:
        """Return the run, with its status as of the last event."""
        run = self._run
        if run.closed_at:
            return run
        if self._awaiting_resend and not run.resend_due:
            run.status = DeliveryStatus.FAILED
        else:
            run.status = DeliveryStatus.RETRYING if run.attempts or run.resent else DeliveryStatus.PENDING
            begins = None if run.begun else self._first_task_at
            run.next_attempt_at = None if run.resend_due else max(self._timers.values(), default=begins)
        run.waiting_for = self._waiting_for()
        return run

    def _waiting_for(self) -> WaitingFor | None:
        run = self._run
        if self._awaiting_resend and not run.resend_due:
            return WaitingFor.PERSON
        if not run.begun:  # only starts for receivers in trouble are delayed
            return WaitingFor.RECEIVER_IN_TROUBLE
        if self._needs_worker:
            return WaitingFor.WORKER
        return self._timers_are_for if self._timers and not run.resend_due else None

    def _task_scheduled(self, _: HistoryEvent) -> None:
        self._run.begun = self._needs_worker = True

    def _task_begun(self, _: HistoryEvent) -> None:
        self._needs_worker = False

    def _task_failed(self, _: HistoryEvent) -> None:
        self._needs_worker = True

    def _marker(self, event: HistoryEvent) -> None:
        marker = event.marker_recorded_event_attributes
        if marker.marker_name != _MARKER:
            return
        activity: str = json.loads(marker.details["data"].payloads[0].data)["activity_type"]
        if marker.HasField("failure"):
            attempt = self._failed(activity, marker.failure, _time(event))
            if activity in ("prepare", "send"):
                self._timers_are_for = WaitingFor.BACKOFF if attempt else WaitingFor.REPAIR
        else:
            attempt = self._succeeded(activity, marker.details["result"].payloads[0])
        if attempt:
            if attempt.trigger is Trigger.RESEND:
                attempt = attempt.model_copy(update={"requested_by": self._requested_by})
                self._requested_by = None
            self._run.attempts.append(attempt)
            self._trigger = Trigger.RETRY
        if attempt or activity == "send":
            self._run.resend_due = False

    def _succeeded(self, activity: str, result: Payload) -> Attempt | None:
        ended: Prepared | Attempt | Deferred
        if activity == "prepare":
            ended = _PREPARED.validate_json(result.data)
        elif activity == "send":
            ended = _SENT.validate_json(result.data)
        else:
            return None
        self._timers_are_for = None
        if isinstance(ended, Prepared):
            self._run.prepared = ended
        elif isinstance(ended, Deferred):
            self._timers_are_for = _DEFERRED_FOR.get(ended.reason, WaitingFor.ROOM)
        return ended if isinstance(ended, Attempt) else None

    def _failed(self, activity: str, failure: Failure, at: datetime) -> Attempt | None:
        """Return the attempt that failed; None if the failure is ours and not an attempt."""
        raised = failure.application_failure_info
        if activity == "send" and raised.details.payloads:
            return _parse(raised.details.payloads[0], Attempt)
        if (activity == "send" and failure.HasField("timeout_failure_info")) or raised.type in outcomes.NEVER_SENT:
            return Attempt(
                trigger=self._trigger,
                url=self._run.prepared.url if self._run.prepared else self._run.url,
                started_at=at,
                duration_ms=0,
                outcome=raised.type or outcomes.UNKNOWN,
                error=failure.message or None,
            )
        return None

    def _signaled(self, event: HistoryEvent) -> None:
        signal = event.workflow_execution_signaled_event_attributes
        if signal.signal_name == REQUESTED_BY_SIGNAL:
            self._requested_by = json.loads(signal.input.payloads[0].data)
        elif _is_resend(event):
            self._trigger, self._run.resend_due = Trigger.RESEND, True

    def _timer_started(self, event: HistoryEvent) -> None:
        timer = event.timer_started_event_attributes
        self._timers[timer.timer_id] = _time(event) + _duration(timer.start_to_fire_timeout)

    def _timer_fired(self, event: HistoryEvent) -> None:
        self._timers.pop(event.timer_fired_event_attributes.timer_id, None)

    def _timer_canceled(self, event: HistoryEvent) -> None:
        self._timers.pop(event.timer_canceled_event_attributes.timer_id, None)

    def _search_attributes_changed(self, event: HistoryEvent) -> None:
        changed = event.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields
        if DELIVERY_STATUS.name in changed:
            self._awaiting_resend = json.loads(changed[DELIVERY_STATUS.name].data) == AWAITING_RESEND

    def _closed(self, event: HistoryEvent) -> None:
        self._run.status, self._run.closed_at = _CLOSED[event.event_type], _time(event)

    _READ: ClassVar[dict[int, Callable[["_Reader", HistoryEvent], None]]] = {
        EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED: _task_scheduled,
        EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED: _task_begun,
        EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED: _task_begun,
        EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED: _task_failed,
        EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT: _task_failed,
        EventType.EVENT_TYPE_MARKER_RECORDED: _marker,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED: _signaled,
        EventType.EVENT_TYPE_TIMER_STARTED: _timer_started,
        EventType.EVENT_TYPE_TIMER_FIRED: _timer_fired,
        EventType.EVENT_TYPE_TIMER_CANCELED: _timer_canceled,
        EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: _search_attributes_changed,
        **dict.fromkeys(_CLOSED, _closed),
    }


def _is_resend(event: HistoryEvent) -> bool:
    return (
        event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
        and event.workflow_execution_signaled_event_attributes.signal_name == RESEND_SIGNAL
    )


def _parse(payload: Payload, model: type[Model]) -> Model:
    return model.model_validate_json(payload.data)


def _time(event: HistoryEvent) -> datetime:
    return event.event_time.ToDatetime(tzinfo=UTC)


def _duration(value: Any) -> timedelta:
    result: timedelta = value.ToTimedelta()
    return result
