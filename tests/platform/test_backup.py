"""A backup that is made while the platform runs, and a platform that starts on it."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.support.file_system import ROOT
from webhooks.testing.platform_process import PlatformProcess, running, until
from webhooks.testing.receiver import Receiver, Reply

CANARY = "canary-backup-3391"


async def run(module: str, *arguments: str, of: PlatformProcess) -> str:
    """Run a command with the platform's settings, and return what it printed."""
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, cwd=ROOT, env=of.environment, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await command.communicate()
    assert command.returncode == 0
    return printed.decode()


@pytest.mark.thorough
async def test_a_platform_goes_on_from_a_backup(tmp_path: Path, receiver: Receiver) -> None:
    works = False

    def answer(_: object) -> Reply:
        return Reply(200 if works else 503)

    backup = tmp_path / "backups" / "monday"
    async with running(tmp_path / "first") as first:
        event = await first.event()
        policy = {"initial_interval": 1, "backoff_coefficient": 1, "maximum_attempts": 100}  # outlasts the backup
        url = receiver.tell("/backup", [answer])
        webhook = await first.webhook(event, url, headers={"X-Token": CANARY}, retry_policy=policy)
        pending = await first.delivery(await first.publish(event))
        await first.wait(pending, lambda delivery: len(delivery["attempts"]) > 0)

        async def publish() -> None:
            for n in range(20):
                await first.publish(event, {"n": n})

        await asyncio.gather(publish(), run("webhooks.store.backup", str(backup), of=first))
        await first.call("DELETE", f"/v1/webhooks/{webhook['id']}")
    works = True
    async with running(backup) as second:
        delivered = await second.wait(pending, "delivered", timeout=60)

    assert delivered["attempts"][-1]["outcome"] == "delivered"
    assert receiver.got("/backup")[-1].headers["x-token"] == CANARY
    assert backup.stat().st_mode & 0o077 == 0


@pytest.mark.thorough
async def test_a_new_key_ends_the_lost_one_while_the_platform_runs(tmp_path: Path) -> None:
    async with running(tmp_path) as platform:
        key = (await run("webhooks.identity.new_api_key", "--revoke-others", of=platform)).strip()
        lost = platform.http.headers["authorization"]

        async def is_refused() -> bool:
            return (await platform.http.get("/v1/events")).status_code == 401

        await until(is_refused, timeout=20, what="the end of the lost key")
        platform.http.headers["authorization"] = f"Bearer {key}"
        event = await platform.event()

    assert lost != f"Bearer {key}"
    assert event
    assert key not in platform.log
