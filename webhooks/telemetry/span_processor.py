"""What a span must not say, taken from it as it begins."""

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor


class WithoutQuery(SpanProcessor):
    """FastAPI records query strings, where somebody may have put a key by mistake."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if span.attributes and "url.query" in span.attributes:
            span.set_attribute("url.query", "REDACTED")
