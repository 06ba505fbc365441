"""Runs the generators."""

import asyncio
import os
import sys
from pathlib import Path


async def run(*command: str | Path, cwd: Path) -> str:
    """Return what the command printed. Raises AssertionError unless it ends with exit code 0 within 100 s."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        cwd=cwd,
        env={**os.environ, "PATH": path, "NO_COLOR": "1", "COLUMNS": "200"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(100):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        raise
    assert process.returncode == 0, f"exit code {process.returncode}\n{output.decode()}"
    return output.decode()
