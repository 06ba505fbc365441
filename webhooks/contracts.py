"""The inputs and results of workflows and activities.

Temporal stores them in histories and must be able to read them as long as the namespace keeps those. So a new field
needs a default, no field changes its name or type, and none holds a secret.
"""

from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, ConfigDict, JsonValue

from webhooks.ids import delivery_id

RESEND_SIGNAL = "resend"
"""Signal of `DeliverWebhook`, without arguments: attempt now, and begin the retry policy again."""

ATTEMPTS_SIGNAL = "attempts"
"""Signal of `DeliverWebhook`, which may precede `resend`: how many attempts the delivery has had. Not an argument of
`resend`: workers of an earlier version would fail to call it."""

REQUESTED_BY_SIGNAL = "requested_by"
"""Signal of `DeliverWebhook`, which may precede `resend`: who asks for it. Workers of an earlier version ignore it."""

JOB_SIGNAL = "job"
"""Signal of `DeliverWebhook` with a `JobResend`, which may precede `resend`: a job asks for it. Workers of an earlier
version ignore it, and send as if a person had asked."""

PROCEED_SIGNAL = "proceed"
"""Signal of `DeliverWebhook`, without arguments: the reason to defer the delivery is over, attempt now."""

NO_ANSWER = "the receiver gives no answer"
WEBHOOK_SHARE_USED = "the webhook's share of requests is in flight"
TENANT_SHARE_USED = "the tenant's share of requests is in flight"
TENANT_SUSPENDED = "the tenant is suspended"
INTERNAL_ERROR = "internal error"
"""Reasons of `Deferred`. The monitor reads them from histories."""


class Contract(BaseModel):
    """The base of every input and result. Ignores unknown fields, which a newer version may have written."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class RetryRules(Contract):
    """A webhook's retry policy. Intervals are in seconds.

    With a `schedule`, its entries are the intervals between attempts, in order. Otherwise the first interval is
    `initial_interval`, and each further one is `backoff_coefficient` times the one before, up to `maximum_interval`.
    Each interval is then changed at random by up to 10 %. `maximum_attempts` includes the first attempt.

    An answer with a status of `non_retryable_statuses` ends the attempts. With `only_5xx`, every failure other than a
    5xx answer or a failed token request does."""

    initial_interval: float = 10
    backoff_coefficient: float = 4
    maximum_interval: float = 43_200
    maximum_attempts: int = 10
    schedule: tuple[float, ...] = ()
    non_retryable_statuses: tuple[int, ...] = (400,)
    only_5xx: bool = False


class Format(StrEnum):
    """The format of a request's body. The names are those of LogiSense."""

    JSON = "JSON"
    FORM = "Form URL Encoded"


class Received(Contract):
    """The request that brought an occurrence, if it is another system's webhook.

    `verified`: false if the source asks for no proof. `sender_id` and `sender_type` are the sender's own id and type of
    the message, if its style has them. In `headers` and `query`, credentials are masked. `body` is the body byte for
    byte, compressed (zlib) and in base64."""

    source_id: str
    verified: bool
    sender_id: str | None = None
    sender_type: str | None = None
    address: str = ""
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    body: str = ""


class Occurrence(Contract):
    """An event that happened once, with its data."""

    id: str
    event: str
    client_identifier: str | None = None
    owner_id: str | None = None
    user_id: str | None = None
    bulk: bool = False
    """Whether it is one of many, for example from an import. A webhook chooses whether it gets such occurrences."""
    occurred_at: AwareDatetime
    data: JsonValue
    digits: JsonValue = None
    """The producer's digits of those numbers in `data` that Python writes in another way: `{"total": "10.00"}` for
    `{"total": 10.0}` (`webhooks/json_numbers.py`). None if there are none."""
    received: Received | None = None
    """The request that brought it. None if it was published."""


NOT_NAMED = frozenset(("digits", "received"))
"""Fields of an occurrence that templates and filters cannot name."""
OCCURRENCE_FIELDS = tuple(name for name in Occurrence.model_fields if name not in NOT_NAMED)
"""What templates and filters can name."""


class Delivery(Contract):
    """An occurrence to be sent to one webhook. The input of `DeliverWebhook`."""

    tenant: str
    webhook_id: str
    occurrence: Occurrence
    resend_window: float = 7 * 86_400
    """Seconds after its final failure during which the delivery can be sent again."""
    failed_before: bool = False
    """Whether an earlier workflow run of this delivery ended with a final failure."""
    delivered_before: bool = False
    """Whether the workflow run before this one delivered it. If nothing can be sent then, it stays delivered."""
    attempts_before: int = 0
    """Attempts of earlier workflow runs of this delivery."""
    requested_by: str | None = None
    """Who asked for the resend or the job that started this workflow run."""
    job_id: str | None = None
    """The job that started this workflow run: a replay, or with `resent` a resend."""
    resent: bool = False
    """Whether a job's resend of the closed delivery started this workflow run."""
    fanned_out: bool = False
    """Whether a fan-out started it. Then the fan-out stands for the occurrence in lists of occurrences."""

    @property
    def id(self) -> str:
        return delivery_id(self.occurrence.id, self.webhook_id)


class UnmatchedOccurrence(Contract):
    """An occurrence that matched no webhook, and why. The input of `RecordOccurrence`."""

    tenant: str
    occurrence: Occurrence
    reason: str = ""


class FanOut(Contract):
    """An occurrence and the webhooks that matched when it was accepted: more than are started before the answer. The
    input of `FanOutOccurrence`."""

    tenant: str
    occurrence: Occurrence
    webhook_ids: tuple[str, ...]


class FanOutProgress(Contract):
    """How far a fan-out has come. `done`: for how many webhooks, from the first one on, there is a delivery.
    `conflicts`: how many of them have one of this id with other content, which was left as it is."""

    done: int = 0
    conflicts: int = 0


class Prepared(Contract):
    """The result of `prepare`: the parts of a request that stay the same for every attempt of a workflow run. `send`
    reads everything else from the webhook again. `body` is sent as UTF-8, unchanged. `url` is the webhook's URL at
    the time of `prepare`; an attempt uses the current one. `timeout` is in seconds. `content_type` is
    empty if there is no body."""

    url: str
    method: str
    content_type: str
    body: str
    timeout: float
    retry: RetryRules
    event_version: int | None = None
    """Version of the event whose template the body was rendered from."""


class Trigger(StrEnum):
    """Why an attempt was made."""

    EVENT = "event"
    RETRY = "retry"
    RESEND = "resend"
    REPLAY = "replay"
    """Only the monitor says so. Histories hold EVENT, which earlier versions can read, in a run that a job started."""


class SendInput(Contract):
    """The input of `send`. A chain is a first attempt and its retries; a resend begins a new one. `trigger` is the
    reason of the chain's first attempt. `attempts_made` counts the chain's attempts so far, `attempts_before` those of
    earlier chains, `deferrals` how often in a row no attempt could be made. `accepted_at` is when the delivery was
    accepted."""

    tenant: str
    webhook_id: str
    event: str
    delivery_id: str
    prepared: Prepared
    trigger: Trigger
    attempts_made: int = 0
    attempts_before: int = 0
    deferrals: int = 0
    accepted_at: AwareDatetime | None = None
    job_id: str | None = None
    """The job that asked for the chain. Then it is not a person who waits for it, and it takes its turn in its lane."""


class AttemptDetails(Contract):
    """How the request of an attempt and its answer went over the wire. Secrets are masked.

    `timing` holds the milliseconds of each part that happened, also of one that failed: `dns`, `connect`, `tls`, `wait`
    (from sending the request to the first byte of the answer), `read` (from there to the end of the body, as far as it
    was read). Headers are lines `name: value`, limited in number and length: one text takes a quarter of the CPU time
    of a list. Sizes are bytes of bodies; of an answer, those that were read. `response_complete` says whether
    `response_body` is all of it. `remote_address` is None behind a proxy, and in the operator's networks."""

    timing: dict[str, float] = {}
    request_headers: str = ""
    request_size: int = 0
    response_headers: str = ""
    response_size: int | None = None
    response_complete: bool | None = None
    remote_address: str | None = None
    http_version: str | None = None


class Attempt(Contract):
    """One HTTP request of a delivery and its outcome, a name of `webhooks/outcomes.py`.

    `retry_after` is what the receiver asked for, and `backoff` what we wait before the next attempt, both in seconds.
    `response_body` holds up to 16 KiB, with secrets redacted and invalid UTF-8 replaced.
    `deactivated` means that this failure deactivated the webhook: it is the last attempt of its chain.
    `requested_by` is who asked for a resend or a replay. The monitor adds it; histories hold it beside the
    attempt. `details` is None if no request was made, and of attempts that an earlier version recorded."""

    trigger: Trigger
    url: str
    started_at: AwareDatetime
    duration_ms: float
    outcome: str
    status_code: int | None = None
    error: str | None = None
    response_body: str | None = None
    retry_after: float | None = None
    backoff: float | None = None
    deactivated: bool = False
    requested_by: str | None = None
    details: AttemptDetails | None = None

    def without_details(self) -> "Attempt":
        return self.model_copy(update={"details": None})


class DeliveryChange(Contract):
    """A change of a delivery that is published as an operational event. The input of `report`. `change` is the key of
    the operational event, and `id` the id of its occurrence. `occurrence_id`, `event` and `client_identifier` are those
    of the occurrence that was to be delivered. `outcome` is that of the last attempt."""

    id: str
    change: str
    tenant: str
    webhook_id: str
    delivery_id: str
    occurrence_id: str
    event: str
    client_identifier: str | None = None
    outcome: str
    at: AwareDatetime


class Deferred(Contract):
    """A result of `send`: no attempt was made, for a reason that is not the receiver's. Call `send` again after `after`
    seconds. `attempts_made` counts the chain's attempts so far; a deferral is not one of them."""

    after: float
    reason: str
    attempts_made: int


class JobResend(Contract):
    """The argument of the signal `job`: the job, who asked for it, and how many attempts the delivery has had."""

    job_id: str
    requested_by: str
    attempts_before: int


class JobKind(StrEnum):
    """What a job does with each delivery that it finds."""

    RESEND = "resend"
    REPLAY = "replay"
    CANCEL = "cancel"


class JobState(StrEnum):
    """The state of a job."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    DONE = "done"
    FAILED = "failed"


class Selection(Contract):
    """Which deliveries a job is about, as in the list of deliveries. Of several values, any one may match; no value
    means all. `since` (inclusive) and `until` (exclusive) are about their creation, `last_attempt_since` (inclusive) is
    about their last attempt. A replay has one webhook, and its times are about the publication of occurrences."""

    webhook_ids: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    occurrence_ids: tuple[str, ...] = ()
    client_identifiers: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    since: AwareDatetime | None = None
    until: AwareDatetime
    last_attempt_since: AwareDatetime | None = None


class JobProgress(Contract):
    """How far a job has come. It looks at what its selection finds, oldest first. `created_at` and `workflow_id` are
    those of the last one that it has looked at."""

    found: int | None = None
    """How many there were at its start. None: not counted yet."""
    seen: int = 0
    """How many it has looked at."""
    done: int = 0
    skipped: dict[str, int] = {}
    """How many were left as they are, by reason."""
    created_at: AwareDatetime | None = None
    workflow_id: str = ""
    worked: float = 0
    """Seconds for which it has run, without pauses."""
    complete: bool = False


class Job(Contract):
    """The input of `RunJob`. `rate` is how many deliveries it may send, start or give up per second.

    `client_identifier`: the client whose user began it; only this client's users and the tenant see it."""

    id: str
    tenant: str
    kind: JobKind
    selection: Selection
    force: bool = False
    """Resend: also what was delivered."""
    only_missing: bool = True
    """Replay: leave out what has a delivery already. Otherwise resend those that failed."""
    rate: float
    requested_by: str
    client_identifier: str | None = None
    started_at: AwareDatetime
    progress: JobProgress = JobProgress()
    paused: bool = False
    step_seconds: float = 600
    """How long one call of `work` takes. Then the workflow calls again: its history grows by a few events in this time.
    """
    steps_per_run: int = 50
    """Then the workflow continues as a new run, so that no history grows without bound."""


class JobStatus(Contract):
    """What the memo of a job says of it."""

    state: JobState = JobState.RUNNING
    progress: JobProgress = JobProgress()
