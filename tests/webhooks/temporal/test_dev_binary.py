"""Where our own Temporal server comes from."""

import stat
from pathlib import Path

import pytest

from webhooks.temporal.dev_binary import NoTemporalError, find_temporal


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty machine: nothing on PATH, nothing cached, no network beyond a closed port."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    return tmp_path


def program(file: Path, script: str = "#!/bin/sh\n") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(script)
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


async def test_one_on_path_comes_first(machine: Path) -> None:
    program(machine / "cache/durable-webhooks/temporal-v1.5.1/temporal")
    binary = program(machine / "bin/temporal")
    said: list[str] = []

    assert await find_temporal(said.append) == binary
    assert said == []


@pytest.mark.parametrize("cached", ["temporal-v1.5.1/temporal", "temporal-download/temporal-cli-1.9.0"])
async def test_then_the_cache(machine: Path, cached: str) -> None:
    binary = program(machine / "cache/durable-webhooks" / cached)
    said: list[str] = []

    assert await find_temporal(said.append) == binary
    assert said == []


async def test_a_failed_download_falls_through_to_go(machine: Path) -> None:
    """Go is asked for the pinned version, and what it built is kept for the next time."""
    go = '#!/bin/sh\n[ "$1" = install ] || exit 1\n/bin/mkdir -p "$GOBIN" && echo "$2" > "$GOBIN/temporal"\n'
    program(machine / "bin/go", go)
    said: list[str] = []
    binary = await find_temporal(said.append)

    assert binary.read_text().strip() == "github.com/temporalio/cli/cmd/temporal@v1.5.1"
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
