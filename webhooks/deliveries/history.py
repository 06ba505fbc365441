"""Temporal's event history read as attempts. The only file that knows how the SDK records local activities.

A local activity that ended, well or not, is a marker named `core_local_activity`. Its `data` detail names the
activity; `result` holds what it returned, `failure` what it raised. A backoff is a timer started after the marker.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pydantic import AwareDatetime, BaseModel, TypeAdapter
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from webhooks import outcomes
from webhooks.contracts import RESEND_SIGNAL, Attempt, Deferred, Delivery, Prepared, Trigger
from webhooks.deliveries.status import DeliveryStatus
from webhooks.telemetry import traces
from webhooks.temporal.names import AWAITING_RESEND, CREATED_AT, DELIVERY_STATUS, MEMO_URL

_MARKER = "core_local_activity"
_CREATED_AT = TypeAdapter(AwareDatetime)
_PREPARED: TypeAdapter[Prepared | Deferred] = TypeAdapter(Prepared | Deferred)
_SENT: TypeAdapter[Attempt | Deferred] = TypeAdapter(Attempt | Deferred)
Model = TypeVar("Model", bound=BaseModel)


_CLOSED = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: DeliveryStatus.DELIVERED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: DeliveryStatus.EXPIRED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: DeliveryStatus.FAILED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: DeliveryStatus.FAILED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: DeliveryStatus.FAILED,
}


@dataclass
class Run:
    """One workflow run of a delivery, as far as its history tells."""

    delivery: Delivery
    created_at: datetime
    """When the delivery was accepted, which a resend after its close does not change."""
    started_at: datetime
    url: str
    """Where the delivery was to go when it was accepted."""
    trace: Mapping[str, str]
    """The trace that it was accepted in, as `traceparent`; empty if it was in none."""
    begun: bool = False
    """Whether its first workflow task is due: Temporal holds back a start that was asked to be delayed."""
    resent: bool = False
    """Whether a resend of the closed delivery started this run."""
    prepared: Prepared | None = None
    attempts: list[Attempt] = field(default_factory=list)
    next_attempt_at: datetime | None = None
    """When the running backoff or deferral ends; None while an attempt is on its way, and when none will come."""
    resend_due: bool = False
    """A resend was asked for, and `send` has not ended since."""
    status: DeliveryStatus = DeliveryStatus.PENDING
    closed_at: datetime | None = None


def read(events: Sequence[HistoryEvent]) -> Run:
    """The run that these events, beginning with the first one, tell of."""
    first = events[0].workflow_execution_started_event_attributes
    created_at = first.search_attributes.indexed_fields.get(CREATED_AT.name)
    url = first.memo.fields.get(MEMO_URL)
    trace = first.header.fields.get(traces.HEADER)
    run = Run(
        delivery=_parse(first.input.payloads[0], Delivery),
        created_at=_CREATED_AT.validate_json(created_at.data) if created_at else _time(events[0]),
        started_at=_time(events[0]),
        url=json.loads(url.data) if url else "",
        trace=json.loads(trace.data) if trace else {},
        resent=len(events) > 1 and _is_resend(events[1]),
    )
    timers: dict[str, datetime] = {}
    parked = False
    trigger = Trigger.EVENT
    for event in events[1:]:
        match event.event_type:
            case EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED:
                run.begun = True
            case EventType.EVENT_TYPE_MARKER_RECORDED:
                known = len(run.attempts)
                if _read_marker(run, event, trigger) == "send" or len(run.attempts) > known:
                    run.resend_due = False
                if len(run.attempts) > known:
                    trigger = Trigger.RETRY
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED if _is_resend(event):
                trigger, run.resend_due = Trigger.RESEND, True
            case EventType.EVENT_TYPE_TIMER_STARTED:
                started = event.timer_started_event_attributes
                timers[started.timer_id] = _time(event) + _duration(started.start_to_fire_timeout)
            case EventType.EVENT_TYPE_TIMER_FIRED:
                timers.pop(event.timer_fired_event_attributes.timer_id, None)
            case EventType.EVENT_TYPE_TIMER_CANCELED:
                timers.pop(event.timer_canceled_event_attributes.timer_id, None)
            case EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:
                changed = event.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields
                if DELIVERY_STATUS.name in changed:
                    parked = json.loads(changed[DELIVERY_STATUS.name].data) == AWAITING_RESEND
            case closed if closed in _CLOSED:
                run.status, run.closed_at = _CLOSED[closed], _time(event)
    if run.closed_at:
        return run
    if parked and not run.resend_due:
        run.status = DeliveryStatus.FAILED
    else:
        run.status = DeliveryStatus.RETRYING if run.attempts or run.resent else DeliveryStatus.PENDING
        begins = None if run.begun else _time(events[0]) + _duration(first.first_workflow_task_backoff)
        run.next_attempt_at = None if run.resend_due else max(timers.values(), default=begins)
    return run


def _read_marker(run: Run, event: HistoryEvent, trigger: Trigger) -> str | None:
    """The activity's name. `trigger` is for an attempt that could not say its own."""
    marker = event.marker_recorded_event_attributes
    if marker.marker_name != _MARKER:
        return None
    activity: str = json.loads(marker.details["data"].payloads[0].data)["activity_type"]
    failure = marker.failure if marker.HasField("failure") else None
    if failure is None:
        if activity == "prepare":
            prepared = _PREPARED.validate_json(marker.details["result"].payloads[0].data)
            if isinstance(prepared, Prepared):
                run.prepared = prepared
        elif activity == "send":
            sent = _SENT.validate_json(marker.details["result"].payloads[0].data)
            if isinstance(sent, Attempt):
                run.attempts.append(sent)
        return activity
    raised = failure.application_failure_info
    if activity == "send" and raised.details.payloads:
        run.attempts.append(_parse(raised.details.payloads[0], Attempt))
    elif (activity == "send" and failure.HasField("timeout_failure_info")) or raised.type in outcomes.NEVER_SENT:
        run.attempts.append(
            Attempt(
                trigger=trigger,
                url=run.prepared.url if run.prepared else run.url,
                started_at=_time(event),
                duration_ms=0,
                outcome=raised.type or outcomes.UNKNOWN,
                error=failure.message or None,
            )
        )
    return activity


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
