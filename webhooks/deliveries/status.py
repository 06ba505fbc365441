"""The status of a delivery."""

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
