"""What the platform counts and measures. docs/observability.md has the table; while metrics are off, all of it is
OpenTelemetry's own no-ops. No label names a webhook or a tenant: there may be any number of those.
"""

from datetime import datetime

from opentelemetry.metrics import get_meter

from webhooks import VERSION
from webhooks.contracts import Attempt

_ATTEMPT_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30)
_FIRST_ATTEMPT_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1_800, 7_200, 21_600)

_meter = get_meter("durable-webhooks", VERSION)

_occurrences = _meter.create_counter(
    "webhooks.occurrences", "{occurrence}", "Occurrences published: matched, unmatched, or refused as too much at once"
)
_deliveries = _meter.create_counter(
    "webhooks.deliveries", "{delivery}", "Chains of attempts that ended: delivered, or failed for good"
)
_attempts = _meter.create_counter("webhooks.attempts", "{attempt}", "Attempts by outcome")
_duration = _meter.create_histogram(
    "webhooks.attempt.duration",
    "s",
    "How long attempts took, by the class of their outcome",
    explicit_bucket_boundaries_advisory=_ATTEMPT_SECONDS,
)
_first_attempt = _meter.create_histogram(
    "webhooks.first_attempt.delay",
    "s",
    "From the acceptance of a delivery to its first attempt",
    explicit_bucket_boundaries_advisory=_FIRST_ATTEMPT_SECONDS,
)
_internal_errors = _meter.create_counter("webhooks.own_faults", "{fault}", "Faults of the platform itself, by type")

MATCHED, UNMATCHED, REFUSED = "matched", "unmatched", "refused"
DELIVERED, FAILED = "delivered", "failed"


def occurrence(result: str) -> None:
    """MATCHED, UNMATCHED or REFUSED."""
    _occurrences.add(1, {"result": result})


def delivery(status: str) -> None:
    """DELIVERED or FAILED. One that is sent again by hand is counted again."""
    _deliveries.add(1, {"status": status})


def attempt(made: Attempt) -> None:
    _attempts.add(1, {"outcome": made.outcome})
    # A receiver may answer with any number, and each class costs a row of buckets.
    coarse = f"http_{made.outcome[5]}xx" if made.outcome.startswith("http_") else made.outcome
    _duration.record(made.duration_ms / 1000, {"outcome": coarse})


def first_attempt(made: Attempt, accepted_at: datetime) -> None:
    """By the clocks of two machines, if who accepts is not who sends."""
    _first_attempt.record(max((made.started_at - accepted_at).total_seconds(), 0))


def internal_error(type: str) -> None:
    _internal_errors.add(1, {"error.type": type})


def begin_at_zero() -> None:
    """A rate sees no first event of a counter that comes into being with it."""
    for result in (MATCHED, UNMATCHED, REFUSED):
        _occurrences.add(0, {"result": result})
    for status in (DELIVERED, FAILED):
        _deliveries.add(0, {"status": status})
    _internal_errors.add(0)
