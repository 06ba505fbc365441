"""Left out when this branch is rebased on the revision of this number."""

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    pass
