"""The outcomes of attempts, by name. Pure: no clock, no socket, no randomness.

| answer                                             | outcome                    | retried |
|----------------------------------------------------|----------------------------|---------|
| 2xx                                                | delivered                  |         |
| 400, and the policy's other non-retryable statuses | http_<status>              | no      |
| 410 (also deactivates the webhook)                 | http_410                   | no      |
| any other status (redirects are not followed)      | http_<status>              | yes     |
| none: timeout, refused, reset, DNS, TLS, not HTTP  | one of `RETRIED`           | yes     |
| none: no token from the OAuth server               | oauth_failed               | yes     |
| none: nothing was sent                             | one of `NEVER_SENT`        | no      |

A policy with `only_5xx` retries only http_5xx and oauth_failed.
"""

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
"""Our own process did not report in time: the receiver may or may not have got the request."""

SUPERSEDED = "superseded"
"""Error type of an attempt that failed after a resend was requested: its chain ends, and the resend's chain begins."""


def of_status(status: int) -> str:
    """Return the outcome of an answer with this HTTP status."""
    return DELIVERED if 200 <= status < 300 else f"http_{status}"
