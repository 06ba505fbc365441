from typing import Any

import pytest

from webhooks.testing.platform_process import PlatformProcess


@pytest.fixture
async def document(platform: PlatformProcess) -> dict[str, Any]:
    """The OpenAPI document that the running platform serves."""
    return await platform.get("/openapi.json")
