"""The embedded Temporal server, in the place of which a script runs."""

import asyncio
import errno
import os
from pathlib import Path

import pytest

from webhooks.settings import Settings
from webhooks.temporal import dev_server
from webhooks.temporal.dev_binary import NoTemporalError
from webhooks.temporal.dev_server import TemporalServer
from webhooks.testing.platform_process import free_port


async def ended(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the script as the server until it is given up, and return the reason."""
    binary = folder / "temporal"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o700)

    async def find_temporal(_: object) -> Path:
        return binary

    monkeypatch.setattr(dev_server, "find_temporal", find_temporal)
    monkeypatch.setattr(dev_server, "_RESTART_SECONDS", 0.01)
    over = asyncio.Event()
    settings = Settings(data_dir=folder, temporal_port=free_port(), temporal_ui_port=free_port())
    server = TemporalServer(settings, print, on_end=over.set)
    await server.start()
    async with asyncio.timeout(20):
        await over.wait()
    with pytest.raises(NoTemporalError) as caught:
        await server.stop()
    return str(caught.value)


async def test_a_server_that_ends_immediately_is_given_up_with_what_its_log_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = await ended(tmp_path, "echo Error: no such option >&2; exit 7", monkeypatch)

    assert reason.startswith("The Temporal server ends immediately (code 7):\n")
    assert reason.endswith("Error: no such option")


async def test_a_server_that_says_nothing_is_told_of_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = await ended(tmp_path, "exit 1", monkeypatch)

    assert reason.endswith(f"It wrote nothing to its log {tmp_path / 'temporal.log'}.")


async def test_while_the_disk_is_full_the_server_is_not_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full = iter([OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))] * 50)
    monkeypatch.setattr(dev_server, "why_not_writable", lambda _: next(full, None))
    reason = await ended(tmp_path, "exit 1", monkeypatch)

    assert next(full, None) is None
    assert caplog.text.count("cannot be written to: No space left on device") == 1
    assert reason.startswith("The Temporal server ends immediately (code 1)")
