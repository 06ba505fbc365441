"""A platform on each database and one receiver for the whole run; tests keep apart by their own events and paths."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

from tests.support.clock import Clock
from tests.support.postgresql import PostgreSQL, serving
from webhooks.credentials.vault import new_key
from webhooks.settings import Settings
from webhooks.testing.platform_process import PlatformProcess, running
from webhooks.testing.receiver import Receiver

ONLY = os.environ.get("TEST_DATABASE")
"""`sqlite` or `postgresql`: everything runs on that one. Otherwise what is about the configuration runs on both."""
DATABASES = [ONLY] if ONLY else ["sqlite", "postgresql"]
ON_BOTH = ("tests/api/", "tests/platform/test_configuration.py")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    place = metafunc.definition.nodeid
    if "database_kind" in metafunc.fixturenames and place.startswith(ON_BOTH):
        metafunc.parametrize("database_kind", DATABASES, indirect=True)


@pytest.fixture
def database_kind(request: pytest.FixtureRequest) -> str:
    return str(getattr(request, "param", ONLY or "sqlite"))


@pytest.fixture
def platform(database_kind: str, request: pytest.FixtureRequest) -> PlatformProcess:
    running: PlatformProcess = request.getfixturevalue(f"platform_on_{database_kind}")
    return running


@pytest.fixture(scope="session")
async def platform_on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PlatformProcess]:
    async with running(tmp_path_factory.mktemp("platform")) as platform:
        yield platform


@pytest.fixture(scope="session")
async def platform_on_postgresql(
    tmp_path_factory: pytest.TempPathFactory, postgresql: PostgreSQL
) -> AsyncIterator[PlatformProcess]:
    url, key = postgresql.fresh(), new_key()
    folder = tmp_path_factory.mktemp("platform")
    async with running(folder, WEBHOOKS_DATABASE_URL=url, WEBHOOKS_MASTER_KEY=key) as platform:
        yield platform


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    with serving() as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=DATABASES)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Of a fresh, empty database of each kind."""
    if request.param == "sqlite":
        return Settings(data_dir=tmp_path)
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return Settings(data_dir=tmp_path, database_url=SecretStr(server.fresh()))


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
