"""Roles; permissions, expiry and last use of API keys; the client that a webhook belongs to. A key that exists may do
all that it could."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "roles",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("permissions", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("tenant", "name"),
    )
    for column in (
        sa.Column("prefix", sa.String(), nullable=False, server_default=""),
        sa.Column("role", sa.String()),
        sa.Column("permissions", sa.JSON()),
        sa.Column("created_by", sa.String()),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
    ):
        op.add_column("api_keys", column)
    op.add_column("webhooks", sa.Column("client_identifier", sa.String()))
    op.execute("UPDATE api_keys SET role = 'administrator'")
    op.execute("UPDATE api_keys SET role = 'installation_administrator' WHERE tenant = 'default'")
