"""The columns of a webhook that are sealed with the master key."""

from typing import Any

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks.credentials import client_certificate, masking, signing
from webhooks.credentials.vault import PREFIX_BYTES, Vault, key_id
from webhooks.credentials.webhook_secrets import Secrets
from webhooks.store.models import Webhook


def seal(vault: Vault, tenant: str, webhook_id: str, secrets: Secrets) -> dict[str, Any]:
    """Return the columns that hold secrets, sealed or masked. Migration 0002 uses this as well."""
    return {
        "headers": masking.masked(secrets.headers),
        "authentication": masking.masked_authentication(secrets.authentication),
        "client_certificate": secrets.client_certificate and client_certificate.shown(secrets.client_certificate),
        "public_key": signing.public_key(secrets.signing[0]),
        "sealed": vault.seal(secrets.model_dump_json(by_alias=True).encode(), _context(tenant, webhook_id)),
    }


def unseal(vault: Vault, webhook: Webhook) -> Secrets:
    """Return the secrets of a webhook. Raises CannotOpenError."""
    return Secrets.model_validate_json(vault.open(webhook.sealed, _context(webhook.tenant, webhook.id)))


async def keys_in_use(session: AsyncSession) -> list[str]:
    """Return the ids of the master keys that something is sealed with."""
    return [key_id(prefix) for prefix in await _prefixes(session)]


async def unknown_keys(session: AsyncSession, vault: Vault) -> list[str]:
    """Return the ids of the master keys that something is sealed with and that the vault does not have."""
    return [key_id(prefix) for prefix in await _prefixes(session) if not vault.knows(prefix)]


async def _prefixes(session: AsyncSession) -> list[bytes]:
    query = select(func.substr(col(Webhook.sealed), 1, PREFIX_BYTES)).distinct()
    return [bytes(prefix) for prefix in (await session.exec(query)).all()]


async def reseal(session: AsyncSession, vault: Vault) -> int:
    """Reseal with the vault's first key what is sealed with another one. Return the number of webhooks. Raises
    CannotOpenError."""
    resealed = 0
    for webhook in (await session.exec(select(Webhook).with_for_update())).all():
        if not vault.is_first(webhook.sealed):
            context = _context(webhook.tenant, webhook.id)
            webhook.sealed = vault.seal(vault.open(webhook.sealed, context), context)
            resealed += 1
    return resealed


def _context(tenant: str, webhook_id: str) -> str:
    return f"webhooks.sealed:{tenant}:{webhook_id}"
