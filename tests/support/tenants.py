"""Tenants of a platform, for tests."""

import contextlib
from collections.abc import AsyncIterator
from uuid import uuid4

from webhooks.testing.platform_process import PlatformProcess


@contextlib.asynccontextmanager
async def new_tenant(platform: PlatformProcess) -> AsyncIterator[tuple[str, PlatformProcess]]:
    """Create a tenant. Yield its id, and the platform as its administrator uses it."""
    id = f"t-{uuid4().hex[:12]}"
    made = await platform.post("/v1/tenants", {"id": id, "name": "Acme"}, expect=201)
    async with platform.called_with(made["administrator"]["key"]) as inside:
        yield id, inside
