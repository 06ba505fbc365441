"""What is sealed with the master key: the secrets of webhooks and sources, payload keys, and the keys that sign our
tokens."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks.credentials import client_certificate, masking, signing
from webhooks.credentials.source_secrets import SourceSecrets
from webhooks.credentials.vault import PREFIX_BYTES, Vault, key_id
from webhooks.credentials.webhook_secrets import Secrets
from webhooks.store.models import SigningKey, Source, StoredPayloadKey, Webhook

Sealed = type[Webhook] | type[Source] | type[StoredPayloadKey] | type[SigningKey]


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


def seal_of_source(vault: Vault, source: Source, secrets: SourceSecrets) -> bytes:
    """Return the secrets of a source, sealed."""
    return vault.seal(secrets.model_dump_json().encode(), _source_context(source))


def unseal_source(vault: Vault, source: Source) -> SourceSecrets:
    """Return the secrets of a source. Raises CannotOpenError."""
    return SourceSecrets.model_validate_json(vault.open(source.sealed, _source_context(source)))


def payload_key_context(tenant: str, id: str) -> str:
    """Return the context that a payload key is sealed for."""
    return f"payload_keys.sealed:{tenant}:{id}"


def signing_key_context(id: str) -> str:
    """Return the context that a signing key is sealed for."""
    return f"signing_keys.sealed:{id}"


def _context(tenant: str, webhook_id: str) -> str:
    return f"webhooks.sealed:{tenant}:{webhook_id}"


def _source_context(source: Source) -> str:
    return f"sources.sealed:{source.tenant}:{source.id}"


SEALED: dict[Sealed, Callable[[Any], str]] = {
    Webhook: lambda row: _context(row.tenant, row.id),
    Source: _source_context,
    StoredPayloadKey: lambda row: payload_key_context(row.tenant, row.id),
    SigningKey: lambda row: signing_key_context(row.id),
}
"""The tables with a column `sealed`, and the context that a row of each is sealed for."""


async def keys_in_use(session: AsyncSession, tables: Sequence[Sealed] = tuple(SEALED)) -> list[str]:
    """Return the ids of the master keys that something in these tables is sealed with."""
    return [key_id(prefix) for prefix in await _prefixes(session, tables)]


async def unknown_keys(session: AsyncSession, vault: Vault) -> list[str]:
    """Return the ids of the master keys that something is sealed with and that the vault does not have."""
    return [key_id(prefix) for prefix in await _prefixes(session, [*SEALED]) if not vault.knows(prefix)]


async def _prefixes(session: AsyncSession, tables: Sequence[Sealed]) -> list[bytes]:
    found: dict[bytes, None] = {}  # in their order, each once
    for table in tables:
        query = select(func.substr(col(table.sealed), 1, PREFIX_BYTES)).distinct()
        found |= dict.fromkeys(bytes(prefix) for prefix in (await session.exec(query)).all())
    return list(found)


async def reseal(session: AsyncSession, vault: Vault) -> dict[str, int]:
    """Reseal with the vault's first key what is sealed with another one. Return the number of rows by their table.
    Raises CannotOpenError."""
    resealed = {}
    for table, context_of in SEALED.items():
        rows: Sequence[Any] = (await session.exec(select(table).with_for_update())).all()
        old = [row for row in rows if not vault.is_first(row.sealed)]
        for row in old:
            row.sealed = vault.seal(vault.open(row.sealed, context_of(row)), context_of(row))
        resealed[str(table.__tablename__)] = len(old)
    return resealed
