"""Fixtures, the order of the tests, and what must not run at the same time.

`make test` runs the tests in several processes. Each has a platform, a receiver and a PostgreSQL server of its own,
started when its first test needs them. Tests keep apart by their own events and paths."""

import contextlib
import fcntl
import gc
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import settings as hypothesis_settings
from pydantic import SecretStr
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from tests.support.clock import Clock
from tests.support.decrypting import client_of
from tests.support.postgresql import PostgreSQL, serving
from tests.workflows.replaying import replay_all
from webhooks.credentials.vault import new_key
from webhooks.settings import Settings
from webhooks.testing.platform_process import PlatformProcess, running
from webhooks.testing.receiver import Receiver

ONLY = os.environ.get("TEST_DATABASE")
"""`sqlite` or `postgresql`: everything runs on that one. Otherwise what is about the configuration runs on both."""
DATABASES = [ONLY] if ONLY else ["sqlite", "postgresql"]
ON_BOTH = ("tests/api/", "tests/platform/test_configuration.py")
LONGEST_ID = 60
"""Characters of a value that is part of a test's name."""

STARTS_PLATFORMS = (
    "tests/platform/",
    "tests/faults/test_drills.py",
    "tests/pages/test_start.py",
    "tests/api/test_admission.py::test_a_flood",
    "tests/webhooks/store/test_data_directory.py::test_a_read_only_directory",
    "tests/deploy/test_compose.py::test_the_image_holds",
)
"""Tests here start platforms, or other processes of ours, themselves."""
SERVERS = {"platform", "own", "postgresql", "own_postgresql", "chromium"}
"""Fixtures that start servers. A test is a unit test if it uses none of them and is not in `STARTS_PLATFORMS`."""
IN_ONE_PROCESS = (
    "tests/api/test_sign_in.py",
    "tests/platform/test_fan_out.py",
    "tests/faults/test_drills.py",  # each drill loads the machine
    "tests/platform/test_isolation.py",  # as do these tests
    "tests/platform/test_mutual_tls.py",
    "tests/platform/test_operational.py",
    "tests/platform/test_processes.py",
    "tests/webhooks/store/test_postgresql.py",
)
"""Files whose tests share a server that takes long to start, or must not run side by side."""


gc.set_threshold(50_000, 20, 20)
"""Python's own threshold (700) makes the collector search thousands of collected tests again and again."""
hypothesis_settings.register_profile("many_runs", max_examples=40)
hypothesis_settings.load_profile("many_runs")
"""A run tries fewer random examples than Hypothesis does by default (100). Each run tries other ones."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    place = metafunc.definition.nodeid
    if "database_kind" in metafunc.fixturenames and place.startswith(ON_BOTH):
        metafunc.parametrize("database_kind", DATABASES, indirect=True)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a long value by its argument. Keys and compressed bytes are random, and every process must collect the same
    names."""
    return argname if isinstance(val, str | bytes) and len(val) > LONGEST_ID else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the unit tests and sorts: these first, then the longest ones, and at the end those that must be alone."""
    for item in items:
        if not _fixtures(item) & SERVERS and not item.nodeid.startswith(STARTS_PLATFORMS):
            item.add_marker(pytest.mark.unit)
    items.sort(key=_turn)


def pytest_collection_finish() -> None:
    """Leaves out of each later garbage collection what exists by now: the tests, and all modules."""
    gc.freeze()


def _fixtures(item: pytest.Item) -> set[str]:
    assert isinstance(item, pytest.Function)
    used = set(item.fixturenames)
    if hasattr(item, "callspec") and item.callspec.params.get("settings") == "postgresql":
        used.add("postgresql")
    return used


def _turn(item: pytest.Item) -> int:
    if item.get_closest_marker("quiet"):
        return 4
    if item.get_closest_marker("unit"):
        return 0
    if item.nodeid.startswith(IN_ONE_PROCESS) or item.get_closest_marker("slow"):
        return 1
    return 2 if item.nodeid.startswith(STARTS_PLATFORMS) else 3


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Gives the tests to the processes in their order, one by one."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0] if nodeid.startswith(IN_ONE_PROCESS) else nodeid


@pytest.hookimpl(optionalhook=True)  # without xdist, nobody calls it
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling:
    config.option.loadscopereorder = False
    return Scheduling(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Runs a `quiet` test while no other process of this run has a test. Its timeout begins after the wait."""
    with _alone(item) if "PYTEST_XDIST_WORKER" in os.environ else contextlib.nullcontext():
        return (yield)


@contextlib.contextmanager
def _alone(item: pytest.Item) -> Iterator[None]:
    """Holds a lock that a quiet test has to itself and others share. To wait for it takes the door, so that no other
    test begins before the quiet one."""
    folder = Path(item.config.option.basetemp).parent
    with (folder / "door.lock").open("w") as door, (folder / "room.lock").open("w") as room:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if item.get_closest_marker("quiet") else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        yield


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
        await replay_all(await client_of(platform))


@pytest.fixture(scope="session")
async def platform_on_postgresql(
    tmp_path_factory: pytest.TempPathFactory, postgresql: PostgreSQL
) -> AsyncIterator[PlatformProcess]:
    url, key = postgresql.fresh(), new_key()
    folder = tmp_path_factory.mktemp("platform")
    async with running(folder, WEBHOOKS_DATABASE_URL=url, WEBHOOKS_MASTER_KEY=key) as platform:
        yield platform
        await replay_all(await client_of(platform))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    with serving() as server:
        yield server


@pytest.fixture
def own_postgresql() -> Iterator[PostgreSQL]:
    """A server that a test may stop."""
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
