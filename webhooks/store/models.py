"""The tables. Each row belongs to a tenant, and every query names the tenant. A table has a column `tenant`, unless its
rows are deleted together with those of one that has it: deleting a tenant deletes its rows wherever there is this
column."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, Column, DateTime, Index, LargeBinary, Text, UniqueConstraint
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

from webhooks.ids import uuid7


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, always in UTC. SQLite stores no time zone, and PostgreSQL returns its own."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _now() -> datetime:
    return datetime.now(UTC)


class Tenant(SQLModel, table=True):
    """An owner of everything else. `deleting_since`: when its deletion was asked for; its row goes last."""

    __tablename__ = "tenants"

    id: str = Field(primary_key=True)
    name: str
    suspended: bool = False
    deleting_since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(default_factory=_now, sa_type=UtcDateTime)
    updated_at: datetime = Field(default_factory=_now, sa_type=UtcDateTime)


class ApiKey(SQLModel, table=True):
    """A bearer token of the API. Only its SHA-256 digest is stored: keys are random, so they need no salt or
    stretching. `prefix` is its beginning, to tell keys apart. It has either a `role`, built-in or of the tenant, or
    `permissions`."""

    __tablename__ = "api_keys"

    id: str = Field(default_factory=uuid7, primary_key=True)
    tenant: str = Field(index=True)
    name: str
    digest: str = Field(unique=True)
    prefix: str = ""
    role: str | None = None
    permissions: list[str] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    created_by: str | None = None
    publish_rate: int | None = None
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(default_factory=_now, sa_type=UtcDateTime)


class Role(SQLModel, table=True):
    """A tenant's own named set of permissions."""

    __tablename__ = "roles"
    __table_args__ = (UniqueConstraint("tenant", "name"),)

    id: str = Field(default_factory=uuid7, primary_key=True)
    tenant: str
    name: str
    description: str = Field(default="", sa_column=Column(Text, nullable=False))
    permissions: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    created_at: datetime = Field(default_factory=_now, sa_type=UtcDateTime)
    updated_at: datetime = Field(default_factory=_now, sa_type=UtcDateTime)


class StoredPayloadKey(SQLModel, table=True):
    """A key that encrypts what Temporal stores of a tenant. `sealed` is the key, sealed with the master key."""

    __tablename__ = "payload_keys"

    id: str = Field(default_factory=uuid7, primary_key=True)
    tenant: str = Field(index=True)
    sealed: bytes = Field(sa_column=Column(LargeBinary, nullable=False), repr=False)
    created_at: datetime = Field(default_factory=_now, sa_type=UtcDateTime)


class SigningKey(SQLModel, table=True):
    """A key that signs our tokens. `sealed` is the 32 bytes of an Ed25519 private key, sealed with the master key. Its
    id is the `kid` of tokens."""

    __tablename__ = "signing_keys"

    id: str = Field(default_factory=uuid7, primary_key=True)
    sealed: bytes = Field(sa_column=Column(LargeBinary, nullable=False), repr=False)
    created_at: datetime = Field(default_factory=_now, sa_type=UtcDateTime)


class Session(SQLModel, table=True):
    """A person who has signed in with a browser. `digest` is the SHA-256 of the cookie. It belongs either to an API
    key, or to a person whom the identity provider knows: then `grants` are the permissions and roles that it named."""

    __tablename__ = "sessions"

    digest: str = Field(primary_key=True)
    tenant: str
    key_id: str | None = None
    subject: str | None = None
    name: str = ""
    grants: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    client_identifier: str | None = None
    created_at: datetime = Field(default_factory=_now, sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)


class Event(SQLModel, table=True):
    """An entry of the event catalogue. `version` is raised by each change of its schema or template."""

    __tablename__ = "events"
    __table_args__ = (UniqueConstraint("tenant", "key"),)

    id: str = Field(default_factory=uuid7, primary_key=True)
    tenant: str
    key: str
    entity: str | None = None
    action: str | None = None
    description: str = Field(default="", sa_column=Column(Text, nullable=False))
    active: bool = True
    owner_required: bool = False
    version: int = 1
    json_schema: Any = Field(default=None, sa_column=Column("schema", JSON(none_as_null=True)))
    template: Any = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    sample: Any = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    created_at: datetime = Field(default_factory=_now, sa_type=UtcDateTime)
    updated_at: datetime = Field(default_factory=_now, sa_type=UtcDateTime)


class EventVersion(SQLModel, table=True):
    """The schema and template of an event before a change."""

    __tablename__ = "event_versions"

    event_id: str = Field(foreign_key="events.id", primary_key=True, ondelete="CASCADE")
    version: int = Field(primary_key=True)
    json_schema: Any = Field(default=None, sa_column=Column("schema", JSON(none_as_null=True)))
    template: Any = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    replaced_at: datetime = Field(default_factory=_now, sa_type=UtcDateTime)


class Webhook(SQLModel, table=True):
    """A destination. `client_identifier` is the client that it belongs to, if it does not belong to the tenant itself.
    `retry_policy` holds a contracts.RetryRules, and `timeout` is in seconds. `headers`,
    `authentication` and `client_certificate` are masked. `sealed` holds them complete, together with the signing keys,
    as a sealed credentials.webhook_secrets.Secrets."""

    __tablename__ = "webhooks"

    id: str = Field(default_factory=uuid7, primary_key=True)
    tenant: str = Field(index=True)
    client_identifier: str | None = None
    name: str = ""
    url: str = Field(sa_column=Column(Text, nullable=False))
    method: str = "POST"
    description: str = Field(default="", sa_column=Column(Text, nullable=False))
    format: str = "JSON"
    sends_json: bool = True
    headers: dict[str, str] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    authentication: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    client_certificate: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    signatures: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    public_key: str = ""
    sealed: bytes = Field(default=b"", sa_column=Column(LargeBinary, nullable=False), repr=False)
    active: bool = True
    deactivated_reason: str | None = None
    deactivated_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    failing_since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    bulk: bool = False
    retry_policy: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    timeout: float = 15
    created_at: datetime = Field(default_factory=_now, sa_type=UtcDateTime)
    updated_at: datetime = Field(default_factory=_now, sa_type=UtcDateTime)


class Subscription(SQLModel, table=True):
    """Sends an event to a webhook. Empty `allowed_client_identifiers` mean every client."""

    __tablename__ = "subscriptions"
    __table_args__ = (UniqueConstraint("event_id", "webhook_id"),)

    id: str = Field(default_factory=uuid7, primary_key=True)
    tenant: str
    event_id: str = Field(foreign_key="events.id")
    webhook_id: str = Field(foreign_key="webhooks.id", index=True, ondelete="CASCADE")
    active: bool = True
    allowed_client_identifiers: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    filter: Any = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    created_at: datetime = Field(default_factory=_now, sa_type=UtcDateTime)
    updated_at: datetime = Field(default_factory=_now, sa_type=UtcDateTime)


class Source(SQLModel, table=True):
    """Where webhooks of another system come from. `verification` says how a request proves itself, and `sealed` holds
    the secrets for it, as a sealed credentials.source_secrets.SourceSecrets. `events_by_type` names events for types of
    the sender; all others become `event`."""

    __tablename__ = "sources"

    id: str = Field(default_factory=uuid7, primary_key=True)
    tenant: str = Field(index=True)
    name: str
    event: str
    events_by_type: dict[str, str] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    client_identifier: str | None = None
    verification: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    duplicate_window: int = 300
    active: bool = True
    sealed: bytes = Field(default=b"", sa_column=Column(LargeBinary, nullable=False), repr=False)
    created_at: datetime = Field(default_factory=_now, sa_type=UtcDateTime)
    updated_at: datetime = Field(default_factory=_now, sa_type=UtcDateTime)


class AuditEntry(SQLModel, table=True):
    """Who changed what. Entries have no foreign keys: they outlive what they are about."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_tenant_id", "tenant", "id"),)

    id: str = Field(default_factory=uuid7, primary_key=True)
    tenant: str
    at: datetime = Field(default_factory=_now, sa_type=UtcDateTime)
    actor: str
    actor_name: str
    address: str
    action: str
    resource: str = Field(sa_column=Column(Text, nullable=False))
    changes: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))


class IdempotentAnswer(SQLModel, table=True):
    """The answer to a call with an `Idempotency-Key`. `id` is made of the caller and the key; `digest` is that of the
    request. `sealed` is the answer, sealed with the master key."""

    __tablename__ = "idempotency_keys"

    id: str = Field(primary_key=True)
    tenant: str = Field(index=True)
    digest: str
    sealed: bytes = Field(sa_column=Column(LargeBinary, nullable=False), repr=False)
    at: datetime = Field(default_factory=_now, sa_type=UtcDateTime)
