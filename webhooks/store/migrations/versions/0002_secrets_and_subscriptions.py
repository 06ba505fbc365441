"""Secrets sealed; event versions; formats, authentication and signature styles of webhooks; filters.

Columns are added and dropped one by one: SQLite would alter a table by copying it, which deletes, by cascade, the rows
that refer to it.
"""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import context, op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    op.add_column("events", sa.Column("owner_required", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("events", sa.Column("version", sa.Integer(), nullable=False, server_default="1"))
    op.create_table(
        "event_versions",
        sa.Column("event_id", sa.String(), sa.ForeignKey("events.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("version", sa.Integer(), primary_key=True),
        sa.Column("schema", sa.JSON()),
        sa.Column("template", sa.JSON()),
        sa.Column("replaced_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.add_column("subscriptions", sa.Column("filter", sa.JSON()))
    for column in ("created_at", "updated_at"):
        moment = sa.Column(column, sa.DateTime(timezone=True), nullable=False, server_default=now)
        op.add_column("subscriptions", moment)
    for added in (
        sa.Column("format", sa.String(), nullable=False, server_default="JSON"),
        sa.Column("sends_json", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("authentication", sa.JSON(), nullable=False, server_default='{"type": "None"}'),
        sa.Column("signatures", sa.JSON(), nullable=False, server_default='["v1"]'),
        sa.Column("public_key", sa.String(), nullable=False, server_default=""),
        sa.Column("sealed", sa.LargeBinary(), nullable=False, server_default=""),
        sa.Column("bulk", sa.Boolean(), nullable=False, server_default=sa.false()),
    ):
        op.add_column("webhooks", added)
    _seal()
    op.drop_column("webhooks", "signing_secret")


_SEALED = ("headers", "authentication", "public_key", "sealed")


def _seal() -> None:
    """Seal the signing secrets and headers, which were stored as cleartext until now."""
    webhooks = sa.table(
        "webhooks",
        sa.column("id"),
        sa.column("tenant"),
        sa.column("headers", sa.JSON),
        sa.column("authentication", sa.JSON),
        sa.column("signing_secret"),
        sa.column("sealed", sa.LargeBinary),
        sa.column("public_key"),
    )
    seal = context.config.attributes["seal"]
    for row in op.get_bind().execute(sa.select(webhooks)).all():
        sealed = seal(row.tenant, row.id, row.signing_secret, row.headers)
        op.execute(webhooks.update().where(webhooks.c.id == row.id).values({name: sealed[name] for name in _SEALED}))
