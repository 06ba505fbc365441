"""People who have signed in with a browser: with an API key that they typed once, or with their identity provider.

The browser has 256 random bits in a cookie. The database has their digest, which opens nothing."""

import hashlib
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from webhooks.identity.caller import Caller
from webhooks.identity.identity_provider import Person, caller_for
from webhooks.identity.keyring import KeyRing
from webhooks.identity.lookups import Lookups
from webhooks.store import sessions
from webhooks.store.database import Database
from webhooks.store.models import Session

LIFETIME = timedelta(hours=8)


class Sessions:
    """Begins, finds and ends sessions. All processes share those in the database."""

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self._database = database
        self._keys = keys
        self._known: Lookups[str, Session] = Lookups()
        """By the digest of the secret."""

    async def begin_with_key(self, caller: Caller, *, instead_of: str | None = None) -> str:
        """Return the secret of a new session of an API key. It ends with the key. End the session `instead_of`."""
        row = Session(
            digest="",
            tenant=caller.tenant,
            key_id=caller.key_id,
            name=caller.name,
            expires_at=min(_until(), caller.expires_at or _until()),
        )
        return await self._begin(row, instead_of)

    async def begin_for(self, person: Person, *, instead_of: str | None = None) -> str:
        """Return the secret of a new session of a person whom the identity provider knows. End the session
        `instead_of`."""
        row = Session(
            digest="",
            tenant=person.tenant,
            subject=person.subject,
            name=person.name,
            grants=sorted(person.grants),
            client_identifier=person.client_identifier,
            expires_at=_until(),
        )
        return await self._begin(row, instead_of)

    async def caller_of(self, secret: str) -> Caller | None:
        """Return who has signed in, or None if the session has ended or expired, or its API key has."""
        row, now = await self._find(_digest(secret)), datetime.now(UTC)
        if row is None or row.expires_at <= now:
            return None
        if row.key_id is None:
            assert row.subject is not None  # noqa: S101
            person = Person(row.tenant, row.subject, row.name, frozenset(row.grants), row.client_identifier)
            return await caller_for(self._keys, person, f"person:{row.subject}", row.expires_at)
        key = await self._keys.caller_with_id(row.tenant, row.key_id)
        return replace(key, expires_at=row.expires_at) if key else None

    async def end(self, secret: str) -> None:
        """End a session, if there is one."""
        async with self._database.write() as session:
            await sessions.end(session, _digest(secret))
        self._known.forget(_digest(secret))

    async def _begin(self, row: Session, instead_of: str | None) -> str:
        secret = secrets.token_urlsafe(32)
        row.digest = _digest(secret)
        async with self._database.write() as session:
            await sessions.delete_expired(session, datetime.now(UTC))
            if instead_of:
                await sessions.end(session, _digest(instead_of))
            session.add(row)
        if instead_of:
            self._known.forget(_digest(instead_of))
        return secret

    async def _find(self, digest: str) -> Session | None:
        async def find() -> Session | None:
            async with self._database.read() as session:
                return await sessions.get(session, digest)

        return await self._known.get(digest, find)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _until() -> datetime:
    return datetime.now(UTC) + LIFETIME
