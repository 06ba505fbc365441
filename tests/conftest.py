"""One platform and one receiver for the whole run; tests keep apart by their own events and paths."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from demo.platform_process import PlatformProcess, running
from demo.receiver import Receiver


@pytest.fixture(scope="session")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PlatformProcess]:
    async with running(tmp_path_factory.mktemp("platform")) as platform:
        yield platform


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[PlatformProcess]:
    """A platform that a test may break; not started."""
    platform = PlatformProcess(tmp_path / "platform")
    yield platform
    await platform.close()


@pytest.fixture(scope="session")
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver().serving() as receiver:
        yield receiver


@pytest.fixture
def path() -> str:
    """A path of the receiver that is this test's own."""
    return f"/{uuid4().hex}"
