"""Where a delivery stands."""

from enum import StrEnum


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    RETRYING = "retrying"
    DELIVERED = "delivered"
    FAILED = "failed"
    """Failed for good; waits for a resend until its window ends."""
    EXPIRED = "expired"
    """Failed for good, and the window ended."""
