"""The status of a delivery, and what it waits for."""

from enum import StrEnum


class DeliveryStatus(StrEnum):
    """The status of a delivery."""

    PENDING = "pending"
    RETRYING = "retrying"
    DELIVERED = "delivered"
    FAILED = "failed"
    """Failed for good. Can be resent until the resend window ends."""
    EXPIRED = "expired"
    """Failed for good, and the resend window has ended."""
    CANCELED = "canceled"
    """Given up by somebody before it was delivered. Can be resent."""


class WaitingFor(StrEnum):
    """What a delivery waits for."""

    RECEIVER_IN_TROUBLE = "receiver_in_trouble"
    """Its receiver gives no answer. It is sent when the receiver answers again; waiting uses no attempt."""
    ROOM = "room"
    """The webhook, or the tenant, has as many requests in flight as it may have; waiting uses no attempt."""
    LIFTING = "lifting"
    """Its tenant is suspended. It is sent when the suspension is lifted; waiting uses no attempt."""
    REPAIR = "repair"
    """The platform had an internal error, and tries again until it is repaired; waiting uses no attempt."""
    WORKER = "worker"
    """It may be sent now, and no worker has begun it yet."""
    BACKOFF = "backoff"
    """An attempt failed. The next one follows at `next_attempt_at`."""
    PERSON = "person"
    """It failed for good. A resend sends it again."""
