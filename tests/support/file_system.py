"""Small or read-only file systems for tests of what a disk does."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
"""Where the modules of the platform are."""


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """Mount a file system in memory while the block runs. Skips the test where that is not permitted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("to mount a file system needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def fill(filler: Path) -> None:
    """Write a file until nothing is left of its file system."""
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
