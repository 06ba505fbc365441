"""`python -m api`: the whole platform. API, worker and, unless TEMPORAL_ADDRESS names one, a Temporal server.

It is one process, or with WEBHOOKS_PROCESSES several that one starts."""

import gc

if __name__ == "__main__":
    gc.disable()  # what the imports make stays: to search it for garbage would take a quarter of their time

from collections.abc import Coroutine
from typing import Any

from webhooks import process
from webhooks.settings import Settings

# ruff: noqa: PLC0415


def main(settings: Settings) -> Coroutine[Any, Any, None]:
    """Import what this process needs, and return what it does. One that only starts others needs no API."""
    if settings.processes == 1:
        from api.serving import serve_alone

        return serve_alone(settings)
    from api.processes import run_several

    return run_several(settings)


if __name__ == "__main__":
    process.run(main)
