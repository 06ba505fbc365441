"""Whether a failed attempt is tried again, and when. Pure: no clock, no randomness of its own."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from webhooks.contracts import Attempt, RetryRules
from webhooks.outcomes import GONE, NEVER_SENT, OAUTH_FAILED, SUPERSEDED, of_status

JITTER = 0.1
"""Each wait varies by up to this share, so that many deliveries do not reach a receiver at the same moment."""


@dataclass(frozen=True)
class Decision:
    """What follows a failed attempt. `final`: never try again, whatever is left of the policy. `backoff`: seconds until
    the next attempt; None if there is none."""

    final: bool
    backoff: float | None


def decide(rules: RetryRules, attempt: Attempt, number: int, *, superseded: bool, spread: float) -> Decision:
    """Decide what follows failed attempt `number` of a chain; 1 is the first. `superseded`: a resend was asked for
    meanwhile, so its chain comes next. `spread` in -1..1 chooses the place within the jitter."""
    if superseded or attempt.deactivated or is_final(attempt.outcome, rules):
        return Decision(final=True, backoff=None)
    return Decision(False, backoff_seconds(rules, number, retry_after=attempt.retry_after, spread=spread))


def final_outcomes(rules: RetryRules) -> list[str]:
    """Return the outcomes that are not retried, as Temporal's `non_retryable_error_types`."""
    statuses = dict.fromkeys((400, *rules.non_retryable_statuses, GONE))
    return [*map(of_status, statuses), *NEVER_SENT, SUPERSEDED]


def is_final(outcome: str, rules: RetryRules) -> bool:
    """Return whether an outcome ends its chain, whatever is left of the policy. `only_5xx` is about the receiver: a
    token endpoint that fails says nothing about it."""
    retried = outcome.startswith("http_5") or outcome == OAUTH_FAILED
    return outcome in final_outcomes(rules) or (rules.only_5xx and not retried)


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """Return the seconds from `now` that a `Retry-After` header asks for (RFC 9110, 10.2.3: whole seconds or an HTTP
    date). None if there is no header, if it is neither, or if its date has passed."""
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
    """Return the seconds to wait after failed attempt `attempt` of a chain (1 is the first); None if it was the last.

    `spread` in -1..1 chooses the place within the jitter. The receiver's `Retry-After` lengthens the wait, up to the
    policy's maximum interval: the webhook's owner decides how long a receiver may delay deliveries."""
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
    """Return what is left of a policy after `attempts_made` attempts. It always allows one more."""
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
