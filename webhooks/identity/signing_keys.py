"""The keys that sign our tokens: made, replaced and published.

Ed25519. A new key is published before it signs, and an old one until its last token has expired, so that whoever keeps
our key set for a few minutes can verify every token."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey
from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks.credentials.vault import Vault
from webhooks.store import signing_keys
from webhooks.store.database import Database
from webhooks.store.models import SigningKey

ALGORITHM = "EdDSA"
LONGEST_TOKEN = timedelta(hours=1)
CACHED_FOR = timedelta(minutes=5)
"""How long others may keep our key set."""
PUBLISHED_BEFORE = timedelta(minutes=10)
"""Before a new key signs. Longer than others keep our key set."""
REPLACED_AFTER = timedelta(days=30)
_PUBLISHED_AFTER = LONGEST_TOKEN + timedelta(minutes=10)
"""After the last token of an old key was made: until that has expired, with some time for clocks that differ."""
_REMEMBERED_SECONDS = 4.0
"""How long the keys are kept in memory. A key that was revoked works for this much longer in other processes."""


@dataclass(frozen=True)
class _Known:
    """The keys that are published, oldest first. `signing` is the one that signs; None if there is none."""

    signing: OKPKey | None
    all: dict[str, OKPKey]
    newest_from: datetime | None
    until: float
    """When to ask the database again, in seconds of the monotonic clock."""


class SigningKeys:
    """The keys as this process knows them. All processes share those in the database."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._known = _Known(None, {}, None, 0)

    async def signing(self) -> OKPKey:
        """Return the private key that signs now. Make one if there is none, or if the newest is old."""
        known = await self._current()
        if known.newest_from is None or known.newest_from + REPLACED_AFTER <= datetime.now(UTC):
            async with self._database.write_alone() as session:
                await replace(session, self._vault)
            known = await self._read()
        assert known.signing  # noqa: S101
        return known.signing

    async def find(self, kid: str) -> OKPKey | None:
        """Return the key with this id, or None. One that is not in memory is looked for in the database."""
        known = await self._current()
        if kid not in known.all:
            known = await self._read()
        return known.all.get(kid)

    async def published(self) -> list[dict[str, Any]]:
        """Return the public keys as JSON Web Keys (RFC 7517)."""
        return [dict(key.as_dict(private=False)) for key in (await self._current()).all.values()]

    async def _current(self) -> _Known:
        return self._known if time.monotonic() < self._known.until else await self._read()

    async def _read(self) -> _Known:
        now, until = datetime.now(UTC), time.monotonic() + _REMEMBERED_SECONDS  # before the query: it may take long
        async with self._database.read() as session:
            rows = await signing_keys.list_oldest_first(session)
        ready = signing_row(rows, now)
        keys = {row.id: self._key(row) for row in published_rows(rows, now)}
        self._known = _Known(
            keys[ready.id] if ready else None,
            keys,
            rows[-1].created_at if rows else None,
            until,
        )
        return self._known

    def _key(self, row: SigningKey) -> OKPKey:
        if known := self._known.all.get(row.id):
            return known
        secret = Ed25519PrivateKey.from_private_bytes(signing_keys.unseal(self._vault, row))
        pem = secret.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return OKPKey.import_key(pem, {"kid": row.id, "use": "sig", "alg": ALGORITHM})


async def replace(session: AsyncSession, vault: Vault, *, now: datetime | None = None, force: bool = False) -> bool:
    """Store a new key when the session commits, and delete those that nobody needs any longer. Unless `force`d, do
    nothing if the newest key is not old: another process has made it. Return whether there is a new key. The session
    must be one of `Database.write_alone`."""
    now = now or datetime.now(UTC)
    rows = await signing_keys.list_oldest_first(session)
    if rows and not force and now < rows[-1].created_at + REPLACED_AFTER:
        return False
    needed = {row.id for row in published_rows(rows, now)}
    for row in rows:
        if row.id not in needed:
            await session.delete(row)
    signing_keys.add(session, vault, Ed25519PrivateKey.generate().private_bytes_raw())
    return True


def signing_row(rows: Sequence[SigningKey], now: datetime) -> SigningKey | None:
    """Return the key that signs: the newest that has been published for long enough. If there is none, the oldest, for
    nobody knows an earlier key."""
    ready = [row for row in rows if row.created_at + PUBLISHED_BEFORE <= now]
    return ready[-1] if ready else rows[0] if rows else None


def published_rows(rows: Sequence[SigningKey], now: datetime) -> list[SigningKey]:
    """Return the keys, given oldest first, that sign, will sign, or have signed tokens that may not have expired."""
    last_signed = [later.created_at + PUBLISHED_BEFORE for later in rows[1:]]
    return [row for row, until in zip(rows, last_signed, strict=False) if now < until + _PUBLISHED_AFTER] + [*rows[-1:]]
