"""What crosses a process boundary: the inputs and results of workflows and activities.

Everything here is written into Temporal's history, where it must be readable for as long as the namespace keeps it:
add fields with a default, never rename or retype one, and put no secret in any of them.
"""

from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, ConfigDict, JsonValue

from webhooks.ids import delivery_id

RESEND_SIGNAL = "resend"
"""Signal of `DeliverWebhook`, without arguments: try now, with a fresh retry policy."""


PROCEED_SIGNAL = "proceed"
"""Signal of `DeliverWebhook`, without arguments: what the delivery was deferred for is over."""


class Contract(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class RetryRules(Contract):
    """A webhook's retry policy. Intervals in seconds; the first wait is `initial_interval`, each further one
    `backoff_coefficient` times the last, never above `maximum_interval`; or the waits are those of `schedule`, one by
    one. Each is then jittered by a tenth. `maximum_attempts` counts the first one.

    An answer with one of `non_retryable_statuses` is final; with `only_5xx`, so is everything but a 5xx answer."""

    initial_interval: float = 10
    backoff_coefficient: float = 4
    maximum_interval: float = 43_200
    maximum_attempts: int = 10
    schedule: tuple[float, ...] = ()
    non_retryable_statuses: tuple[int, ...] = (400,)
    only_5xx: bool = False


class Format(StrEnum):
    """How a body is written, by LogiSense's names."""

    JSON = "JSON"
    FORM = "Form URL Encoded"


class Occurrence(Contract):
    """One event that happened."""

    id: str
    event: str
    client_identifier: str | None = None
    owner_id: str | None = None
    user_id: str | None = None
    bulk: bool = False
    """Whether it is one of many, from an import say; webhooks choose whether they want those."""
    occurred_at: AwareDatetime
    data: JsonValue


class Delivery(Contract):
    """One occurrence for one webhook: the input of `DeliverWebhook`."""

    tenant: str
    webhook_id: str
    occurrence: Occurrence
    resend_window: float = 7 * 86_400
    """Seconds that the delivery waits for `resend` once it has failed for good."""
    failed_before: bool = False
    """Whether an earlier run of it failed for good."""

    @property
    def id(self) -> str:
        return delivery_id(self.occurrence.id, self.webhook_id)


class UnmatchedOccurrence(Contract):
    """An occurrence that no webhook wanted, and why: the input of `RecordOccurrence`."""

    tenant: str
    occurrence: Occurrence
    reason: str = ""


class Prepared(Contract):
    """What `prepare` fixed for every attempt of a run: `send` reads the rest of the webhook anew.
    `body` is sent byte for byte, as UTF-8; `url` is where it would have gone then."""

    url: str
    method: str
    content_type: str
    body: str
    timeout: float
    retry: RetryRules
    event_version: int | None = None
    """Which version of the event's template made the body."""


class Trigger(StrEnum):
    """Why an attempt was made."""

    EVENT = "event"
    RETRY = "retry"
    RESEND = "resend"


class SendInput(Contract):
    """The input of `send`. `trigger` is the reason of the chain's first attempt; every later one is a retry.
    `attempts_made` counts the chain's attempts so far, `deferrals` how many times in a row we could not try.
    `accepted_at` is when the delivery was."""

    tenant: str
    webhook_id: str
    event: str
    delivery_id: str
    prepared: Prepared
    trigger: Trigger
    attempts_made: int = 0
    deferrals: int = 0
    accepted_at: AwareDatetime | None = None


class Attempt(Contract):
    """One HTTP request of a delivery and its outcome (`webhooks/outcomes.py` has the words).

    `retry_after` is what the receiver asked for and `backoff` what we wait before the next attempt, both in seconds.
    `response_body` holds the first 16 KiB, decoded leniently and with our own credentials blotted out.
    `deactivated` says that its failure deactivated the webhook, which makes it the last of its chain."""

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


class DeliveryChange(Contract):
    """What became of a delivery: the input of `report`. `change` is the operational event and `id` that of its
    occurrence; `event` and `client_identifier` are those of the occurrence that was to be delivered, `outcome` that of
    the last attempt."""

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
    """`send` could not try, through no fault of the receiver: call it again `after` seconds.
    `attempts_made` counts the attempts of this chain so far, which the wait does not add to."""

    after: float
    reason: str
    attempts_made: int
