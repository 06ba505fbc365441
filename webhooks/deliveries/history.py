"""Reading a delivery's attempts from Temporal's event history.

This is the only file that knows how the SDK records local activities: each one that ended is a marker named
`core_local_activity`. Its detail `data` names the activity. The marker has either a detail `result`, what the activity
returned, or a `failure`, what it raised. A backoff is a timer that starts after the marker.

What is encrypted is decrypted first. Where that is impossible, the run is described by what is never encrypted: search
attributes, the types of failures, times.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar

from pydantic import AwareDatetime, BaseModel, TypeAdapter
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.common import TypedSearchAttributes
from temporalio.converter import DataConverter, decode_typed_search_attributes

from webhooks import outcomes
from webhooks.contracts import (
    INTERNAL_ERROR,
    JOB_SIGNAL,
    NO_ANSWER,
    REQUESTED_BY_SIGNAL,
    RESEND_SIGNAL,
    TENANT_SUSPENDED,
    Attempt,
    Deferred,
    Delivery,
    JobResend,
    Occurrence,
    Prepared,
    Received,
    Trigger,
)
from webhooks.deliveries.status import DeliveryStatus, WaitingFor
from webhooks.telemetry import traces
from webhooks.temporal import codec
from webhooks.temporal.codec import UnreadableError
from webhooks.temporal.names import (
    AWAITING_RESEND,
    CLIENT_ID,
    CREATED_AT,
    DELIVERY_STATUS,
    EVENT_KEY,
    MEMO_EXACT_DIGEST,
    MEMO_URL,
    OCCURRENCE_ID,
    SOURCE_ID,
    TENANT_ID,
    WEBHOOK_ID,
)

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

_LOST = "it was given up during an attempt, and the answer is lost"

_CLOSED = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: DeliveryStatus.DELIVERED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: DeliveryStatus.EXPIRED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: DeliveryStatus.FAILED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: DeliveryStatus.FAILED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: DeliveryStatus.CANCELED,
}


@dataclass
class Run:
    """One workflow run of a delivery, as its history describes it."""

    id: str
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
    asked_at: datetime | None = None
    """When a resend was requested last, by a person or a job; None if none was."""
    job_id: str | None = None
    """The job that started this run, or that requested a resend last; None if a person was the last who did."""
    resends: int = 0
    """How often a resend was requested."""
    status: DeliveryStatus = DeliveryStatus.PENDING
    waiting_for: WaitingFor | None = None
    """None during an attempt, and when it is closed or given up."""
    given_up: bool = False
    """Whether somebody gave it up. It ends without a further attempt; one on the wire still counts."""
    canceled_by: str | None = None
    """Who gave it up; None if nobody did, or if it was done in Temporal."""
    closed_at: datetime | None = None
    readable: bool = True
    """Whether everything could be decrypted. If not, `delivery` and `attempts` have gaps, and it cannot be resent."""

    def assert_readable(self) -> None:
        """Raise UnreadableError if something could not be decrypted."""
        if not self.readable:
            raise UnreadableError("the data of this delivery can no longer be decrypted")


async def decrypt_and_read(events: Sequence[HistoryEvent], converter: DataConverter) -> Run:
    """Decrypt the events in place, and return the run that they describe, as `read` does."""
    await codec.decrypt(converter, [payload for event in events for payload in _payloads(event)])
    return read(events)


def read(events: Sequence[HistoryEvent]) -> Run:
    """Return the run that this history describes. `events` begin with the first event of the run. Raises ValueError if
    another program wrote them."""
    reader = _Reader(events[0], resent=len(events) > 1 and _is_resend(events[1]))
    for event in events[1:]:
        reader.read(event)
    return reader.run()


class _Reader:
    """Reads the events of a run in order."""

    def __init__(self, started: HistoryEvent, *, resent: bool) -> None:
        first = started.workflow_execution_started_event_attributes
        created_at = first.search_attributes.indexed_fields.get(CREATED_AT.name)
        delivery = _parse(first.input.payloads[0], Delivery)
        self._run = Run(
            id=first.original_execution_run_id,
            delivery=delivery or known_of(decode_typed_search_attributes(first.search_attributes)),
            created_at=_CREATED_AT.validate_json(created_at.data) if created_at else _time(started),
            started_at=_time(started),
            url=_json(first.memo.fields.get(MEMO_URL)) or "",
            exact_digest=_json(first.memo.fields.get(MEMO_EXACT_DIGEST)),
            trace=_json(first.header.fields.get(traces.HEADER)) or {},
            resent=resent,
            job_id=delivery.job_id if delivery else None,
            readable=delivery is not None,
        )
        if delivery and delivery.resent:
            self._run.resent, self._run.asked_at = True, self._run.started_at
        self._replayed = self._run.job_id is not None and not self._run.resent
        """Whether a job's replay started this run."""
        self._asking_job: str | None = None
        """The job that asks for the resend that comes next; None if a person does."""
        self._first_task_at = _time(started) + _duration(first.first_workflow_task_backoff)
        self._timers: dict[str, datetime] = {}
        """When each running timer ends."""
        self._timers_are_for: WaitingFor | None = None
        """What the last activity that ended makes the delivery wait for."""
        self._lost_at: datetime | None = None
        """When Temporal did not accept the end of the workflow, because a signal or a cancellation had come meanwhile.
        What the workflow did in that task is lost, also an attempt that delivered."""
        self._needs_worker = False
        """Whether its next workflow task has not been begun."""
        self._awaiting_resend = False
        self._trigger = Trigger.RESEND if self._run.delivery.resent else Trigger.EVENT
        """Why the next attempt is made, for an attempt whose record does not say it."""

        self._asking = self._run.delivery.requested_by
        """Who asks for the resend or the cancellation that comes next."""
        self._requested_by: str | None = self._asking if self._run.job_id else None
        """Who asked for the resend for which no attempt has ended yet."""

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
            run.status = DeliveryStatus.CANCELED if run.given_up else DeliveryStatus.FAILED
        else:
            run.status = DeliveryStatus.RETRYING if run.attempts or run.resent else DeliveryStatus.PENDING
            begins = None if run.begun else self._first_task_at
            is_due = run.resend_due or run.given_up
            run.next_attempt_at = None if is_due else max(self._timers.values(), default=begins)
        run.waiting_for = None if run.given_up else self._waiting_for()
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

    def _task_failed(self, event: HistoryEvent) -> None:
        self._needs_worker = True
        cause = event.workflow_task_failed_event_attributes.cause
        if cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND and not self._run.given_up:
            self._lost_at = None if self._awaiting_resend else _time(event)

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
            self._lost_at = None
            if attempt.trigger is Trigger.EVENT and self._replayed:
                attempt = attempt.model_copy(update={"trigger": Trigger.REPLAY})
            if attempt.trigger in (Trigger.RESEND, Trigger.REPLAY):
                attempt = attempt.model_copy(update={"requested_by": self._requested_by})
                self._requested_by = None
            self._run.attempts.append(attempt)
            self._trigger = Trigger.RETRY
        if attempt or activity == "send":
            self._run.resend_due = False

    def _succeeded(self, activity: str, result: Payload) -> Attempt | None:
        ended: Prepared | Attempt | Deferred
        if activity in ("prepare", "send") and codec.is_encrypted(result):
            self._run.readable, self._timers_are_for = False, None
            return None
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
        details = raised.details.payloads if activity == "send" else ()
        if details and (attempt := _parse(details[0], Attempt)):
            return attempt
        if details:
            self._run.readable = False
        timed_out = activity == "send" and failure.HasField("timeout_failure_info")
        if details or timed_out or raised.type in outcomes.NEVER_SENT:
            return self._unknown(raised.type or outcomes.UNKNOWN, at, self._message(failure) or None)
        return None

    def _unknown(self, outcome: str, at: datetime, error: str | None) -> Attempt:
        """Return an attempt of which no record was left."""
        url = self._run.prepared.url if self._run.prepared else self._run.url
        return Attempt(trigger=self._trigger, url=url, started_at=at, duration_ms=0, outcome=outcome, error=error)

    def _message(self, failure: Failure) -> str:
        if not failure.HasField("encoded_attributes"):
            return failure.message
        encoded = _json(failure.encoded_attributes)
        if encoded is None:
            self._run.readable = False
            return ""
        return str(encoded["message"])

    def _signaled(self, event: HistoryEvent) -> None:
        signal = event.workflow_execution_signaled_event_attributes
        if signal.signal_name == REQUESTED_BY_SIGNAL:
            self._asking, self._asking_job = _json(signal.input.payloads[0]), None
        elif signal.signal_name == JOB_SIGNAL:
            if resend := _parse(signal.input.payloads[0], JobResend):
                self._asking, self._asking_job = resend.requested_by, resend.job_id
        elif _is_resend(event):
            self._trigger, self._run.resend_due = Trigger.RESEND, True
            self._requested_by, self._asking = self._asking or self._requested_by, None
            self._run.asked_at, self._run.job_id = _time(event), self._asking_job
            self._run.resends += 1

    def _cancel_requested(self, _: HistoryEvent) -> None:
        self._run.given_up = True
        self._run.canceled_by, self._asking = self._run.canceled_by or self._asking, None

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
        if self._lost_at and self._run.status is DeliveryStatus.CANCELED:
            self._run.attempts.append(self._unknown(outcomes.UNKNOWN, self._lost_at, _LOST))

    _READ: ClassVar[dict[int, Callable[["_Reader", HistoryEvent], None]]] = {
        EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED: _task_scheduled,
        EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED: _task_begun,
        EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED: _task_begun,
        EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED: _task_failed,
        EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT: _task_failed,
        EventType.EVENT_TYPE_MARKER_RECORDED: _marker,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED: _signaled,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED: _cancel_requested,
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


def _payloads(event: HistoryEvent) -> Iterator[Payload]:
    """Yield the payloads of an event that are read here."""
    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
        started = event.workflow_execution_started_event_attributes
        yield from started.input.payloads
        yield from started.memo.fields.values()
        yield from started.header.fields.values()
    elif event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
        yield from event.workflow_execution_signaled_event_attributes.input.payloads
    elif event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED:
        marker = event.marker_recorded_event_attributes
        if "result" in marker.details:  # reading a missing key of a protobuf map would add it
            yield from marker.details["result"].payloads
        if marker.HasField("failure"):
            yield from marker.failure.application_failure_info.details.payloads
            if marker.failure.HasField("encoded_attributes"):
                yield marker.failure.encoded_attributes


def known_of(attributes: TypedSearchAttributes) -> Delivery:
    """Return what the search attributes say of a delivery, without its data. When it occurred is not among them, so it
    is when it was accepted."""
    source = attributes.get(SOURCE_ID)
    return Delivery(
        tenant=attributes[TENANT_ID],
        webhook_id=attributes.get(WEBHOOK_ID) or "",
        occurrence=Occurrence(
            id=attributes[OCCURRENCE_ID],
            event=attributes[EVENT_KEY],
            client_identifier=attributes.get(CLIENT_ID),
            occurred_at=attributes[CREATED_AT],
            data=None,
            received=Received(source_id=source, verified=False) if source else None,
        ),
        resend_window=0,
    )


def _parse(payload: Payload, model: type[Model]) -> Model | None:
    """Return what the payload holds; None if it could not be decrypted."""
    return None if codec.is_encrypted(payload) else model.model_validate_json(payload.data)


def _json(payload: Payload | None) -> Any:
    """Return what the payload holds; None if there is none, or if it could not be decrypted."""
    return None if payload is None or codec.is_encrypted(payload) else json.loads(payload.data)


def _time(event: HistoryEvent) -> datetime:
    return event.event_time.ToDatetime(tzinfo=UTC)


def _duration(value: Any) -> timedelta:
    result: timedelta = value.ToTimedelta()
    return result
