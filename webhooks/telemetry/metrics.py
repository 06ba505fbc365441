"""The platform's metrics; docs/observability.md lists them. While metrics are off, OpenTelemetry ignores all calls. No
label holds a webhook or a tenant, because their number is not bounded.
"""

from datetime import datetime

from opentelemetry.metrics import get_meter

from webhooks import VERSION
from webhooks.contracts import Attempt

_ATTEMPT_SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30)
"""Upper bounds, up to the longest timeout that a webhook may have (30 s)."""
_FIRST_ATTEMPT_SECONDS_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
    *(15, 60, 300, 1_800, 7_200, 21_600),
)
"""Upper bounds. The first attempt may come hours later if the receiver fails or the webhook has too many deliveries."""

_meter = get_meter("durable-webhooks", VERSION)

_occurrences = _meter.create_counter(
    "webhooks.occurrences",
    "{occurrence}",
    "Occurrences published: matched, unmatched, refused by overload, or over a limit",
)
_deliveries = _meter.create_counter(
    "webhooks.deliveries", "{delivery}", "Chains of attempts that ended: delivered, or failed"
)
_attempts = _meter.create_counter("webhooks.attempts", "{attempt}", "Attempts by outcome")
_duration = _meter.create_histogram(
    "webhooks.attempt.duration",
    "s",
    "Duration of attempts, by class of outcome",
    explicit_bucket_boundaries_advisory=_ATTEMPT_SECONDS_BUCKETS,
)
_first_attempt = _meter.create_histogram(
    "webhooks.first_attempt.delay",
    "s",
    "Time from the acceptance of a delivery to its first attempt",
    explicit_bucket_boundaries_advisory=_FIRST_ATTEMPT_SECONDS_BUCKETS,
)
_received = _meter.create_counter("webhooks.received", "{request}", "Requests to sources, by what became of them")
_failed_authentications = _meter.create_counter(
    "webhooks.failed_authentications", "{request}", "Requests without a valid API key, by reason"
)
_internal_errors = _meter.create_counter("webhooks.own_faults", "{fault}", "Internal errors of the platform, by type")

MATCHED, UNMATCHED, REFUSED, LIMITED = "matched", "unmatched", "refused", "limited"
RECEIVED = ("verified", "unverified", "refused", "duplicate", "challenge")
"""What becomes of a request to a source."""
MISSING, INVALID, SLOWED = "missing", "invalid", "slowed"
DELIVERED, FAILED = "delivered", "failed"


def occurrence(result: str) -> None:
    """Count an occurrence. `result` is MATCHED, UNMATCHED, REFUSED or LIMITED."""
    _occurrences.add(1, {"result": result})


def delivery(status: str) -> None:
    """Count the end of a chain of attempts. `status` is DELIVERED or FAILED. A resend begins a new chain, which is
    counted as well."""
    _deliveries.add(1, {"status": status})


def attempt(made: Attempt) -> None:
    """Count an attempt and record its duration."""
    _attempts.add(1, {"outcome": made.outcome})
    # One class for all statuses with the same first digit: each label value costs a row of buckets.
    coarse = f"http_{made.outcome[5]}xx" if made.outcome.startswith("http_") else made.outcome
    _duration.record(made.duration_ms / 1000, {"outcome": coarse})


def first_attempt(made: Attempt, accepted_at: datetime) -> None:
    """Record the time from a delivery's acceptance to its first attempt. If two machines are involved, a difference of
    their clocks is part of it."""
    _first_attempt.record(max((made.started_at - accepted_at).total_seconds(), 0))


def received(verdict: str) -> None:
    """Count a request to a source. `verdict` is one of RECEIVED."""
    _received.add(1, {"verdict": verdict})


def failed_authentication(reason: str) -> None:
    """Count a request that has no valid API key. `reason` is MISSING, INVALID or SLOWED: there were too many."""
    _failed_authentications.add(1, {"reason": reason})


def internal_error(type: str) -> None:
    """Count an internal error. `type` is the name of the exception's class. The metric keeps its first name, which
    dashboards use."""
    _internal_errors.add(1, {"error.type": type})


def begin_at_zero() -> None:
    """Export each counter with 0 first: Prometheus's `rate` does not see an event that creates its counter."""
    for result in (MATCHED, UNMATCHED, REFUSED, LIMITED):
        _occurrences.add(0, {"result": result})
    for verdict in RECEIVED:
        _received.add(0, {"verdict": verdict})
    for reason in (MISSING, INVALID, SLOWED):
        _failed_authentications.add(0, {"reason": reason})
    for status in (DELIVERED, FAILED):
        _deliveries.add(0, {"status": status})
    _internal_errors.add(0)
