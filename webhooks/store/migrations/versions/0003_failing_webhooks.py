"""How long a webhook has been failing, and when the platform deactivated it."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for column in ("failing_since", "deactivated_at"):
        op.add_column("webhooks", sa.Column(column, sa.DateTime(timezone=True)))
