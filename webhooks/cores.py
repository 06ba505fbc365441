"""How many cores this process may use."""

import contextlib
import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""A container's limit, from Linux's control groups (v2): `200000 100000` is two cores, `max 100000` no limit."""


def usable(quota: Path = _QUOTA) -> int:
    """Return the number of cores that the process may run on, or that its container may use if that is less; at least
    1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        microseconds, period = quota.read_text().split()
        cores = min(cores, int(microseconds) // int(period))
    return max(cores, 1)
