"""Alembic's entry: runs on the connection that Database.migrate() passes in."""

from alembic import context
from sqlmodel import SQLModel

from webhooks.store import models  # noqa: F401  the import fills the metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
