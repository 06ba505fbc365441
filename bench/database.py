"""The configuration database that is measured: SQLite, or the empty PostgreSQL database of WEBHOOKS_DATABASE_URL, which
needs WEBHOOKS_MASTER_KEY."""

import os
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from webhooks.testing import platform_process
from webhooks.testing.platform_process import PlatformProcess

_URL, _KEY = (os.environ.get(name, "") for name in ("WEBHOOKS_DATABASE_URL", "WEBHOOKS_MASTER_KEY"))
NAME = "PostgreSQL" if _URL else "SQLite"


def running(folder: Path, **environment: str) -> AbstractAsyncContextManager[PlatformProcess]:
    return platform_process.running(
        folder, ports=None, WEBHOOKS_DATABASE_URL=_URL, WEBHOOKS_MASTER_KEY=_KEY, **environment
    )


def traced(beside: PlatformProcess, collector: str) -> AbstractAsyncContextManager[PlatformProcess]:
    """Run a platform that sends traces to `collector`, on the configuration and Temporal server of `beside`."""
    return running(
        beside.data_dir,
        TEMPORAL_ADDRESS=f"127.0.0.1:{beside.temporal_port}",
        WEBHOOKS_TASK_QUEUE="traced",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{collector}/v1/traces",
    )
