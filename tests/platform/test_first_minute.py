"""What somebody sees who starts the platform for the first time."""

import asyncio
import contextlib
import os
import pty
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from webhooks.testing.child_process import ROOT
from webhooks.testing.platform_process import KEY, PlatformProcess, free_port, until


class Terminal:
    """Runs `python -m api` on a terminal; its log goes to a file."""

    def __init__(self, platform: PlatformProcess) -> None:
        self._platform = platform
        self._shown = bytearray()

    @property
    def shown(self) -> str:
        return self._shown.decode().replace("\r\n", "\n")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The platform, once it is ready. It is stopped at the end."""
        ours, theirs = pty.openpty()
        self._platform.data_dir.mkdir(parents=True, exist_ok=True)
        asyncio.get_running_loop().add_reader(ours, self._read, ours)
        try:
            with self._platform.log_file.open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "api"),
                    cwd=ROOT,
                    env=self._platform.environment,
                    stdin=theirs,
                    stdout=theirs,
                    stderr=log,
                )
            try:
                await until(self._platform.is_ready, timeout=60, what="the platform")
                yield
                process.terminate()
                assert await asyncio.wait_for(process.wait(), 60) == 0
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        finally:
            asyncio.get_running_loop().remove_reader(ours)
            os.close(ours)
            os.close(theirs)

    def _read(self, ours: int) -> None:
        self._shown += os.read(ours, 65536)

    async def shows(self, text: str) -> None:
        async def has() -> bool:
            return text in self.shown

        await until(has, timeout=30, what=f"{text!r} on the terminal", shown=lambda: self.shown)


@pytest.mark.thorough
async def test_the_first_calls_are_shown_on_a_terminal_only_while_there_is_no_webhook(own: PlatformProcess) -> None:
    """They work as they are pasted, and the log never shows the key."""
    async with (first := Terminal(own)).running():
        await first.shows("README.md explains")
        assert KEY in first.shown
        assert "refused" not in first.shown
        port = free_port()
        calls = first.shown.partition("auth=")[2].partition("\n`kill")[0].replace("9000", str(port))
        pasted = await asyncio.create_subprocess_exec(
            *("bash", "-c", f"auth={calls}\nread; kill %1"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert pasted.stdout
        output = b""
        async with asyncio.timeout(60):
            while not (delivery := re.search(rb'"(order-4711~[0-9a-f-]+)"', output)):
                more = await pasted.stdout.read(65536)
                assert more, output.decode()
                output += more
        # The receiver stays until then: if it starts too slowly for the first attempt, a retry reaches it.
        await own.wait(delivery[1].decode(), "delivered", timeout=60)
        await asyncio.wait_for(pasted.communicate(b"\n"), 60)
    async with (second := Terminal(own)).running():
        pass

    assert second.shown == ""
    assert own.log.count(f"monitor: http://127.0.0.1:{own.port}/ (sign in with an API key)") == 2  # once for each start
    assert KEY not in own.log
    assert "delivering" in own.log


@pytest.mark.thorough
async def test_they_say_when_their_receiver_would_be_refused(tmp_path: Path) -> None:
    own = PlatformProcess(tmp_path / "platform", WEBHOOKS_EGRESS_ALLOW="", WEBHOOKS_BOOTSTRAP_KEY="")
    try:
        async with (terminal := Terminal(own)).running():
            await terminal.shows("README.md explains")
    finally:
        await own.close()
    key = (own.data_dir / "bootstrap.key").read_text().strip()

    assert "WEBHOOKS_EGRESS_ALLOW=127.0.0.0/8 make run" in terminal.shown
    assert f"'Authorization: Bearer {key}'" in terminal.shown
    assert f"(sign in with the API key in {own.data_dir / 'bootstrap.key'})" in own.log
    assert key not in own.log


async def test_the_root_leads_to_the_monitor(platform: PlatformProcess) -> None:
    answer = await platform.http.get("/", follow_redirects=True)

    assert answer.status_code == 200
    assert answer.url.path == "/sign-in"
    assert answer.url.params["next"] == "/sent"
    assert "/" not in (await platform.get("/openapi.json"))["paths"]


async def test_a_port_in_use_is_not_taken_for_the_platform(platform: PlatformProcess, tmp_path: Path) -> None:
    other = PlatformProcess(tmp_path, ports=(platform.port, free_port(), free_port()))

    with pytest.raises(AssertionError, match=f"port {platform.port} is in use"):
        await other.start()
    await other.close()


async def test_the_demo_says_that_its_port_is_in_use(platform: PlatformProcess) -> None:
    """Without a port in the environment it takes a free one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WEBHOOKS_", "TEMPORAL_"))}
    demo = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "demo"),
        cwd=ROOT,
        env={**kept, "WEBHOOKS_PORT": str(platform.port)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(demo.communicate(), 60)

    assert f"WEBHOOKS_PORT: port {platform.port} is in use" in output.decode()
    assert "401" not in output.decode()
    assert demo.returncode == 1
