"""What every process of the platform sets up for itself."""

import gc
import os
import resource
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import uvloop
from pydantic import ValidationError

from webhooks.errors import CannotRunError
from webhooks.settings import Settings
from webhooks.telemetry import logs

_GC_THRESHOLD = 50_000


def run(main: Callable[[Settings], Coroutine[Any, Any, None]]) -> None:
    """Runs a process with its settings: on uvloop, with its log on stderr, files that only their owner reads, and room
    for sockets. What keeps it from running ends it with a line for the operator."""
    # A slow receiver makes a long workflow task, which is no fault worth a warning for each.
    os.environ.setdefault("TEMPORAL_WORKFLOW_TASK_DURATION_WARN_SECONDS", "60")
    os.umask(0o077)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        settings = Settings()
    except ValidationError as error:
        sys.exit(f"Bad setting: {'; '.join(_bad_settings(error))}")
    logs.set_up(settings.log_format)
    tune_gc()
    try:
        uvloop.run(main(settings))
    except CannotRunError as error:
        sys.exit(str(error))


def tune_gc() -> None:
    """Deliveries make many objects and few cycles. By default Python looks for these after every 700 objects, and at
    times through everything that was ever imported: a sixth of the CPU time of a process that delivers."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)


def _bad_settings(error: ValidationError) -> Iterator[str]:
    """A line for each, naming the variable and never its value."""
    for item in error.errors(include_input=False, include_url=False):
        name = str(item["loc"][0])
        yield f"{name if name.isupper() else (Settings.model_config['env_prefix'] + name).upper()}: {item['msg']}"
