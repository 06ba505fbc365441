"""The CPU time of processes."""

import contextlib
from pathlib import Path

import psutil

from webhooks.testing.platform_process import PlatformProcess

_RUST = ("tokio", "workflow-proces", "temporal-")
"""Prefixes of the names of threads that belong to Temporal's SDK."""
SERVER, RUST, PYTHON = "server", "rust", "python"


def of(platform: PlatformProcess) -> dict[str, float]:
    """Return the CPU seconds so far of the Temporal server, the interpreter and the SDK's own threads."""
    return {SERVER: of_process(platform.temporal_pid), **of_threads(platform.pid)}


def of_process(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def of_threads(pid: int) -> dict[str, float]:
    """Return the CPU seconds so far of a Python process: of the SDK's own threads, and of all others."""
    threads = {RUST: 0.0, PYTHON: 0.0}
    for thread in psutil.Process(pid).threads():
        with contextlib.suppress(FileNotFoundError):  # it has ended
            name = Path(f"/proc/{pid}/task/{thread.id}/comm").read_text()
            threads[RUST if name.startswith(_RUST) else PYTHON] += thread.user_time + thread.system_time
    return threads
