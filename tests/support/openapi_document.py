"""The OpenAPI document, made without a running platform."""

import functools
from types import SimpleNamespace

from api.app import create_app
from webhooks.testing.platform_process import Json


@functools.cache
def openapi_document() -> Json:
    """Return it. Making it takes more than a second, so tests share one, and no module makes it while it is imported:
    every process of a test run imports all modules."""
    return create_app(SimpleNamespace(why_failed=str)).openapi()  # type: ignore[arg-type]
