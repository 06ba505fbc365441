"""The rows of the keys that sign our tokens."""

from collections.abc import Sequence

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks.credentials.vault import Vault
from webhooks.store.models import SigningKey
from webhooks.store.sealed import signing_key_context


async def list_oldest_first(session: AsyncSession) -> Sequence[SigningKey]:
    """Return all keys."""
    return (await session.exec(select(SigningKey).order_by(col(SigningKey.created_at), col(SigningKey.id)))).all()


def add(session: AsyncSession, vault: Vault, secret: bytes) -> SigningKey:
    """Store a private key when the session commits, and return its row."""
    row = SigningKey(sealed=b"")
    row.sealed = vault.seal(secret, signing_key_context(row.id))
    session.add(row)
    return row


def unseal(vault: Vault, row: SigningKey) -> bytes:
    """Return the private key. Raises CannotOpenError."""
    return vault.open(row.sealed, signing_key_context(row.id))
