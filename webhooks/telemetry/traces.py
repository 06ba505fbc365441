"""What the library says of itself in traces. While tracing is off, all of it is OpenTelemetry's own no-ops.

Attributes are ids, hosts and outcomes: never a body, a header, or a URL's path, which is a password with some
receivers. That is why requests get a span of ours: the instrumentation of httpx records whole URLs.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from webhooks import VERSION, outcomes

PROPAGATOR = TraceContextTextMapPropagator()
"""W3C trace context alone: a producer's baggage is not ours to store."""
HEADER = "_tracer-data"
"""Of a workflow's start in Temporal: the trace that it belongs to."""
NAME = "durable-webhooks"

_tracer = trace.get_tracer(NAME, VERSION)


def describe(**attributes: str | int | None) -> None:
    """Adds to the current span: `delivery_id` becomes `webhooks.delivery_id`."""
    span = trace.get_current_span()
    if span.is_recording():
        for name, value in attributes.items():
            if value is not None:
                span.set_attribute(f"webhooks.{name}", value)


@contextlib.contextmanager
def request(method: str, host: str, port: int | None) -> Iterator[Span]:
    """The span of one request to a stranger."""
    attributes: dict[str, str | int] = {"http.request.method": method, "server.address": host}
    if port:
        attributes["server.port"] = port
    with _tracer.start_as_current_span(
        method, kind=SpanKind.CLIENT, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        yield span


def traceparent(span: Span) -> dict[str, str]:
    """The header that tells a receiver which trace a request belongs to; the rest of the context is none of his."""
    context = span.get_span_context()
    if not context.is_valid:
        return {}
    return {"traceparent": f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"}


def answered(span: Span, outcome: str, status_code: int | None) -> None:
    if status_code is not None:
        span.set_attribute("http.response.status_code", status_code)
    if outcome != outcomes.DELIVERED:
        span.set_attribute("error.type", str(status_code or outcome))
        span.set_status(StatusCode.ERROR)


@contextlib.contextmanager
def continuing(name: str, carrier: Mapping[str, Any]) -> Iterator[None]:
    """What is done for a delivery that began in a trace of its own, `carrier`, goes on there; the span that asks for
    it, if there is one, and the span that does it are linked."""
    original = PROPAGATOR.extract(carrier)
    theirs = trace.get_current_span(original).get_span_context()
    if not theirs.is_valid:
        yield
        return
    caller = trace.get_current_span()
    caller.add_link(theirs)
    ours = caller.get_span_context()
    links = [Link(ours)] if ours.is_valid and ours.trace_id != theirs.trace_id else []
    with _tracer.start_as_current_span(name, context=original, links=links):
        yield
