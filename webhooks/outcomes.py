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


def of_status(status: int) -> str:
    """The outcome that an HTTP status code means."""
    return DELIVERED if 200 <= status < 300 else f"http_{status}"
