"""Whether a failed attempt is tried again, and when. Pure: no clock, no randomness of its own."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from webhooks.contracts import RetryRules
from webhooks.outcomes import GONE, NEVER_SENT, SUPERSEDED, of_status

JITTER = 0.1
"""Each wait is stretched or shortened by up to this share, so that receivers are not hit in step."""


def final_outcomes(rules: RetryRules) -> list[str]:
    """Outcomes that are not retried, as the retry policy's `non_retryable_error_types`."""
    statuses = dict.fromkeys((400, *rules.non_retryable_statuses, GONE))
    return [*map(of_status, statuses), *NEVER_SENT, SUPERSEDED]


def is_final(outcome: str, rules: RetryRules) -> bool:
    """Whether a failed attempt is the last of its chain, however many the policy has left."""
    return outcome in final_outcomes(rules) or (rules.only_5xx and not outcome.startswith("http_5"))


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """Seconds that a `Retry-After` header (RFC 9110, 10.2.3: whole seconds or an HTTP date) asks for, counted from
    `now`; None without one, for one that is neither, and for one in the past."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return float(text)
    try:
        date = parsedate_to_datetime(text)
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now.timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if seconds > 0 else None


def backoff_seconds(rules: RetryRules, attempt: int, *, retry_after: float | None, spread: float) -> float | None:
    """Seconds to wait after failed attempt number `attempt` (1 is the first) of a chain; None if it was the last.

    `spread` in -1..1 chooses the place within the jitter. The receiver's `Retry-After` is a lower bound, itself
    bounded by the policy's maximum interval: nobody may park our deliveries for longer than their owner chose."""
    if attempt >= rules.maximum_attempts:
        return None
    if rules.schedule:
        interval = rules.schedule[min(attempt, len(rules.schedule)) - 1]
    else:
        interval = min(rules.initial_interval * rules.backoff_coefficient ** (attempt - 1), rules.maximum_interval)
    wait = interval * (1 + JITTER * spread)
    if retry_after is not None:
        wait = max(wait, min(retry_after, rules.maximum_interval))
    return wait


def remaining(rules: RetryRules, attempts_made: int) -> RetryRules:
    """What is left of a policy after `attempts_made` attempts; always allows one more."""
    interval = backoff_seconds(
        rules.model_copy(update={"maximum_attempts": attempts_made + 2}), attempts_made + 1, retry_after=None, spread=0
    )
    return rules.model_copy(
        update={
            "initial_interval": interval,
            "maximum_interval": max(rules.maximum_interval, interval or 0),
            "schedule": rules.schedule[attempts_made:] or rules.schedule[-1:],
            "maximum_attempts": max(1, rules.maximum_attempts - attempts_made),
        }
    )


PRESETS = {
    # The schedule of the Standard Webhooks specification 1.0.0: over 75 hours.
    "standard": RetryRules(
        initial_interval=5,
        maximum_interval=86_400,
        maximum_attempts=10,
        schedule=(5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400),
    ),
    # Three retries after 5xx answers; Logto's document names no intervals.
    "logto": RetryRules(maximum_attempts=4, only_5xx=True),
}
