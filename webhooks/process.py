"""Starting a process of the platform: settings, log, event loop and limits."""

import gc
import logging
import os
import resource
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import uvloop
from pydantic import ValidationError

from webhooks.errors import CannotRunError
from webhooks.field_errors import told
from webhooks.settings import Settings, old_names
from webhooks.telemetry import logs

log = logging.getLogger(__name__)

_GC_THRESHOLD_OBJECTS = 50_000
"""New objects between two runs of the garbage collector; 700 is Python's default. See `tune_gc`."""
_SLOW_WORKFLOW_TASK_SECONDS = 60
"""Temporal's SDK warns of workflow tasks that take longer. A slow receiver exceeds the SDK's own, shorter limit."""


def run(main: Callable[[Settings], Coroutine[Any, Any, None]], number: int | None = None) -> None:
    """Run a process to its end: read its settings, set up its log on stderr, let only its owner read its files, allow
    as many open files as the system permits, and run `main` on uvloop. Exit with a message for the operator if a
    setting is wrong or `main` raises CannotRunError. `number` says which of several processes it is."""
    os.environ.setdefault("TEMPORAL_WORKFLOW_TASK_DURATION_WARN_SECONDS", str(_SLOW_WORKFLOW_TASK_SECONDS))
    os.umask(0o077)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        settings = Settings()
    except ValidationError as error:
        sys.exit(f"Bad setting: {'; '.join([*_bad_settings(error), *old_names(os.environ)])}")
    logs.set_up(settings.log_format, number)
    for warning in old_names(os.environ):
        log.warning("%s", warning)
    running = main(settings)  # if it is a function that imports what it needs, that comes before the next line
    tune_gc()
    try:
        uvloop.run(running)
    except CannotRunError as error:
        sys.exit(str(error))


def tune_gc() -> None:
    """Make the garbage collector run less often, and skip what is imported so far. Deliveries create many objects but
    few cycles: with Python's defaults, a sixth of the CPU time of a delivering process went to the collector. A process
    may import with the collector off: this turns it on."""
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD_OBJECTS)
    gc.enable()


def _bad_settings(error: ValidationError) -> Iterator[str]:
    """Yield a line for each wrong setting. It names the variable and never holds its value."""
    for item in error.errors(include_url=False):
        message = told(item)
        if not item["loc"]:  # of several settings together: the message names them
            yield message
            continue
        name = str(item["loc"][0])
        yield f"{name if name.isupper() else (Settings.model_config['env_prefix'] + name).upper()}: {message}"
