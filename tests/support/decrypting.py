"""Reads what a platform stores in Temporal, with the platform's keys."""

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from google.protobuf.message import Message
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowHistory
from temporalio.common import HeaderCodecBehavior
from temporalio.converter import DataConverter

from webhooks.credentials import payload_key
from webhooks.credentials.payload_key import PayloadKey
from webhooks.credentials.vault import Vault
from webhooks.settings import Settings
from webhooks.store.database import Database
from webhooks.store.payload_keys import PayloadKeyRing
from webhooks.temporal.codec import decrypt, encrypting
from webhooks.temporal.connection import DATA_CONVERTER
from webhooks.testing.platform_process import PlatformProcess


class KeysInMemory:
    """One key for each tenant, made when it is asked for."""

    def __init__(self) -> None:
        self.newest_of: dict[str, PayloadKey] = {}
        self.stored: dict[str, PayloadKey] = {}

    async def newest(self, tenant: str) -> PayloadKey:
        if tenant not in self.newest_of:
            self.add(tenant)
        return self.newest_of[tenant]

    async def find(self, id: str) -> PayloadKey | None:
        return self.stored.get(id)

    def add(self, tenant: str) -> PayloadKey:
        key = PayloadKey(f"key-{len(self.stored)}", tenant, payload_key.new_secret())
        self.newest_of[tenant] = self.stored[key.id] = key
        return key


class KeysOf:
    """The keys of a platform. No connection to its database stays open."""

    def __init__(self, platform: PlatformProcess) -> None:
        self._settings = settings_of(platform)
        self._found: dict[str, PayloadKey | None] = {}

    async def newest(self, tenant: str) -> PayloadKey:
        async with self._ring() as keys:
            return await keys.newest(tenant)

    async def find(self, id: str) -> PayloadKey | None:
        if id not in self._found:
            async with self._ring() as keys:
                self._found[id] = await keys.find(id)
        return self._found[id]

    @contextlib.asynccontextmanager
    async def _ring(self) -> AsyncIterator[PayloadKeyRing]:
        database = Database.of(self._settings)
        yield PayloadKeyRing(database, Vault.of(self._settings))
        await database.close()


def settings_of(platform: PlatformProcess) -> Settings:
    """Return settings with the platform's database and master key."""
    url, key = (platform.environment.get(f"WEBHOOKS_{name}") for name in ("DATABASE_URL", "MASTER_KEY"))
    return Settings(
        data_dir=Path(platform.data_dir),
        database_url=SecretStr(url) if url else None,
        master_key=SecretStr(key) if key else None,
    )


def converter_of(platform: PlatformProcess) -> DataConverter:
    """Return a data converter with the platform's keys. It encrypts as the platform does by default."""
    return encrypting(DATA_CONVERTER, KeysOf(platform), encrypts=True)


async def history_of(platform: PlatformProcess, workflow_id: str) -> WorkflowHistory:
    """Return the history of a workflow's latest run, decrypted."""
    client = await client_of(platform)
    history = await client.get_workflow_handle(workflow_id).fetch_history()
    await decrypt(client.data_converter, [payload for event in history.events for payload in payloads_in(event)])
    return history


def payloads_in(message: Message) -> Iterator[Payload]:
    """Yield every payload in a message, however deep."""
    if isinstance(message, Payload):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type and field.message_type.GetOptions().map_entry:
            inner = list(value.values())
        else:
            inner = list(value) if isinstance(value, Sequence) else [value]
        for one in inner:
            if isinstance(one, Message):
                yield from payloads_in(one)


async def client_of(platform: PlatformProcess) -> Client:
    """Return a client that encrypts and decrypts as the platform does."""
    return await Client.connect(
        f"127.0.0.1:{platform.temporal_port}",
        data_converter=converter_of(platform),
        header_codec_behavior=HeaderCodecBehavior.CODEC,
    )
