"""`make demo`, as a person watches it."""

import asyncio
import os
import re
import signal
import sys

from webhooks.testing.child_process import ROOT
from webhooks.testing.platform_process import free_port


async def test_the_demo_does_its_job_and_ends_with_ctrl_c() -> None:
    names = ("WEBHOOKS_PORT", "WEBHOOKS_TEMPORAL_PORT", "WEBHOOKS_TEMPORAL_UI_PORT")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WEBHOOKS_", "TEMPORAL_"))}
    demo = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-m", "demo"),
        cwd=ROOT,
        env={**kept, **{name: str(free_port()) for name in names}},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert demo.stdout
    shown = ""
    async with asyncio.timeout(60):
        while "until Ctrl-C" not in shown:
            line = await demo.stdout.readline()
            assert line, shown
            shown += line.decode()
    demo.send_signal(signal.SIGINT)
    async with asyncio.timeout(60):
        rest, _ = await demo.communicate()

    attempts = re.findall(r"attempt (\d)  (\w+) +(\d+)", shown)
    assert attempts == [
        ("1", "event", "503"),
        ("2", "retry", "503"),
        ("3", "retry", "200"),
        ("1", "event", "400"),
        ("2", "resend", "200"),
    ]
    assert "verified the signature: yes" in shown
    assert len(re.findall(r"http://\S+/docs|/workflows/\S+/history|/v1/deliveries/\S+", shown)) >= 3
    assert "Traceback" not in shown + rest.decode()
    assert demo.returncode == 0
