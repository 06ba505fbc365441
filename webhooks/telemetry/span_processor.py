"""Removes from spans what they must not hold."""

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor


class WithoutQuery(SpanProcessor):
    """Removes query strings, which FastAPI records: somebody may have put a key into one by mistake."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if span.attributes and "url.query" in span.attributes:
            span.set_attribute("url.query", "REDACTED")
