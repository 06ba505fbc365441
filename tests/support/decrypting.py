"""Reads what a platform stores in Temporal, with the platform's keys."""

from pathlib import Path

from pydantic import SecretStr
from temporalio.client import Client
from temporalio.common import HeaderCodecBehavior
from temporalio.converter import DataConverter

from webhooks.credentials import payload_key
from webhooks.credentials.payload_key import PayloadKey
from webhooks.credentials.vault import Vault
from webhooks.settings import Settings
from webhooks.store.database import Database
from webhooks.store.payload_keys import PayloadKeyRing
from webhooks.temporal.codec import encrypting
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
    settings = settings_of(platform)
    keys = PayloadKeyRing(Database.of(settings), Vault.of(settings))
    return encrypting(DATA_CONVERTER, keys, encrypts=True)


async def client_of(platform: PlatformProcess) -> Client:
    """Return a client that encrypts and decrypts as the platform does."""
    return await Client.connect(
        f"127.0.0.1:{platform.temporal_port}",
        data_converter=converter_of(platform),
        header_codec_behavior=HeaderCodecBehavior.CODEC,
    )
