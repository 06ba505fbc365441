"""`make reset-lost-secrets`: lets the platform start again after its master key was lost.

Nobody can read what is sealed with that key. Payload keys that are sealed with it are deleted: what Temporal stores,
encrypted with them, can never be read again. Webhooks whose secrets are sealed with it get a new signing secret, lose
their headers, authentication and client certificate, and are deactivated, until somebody sets these again. Sources lose
their secrets, and are deactivated likewise. Keys that sign tokens are deleted: tokens end, and new keys are made.
Without `--confirm`, nothing changes: the command says which webhooks and sources it would change.
"""

import argparse
import logging
from datetime import UTC, datetime
from typing import TypeVar

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks import process
from webhooks.credentials import signing
from webhooks.credentials.source_secrets import SourceSecrets
from webhooks.credentials.vault import PREFIX_BYTES, Vault
from webhooks.credentials.webhook_secrets import Secrets
from webhooks.settings import Settings
from webhooks.store import sealed
from webhooks.store.database import Database
from webhooks.store.models import SigningKey, Source, StoredPayloadKey, Webhook

log = logging.getLogger("reset_lost_secrets")

Row = TypeVar("Row", Webhook, Source, StoredPayloadKey, SigningKey)
REASON = "its secrets were lost with the master key: set them again, then activate it"


async def main(settings: Settings) -> None:
    """Reset, or name, the webhooks whose master key is lost. Raises CannotRunError."""
    parser = argparse.ArgumentParser(prog="reset_lost_secrets", description="Reset secrets that no key opens.")
    parser.add_argument("--confirm", action="store_true", help="do it; what is reset cannot be restored")
    confirmed = parser.parse_args().confirm
    database = Database.of(settings)
    try:
        vault = Vault.of(settings, create=True)
        async with database.write_alone() as session:
            lost = await _lost(session, vault, Webhook)
            lost_sources = await _lost(session, vault, Source)
            lost_keys = await _lost(session, vault, StoredPayloadKey)
            if confirmed:
                for webhook in lost:
                    _reset(webhook, vault)
                for source in lost_sources:
                    source.sealed = sealed.seal_of_source(vault, source, SourceSecrets())
                    source.active, source.updated_at = False, datetime.now(UTC)
                for key in [*lost_keys, *await _lost(session, vault, SigningKey)]:
                    await session.delete(key)
    finally:
        await database.close()
    done = "reset" if confirmed else "would reset, with --confirm,"
    for webhook in lost:
        log.info("%s webhook %s of tenant %s: %s", done, webhook.id, webhook.tenant, webhook.url)
    for source in lost_sources:
        log.info("%s source %s of tenant %s: %s", done, source.id, source.tenant, source.name)
    log.info("%s the secrets of %d webhooks", done, len(lost))
    if lost_keys:
        deleted = "deleted" if confirmed else "would delete, with --confirm,"
        tenants = ", ".join(sorted({key.tenant for key in lost_keys if key.tenant}))
        log.info("%s %d payload keys: deliveries of tenant %s become unreadable", deleted, len(lost_keys), tenants)


async def _lost(session: AsyncSession, vault: Vault, table: type[Row]) -> list[Row]:
    rows = (await session.exec(select(table).order_by(col(table.id)).with_for_update())).all()
    return [row for row in rows if not vault.knows(row.sealed[:PREFIX_BYTES])]


def _reset(webhook: Webhook, vault: Vault) -> None:
    secrets = Secrets(signing=[signing.new_key()])
    for name, value in sealed.seal(vault, webhook.tenant, webhook.id, secrets).items():
        setattr(webhook, name, value)
    webhook.active, webhook.deactivated_reason = False, REASON
    webhook.deactivated_at = webhook.updated_at = datetime.now(UTC)


if __name__ == "__main__":
    process.run(main)
