"""Where our own Temporal server comes from."""

import stat
import sysconfig
from pathlib import Path

import pytest

from webhooks.temporal.dev_binary import NoTemporalError, find_temporal, server_version

SAYS_VERSION = "#!/bin/sh\necho 'temporal version 1.9.1 (Server {}, UI 2.54.1)'\n"

GO = """#!/bin/sh
[ "$1" = install ] && /bin/mkdir -p "$GOBIN" && /bin/cat >"$GOBIN/temporal" <<END && /bin/chmod +x "$GOBIN/temporal"
#!/bin/sh
echo "(Server 1.29.1, UI 2.42.1) of $2"
END
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty machine: nothing on PATH, nothing installed, nothing cached, no network beyond a closed port."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path / "venv/bin"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    return tmp_path


def program(file: Path, script: str = SAYS_VERSION.format("1.32.0")) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(script)
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


PLACES = (
    "bin/temporal",
    "venv/bin/temporal",
    "cache/durable-webhooks/temporal-v1.5.1/temporal",
    "cache/durable-webhooks/temporal-download/temporal-cli-1.9.0",
)
"""Where a server may be, the first choice first."""


@pytest.mark.parametrize("first", range(len(PLACES)), ids=PLACES)
async def test_the_first_place_that_has_one(machine: Path, first: int) -> None:
    binary, *_others = [program(machine / place) for place in PLACES[first:]]
    said: list[str] = []

    assert await find_temporal(said.append) == binary
    assert said == [f"Temporal: server 1.32.0 ({binary})"]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (SAYS_VERSION.format("1.28.3"), "its server 1.28.3 is older than 1.29"),
        (SAYS_VERSION.format("0.99.0"), "older than 1.29"),
        ("#!/bin/sh\necho temporal version 1.9.1\n", "does not name a server"),
        ("#!/bin/sh\nexit 1\n", "does not name a server"),
        ("not a program", "does not name a server"),
    ],
)
async def test_one_that_is_too_old_or_broken_is_not_used(machine: Path, script: str, why: str) -> None:
    unusable = program(machine / "bin/temporal", script)
    binary = program(machine / "venv/bin/temporal", SAYS_VERSION.format("1.29.0"))
    said: list[str] = []

    assert await find_temporal(said.append) == binary
    assert said[0].startswith(f"Temporal: not using {unusable}")
    assert why in said[0]


async def test_versions_compare_as_numbers(machine: Path) -> None:
    binary = program(machine / "bin/temporal", SAYS_VERSION.format("1.100.0-rc.1"))

    assert await find_temporal(lambda _: None) == binary
    assert await server_version(binary) == "1.100.0-rc.1"
    assert await server_version(machine / "nothing") is None


async def test_a_failed_download_falls_through_to_go(machine: Path) -> None:
    """Go is asked for the pinned version, and what it built is kept for the next time."""
    program(machine / "bin/go", GO)
    said: list[str] = []
    binary = await find_temporal(said.append)

    assert "github.com/temporalio/cli/cmd/temporal@v1.5.1" in binary.read_text()
    assert binary.is_relative_to(machine / "cache")
    assert any("download failed" in line for line in said)
    assert any("building" in line for line in said)
    (machine / "bin/go").unlink()
    assert await find_temporal(said.append) == binary


async def test_without_anything_it_says_what_to_do(machine: Path) -> None:
    with pytest.raises(NoTemporalError, match="TEMPORAL_ADDRESS"):
        await find_temporal(lambda _: None)


async def test_a_build_that_fails_shows_why(machine: Path) -> None:
    program(machine / "bin/go", "#!/bin/sh\necho no such module >&2\nexit 1\n")
    with pytest.raises(NoTemporalError, match="no such module"):
        await find_temporal(lambda _: None)
