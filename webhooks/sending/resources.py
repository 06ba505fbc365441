"""What a process opens once and closes at its end: database, vault, the way out, and the sender that uses them."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from webhooks.credentials.vault import Vault
from webhooks.egress.client import Egress
from webhooks.sending.sender import Sender
from webhooks.settings import Settings
from webhooks.store.database import Database
from webhooks.store.payload_keys import PayloadKeyRing


@dataclass(frozen=True)
class Resources:
    """Shared by all parts of a process."""

    settings: Settings
    database: Database
    vault: Vault
    egress: Egress
    sender: Sender
    payload_keys: PayloadKeyRing


@contextlib.asynccontextmanager
async def opened(settings: Settings, *, migrate: bool = False) -> AsyncIterator[Resources]:
    """Open everything, and close it when the block ends. `migrate`: bring the schema to the newest revision, and make a
    master key where there is none. Raises CannotRunError."""
    async with contextlib.AsyncExitStack() as stack:
        database = Database.of(settings)
        stack.push_async_callback(database.close)
        if migrate:
            vault = await database.prepare(settings)
        else:
            vault = Vault.of(settings)
            await database.check_keys(vault)
        egress = Egress.of(settings)
        stack.push_async_callback(egress.close)
        sender = Sender(database, vault, egress, deactivate_after=settings.deactivate_after)
        stack.push_async_callback(sender.close)
        payload_keys = PayloadKeyRing(database, vault)
        await stack.enter_async_context(payload_keys.refreshed())
        yield Resources(settings, database, vault, egress, sender, payload_keys)
