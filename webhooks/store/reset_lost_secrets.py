"""`make reset-lost-secrets`: lets the platform start again after its master key was lost.

Nobody can read what is sealed with that key. Webhooks whose secrets are sealed with it get a new signing secret, lose
their headers, authentication and client certificate, and are deactivated, until somebody sets these again. Keys that
sign tokens are deleted: tokens end, and new keys are made. Without `--confirm`, nothing changes: the command says which
webhooks it would change.
"""

import argparse
import logging
from datetime import UTC, datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks import process
from webhooks.credentials import signing
from webhooks.credentials.vault import PREFIX_BYTES, Vault
from webhooks.credentials.webhook_secrets import Secrets
from webhooks.settings import Settings
from webhooks.store import sealed
from webhooks.store.database import Database
from webhooks.store.models import SigningKey, Webhook

log = logging.getLogger("reset_lost_secrets")

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
            lost = await _lost(session, vault)
            for webhook in lost if confirmed else ():
                _reset(webhook, vault)
            if confirmed:
                await _delete_lost_signing_keys(session, vault)
    finally:
        await database.close()
    done = "reset" if confirmed else "would reset, with --confirm,"
    for webhook in lost:
        log.info("%s webhook %s of tenant %s: %s", done, webhook.id, webhook.tenant, webhook.url)
    log.info("%s the secrets of %d webhooks", done, len(lost))


async def _lost(session: AsyncSession, vault: Vault) -> list[Webhook]:
    webhooks = (await session.exec(select(Webhook).order_by(col(Webhook.id)).with_for_update())).all()
    return [webhook for webhook in webhooks if not vault.knows(webhook.sealed[:PREFIX_BYTES])]


async def _delete_lost_signing_keys(session: AsyncSession, vault: Vault) -> None:
    for key in (await session.exec(select(SigningKey).with_for_update())).all():
        if not vault.knows(key.sealed[:PREFIX_BYTES]):
            await session.delete(key)


def _reset(webhook: Webhook, vault: Vault) -> None:
    secrets = Secrets(signing=[signing.new_key()])
    for name, value in sealed.seal(vault, webhook.tenant, webhook.id, secrets).items():
        setattr(webhook, name, value)
    webhook.active, webhook.deactivated_reason = False, REASON
    webhook.deactivated_at = webhook.updated_at = datetime.now(UTC)


if __name__ == "__main__":
    process.run(main)
