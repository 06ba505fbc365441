"""Which configuration database is measured: SQLite, or with WEBHOOKS_MASTER_KEY the empty one of
WEBHOOKS_DATABASE_URL."""

import os
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from demo import platform_process
from demo.platform_process import PlatformProcess

_URL, _KEY = (os.environ.get(name, "") for name in ("WEBHOOKS_DATABASE_URL", "WEBHOOKS_MASTER_KEY"))
NAME = "PostgreSQL" if _URL else "SQLite"


def running(folder: Path) -> AbstractAsyncContextManager[PlatformProcess]:
    return platform_process.running(folder, WEBHOOKS_DATABASE_URL=_URL, WEBHOOKS_MASTER_KEY=_KEY)
