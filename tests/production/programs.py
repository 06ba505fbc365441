"""The programs of Temporal's images, from its Go modules: built once on a machine."""

import re
from pathlib import Path

from tests.support import compose
from webhooks.temporal.dev_binary import Say, cache, find_temporal, go_install

_MODULE = "go.temporal.io/server"
_PACKAGES = {"temporal-server": "cmd/server", "temporal-sql-tool": "cmd/tools/sql"}


def version() -> str:
    """Of the server that compose starts."""
    found = re.search(r":-([\d.]+)\}$", compose.services()["temporal"]["image"])
    assert found
    return found[1]


async def programs(say: Say) -> Path:
    """A folder for PATH: `temporal-server`, `temporal-sql-tool`, and `temporal`. Raises NoTemporalError."""
    folder = cache() / f"temporal-server-{version()}"
    for name, package in _PACKAGES.items():
        if not (folder / name).exists():
            await go_install(f"{_MODULE}/{package}@v{version()}", folder / name, say)
    temporal = await find_temporal(say)
    (folder / "temporal").unlink(missing_ok=True)
    (folder / "temporal").symlink_to(temporal)
    return folder
