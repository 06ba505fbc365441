"""What an attempt's answer means, and when the next attempt comes. Pure: no clock, no socket, no randomness of its own.

| answer                                              | outcome                    | retried |
|-----------------------------------------------------|----------------------------|---------|
| 2xx                                                 | delivered                  |         |
| 400, and the policy's other non-retryable statuses  | http_<status>              | no      |
| 410 (the webhook is deactivated as well)            | http_410                   | no      |
| any other status (3xx is never followed)            | http_<status>              | yes     |
| no answer in time, refused, reset, DNS, TLS, no HTTP | the `RETRIED` names below  | yes     |
| no token from the OAuth server                      | oauth_failed               | yes     |
| never sent: address, webhook gone, no rendering     | the `NEVER_SENT` names     | no      |

A policy with `only_5xx` retries http_5xx and nothing else.
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from webhooks.contracts import Attempt, RetryRules

DELIVERED = "delivered"
UNAUTHORIZED = 401
GONE = 410

TIMEOUT = "timeout"
CONNECTION_REFUSED = "connection_refused"
CONNECTION_FAILED = "connection_failed"
CONNECTION_RESET = "connection_reset"
DNS_ERROR = "dns_error"
TLS_ERROR = "tls_error"
PROTOCOL_ERROR = "protocol_error"
OAUTH_FAILED = "oauth_failed"
RETRIED = (
    TIMEOUT,
    CONNECTION_REFUSED,
    CONNECTION_FAILED,
    CONNECTION_RESET,
    DNS_ERROR,
    TLS_ERROR,
    PROTOCOL_ERROR,
    OAUTH_FAILED,
)

ADDRESS_NOT_ALLOWED = "address_not_allowed"
WEBHOOK_DELETED = "webhook_deleted"
WEBHOOK_INACTIVE = "webhook_inactive"
SUBSCRIPTION_DELETED = "subscription_deleted"
SUBSCRIPTION_INACTIVE = "subscription_inactive"
NOT_RENDERED = "not_rendered"
NEVER_SENT = (
    ADDRESS_NOT_ALLOWED,
    WEBHOOK_DELETED,
    WEBHOOK_INACTIVE,
    SUBSCRIPTION_DELETED,
    SUBSCRIPTION_INACTIVE,
    NOT_RENDERED,
)

UNKNOWN = "unknown"
"""Our process gave no answer in time: the receiver may or may not have the request."""

SUPERSEDED = "superseded"
"""Error type of an attempt that failed while a resend was already asked for: its chain ends, the new one starts."""

_LATE_MS = 5_000
JITTER = 0.1
"""Each wait is stretched or shortened by up to this share, so that receivers are not hit in step."""


def of_status(status: int) -> str:
    """The outcome that an HTTP status code means."""
    return DELIVERED if 200 <= status < 300 else f"http_{status}"


def final_outcomes(rules: RetryRules) -> list[str]:
    """Outcomes that are not retried, as the retry policy's `non_retryable_error_types`."""
    statuses = dict.fromkeys((400, *rules.non_retryable_statuses, GONE))
    return [*map(of_status, statuses), *NEVER_SENT, SUPERSEDED]


def is_final(outcome: str, rules: RetryRules) -> bool:
    """Whether a failed attempt is the last of its chain, however many the policy has left."""
    return outcome in final_outcomes(rules) or (rules.only_5xx and not outcome.startswith("http_5"))


def hurts(attempt: Attempt) -> bool | None:
    """Whether an attempt says that its receiver should be left in peace for a while: no answer, a late failure, or its
    own word for it (429). None if it says nothing."""
    if attempt.outcome in NEVER_SENT:
        return None
    late = attempt.outcome != DELIVERED and attempt.duration_ms > _LATE_MS
    return attempt.outcome in RETRIED or attempt.outcome == of_status(429) or late


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
