"""The client certificate of a webhook, as it is shown."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("webhooks", sa.Column("client_certificate", sa.JSON()))
