"""A PostgreSQL server for tests: the programs that Debian installs, a folder of its own, a free port on loopback."""

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import pytest

from webhooks.testing.platform_process import free_port

MISSING = "no PostgreSQL here (apt-get install postgresql)"
_PASSWORD = "the administrator's"
_ROOT = os.getuid() == 0
"""PostgreSQL refuses to run as root."""
_CARELESS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def programs() -> Path | None:
    """The folder of the newest `initdb`."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: int(file.parts[-3]))
    elsewhere = shutil.which("initdb")
    return found[-1].parent if found else Path(elsewhere).resolve().parent if elsewhere else None


class PostgreSQL:
    """Its data are gone when it is closed."""

    def __init__(
        self, *, user: str = "administrator", password: str = _PASSWORD, settings: Sequence[str] = _CARELESS
    ) -> None:
        """`settings` as of postgresql.conf; fast, and lost in a crash, unless others are given."""
        folder = programs()
        assert folder, MISSING
        self._programs = folder
        self._settings = settings
        self.port = free_port()
        self.user, self.password = user, password
        self._folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        if _ROOT:
            shutil.chown(self._folder, "nobody", "nogroup")

    def start(self) -> None:
        if not self._data.exists():
            self._initialise()
        self._control("start")

    def restart(self) -> None:
        """Every connection is cut, as in a failover."""
        self._control("restart", "--mode", "fast")

    def stop(self) -> None:
        self._control("stop", "--mode", "fast")

    def crash(self) -> None:
        """As by a power cut: what comes up again recovers from its log."""
        self._control("stop", "--mode", "immediate")

    def close(self) -> None:
        if (self._data / "postmaster.pid").exists():
            self.crash()
        shutil.rmtree(self._folder)

    def _initialise(self) -> None:
        password = self._folder / "password"
        password.write_text(self.password)
        password.chmod(0o644)
        self._run(
            "initdb", "--pgdata", str(self._data), "--username", self.user, "--pwfile", str(password),
            "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync",
        )  # fmt: skip

    def fresh(self) -> str:
        """The URL of a new, empty database."""
        name = f"test_{secrets.token_hex(6)}"
        self.create(name)
        return self.url(name)

    def version(self) -> str:
        return (self._data / "PG_VERSION").read_text().strip()

    def create(self, database: str) -> None:
        self._run("createdb", database)

    def url(self, database: str) -> str:
        return f"postgresql://{self.user}:{quote(self.password, safe='')}@127.0.0.1:{self.port}/{database}"

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _control(self, *action: str) -> None:
        settings = [f"-c {setting}" for setting in (*self._settings, "listen_addresses=127.0.0.1")]
        options = " ".join([*settings, f"-p {self.port}", f"-k {self._folder}"])
        log = str(self._folder / "server.log")
        self._run("pg_ctl", "--pgdata", str(self._data), "--wait", "--silent", "--log", log, "-o", options, *action)

    def _run(self, program: str, *arguments: str) -> None:
        variables = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": self.user, "PGPASSWORD": self.password}
        subprocess.run(
            [self._programs / program, *arguments],
            env={"PATH": os.environ["PATH"], **variables},
            cwd="/",
            stdout=subprocess.DEVNULL,
            check=True,
            user="nobody" if _ROOT else None,
            group="nogroup" if _ROOT else None,
            extra_groups=[] if _ROOT else None,
        )


@contextlib.contextmanager
def serving() -> Iterator[PostgreSQL]:
    """Skips the test where there are no programs."""
    if programs() is None:
        pytest.skip(MISSING)
    server = PostgreSQL()
    server.start()
    yield server
    server.close()
