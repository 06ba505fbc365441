"""Who sent a request, and what that caller may do."""

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Caller:
    """`actor` names the key, token or person for the audit: `key:ID`, `token:SUBJECT` or `person:SUBJECT`.

    `client_identifier`: if set, the caller sees only this client's webhooks and deliveries."""

    tenant: str
    permissions: frozenset[str]
    actor: str
    name: str
    key_id: str | None = None
    """The API key that the caller has shown, or that made its token or session."""
    client_identifier: str | None = None
    expires_at: datetime | None = None
    lasts_until: datetime | None = None
    """When everything ends that the caller makes: the end of its key or token. None: it may last."""
    publish_rate: int | None = None
    """Occurrences per second that the key may publish through a process; None: as many as the tenant may."""
    suspended: bool = False
    """Whether the tenant is suspended: it can do everything but publish and send tests."""

    def has_expired(self) -> bool:
        """Return whether the caller's time is over."""
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)

    def sees(self, client_identifier: str | None) -> bool:
        """Return whether what belongs to this client, or to no client, is the caller's."""
        return self.client_identifier in (None, client_identifier)

    def may(self, permission: str) -> bool:
        """Return whether the caller has this permission."""
        return permission in self.permissions
