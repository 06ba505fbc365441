"""The library's spans. While tracing is off, OpenTelemetry ignores all calls.

Attributes hold ids, hosts and outcomes, but never a body, a header or the path of a URL, which is a secret with some
receivers. The instrumentation of httpx records whole URLs, so requests get a span of our own.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from webhooks import VERSION, outcomes

PROPAGATOR = TraceContextTextMapPropagator()
"""W3C trace context without baggage: a producer's baggage must not be stored."""
HEADER = "_tracer-data"
"""Header of a workflow in Temporal that holds its trace. The name is that of Temporal's interceptor."""
NAME = "durable-webhooks"

_tracer = trace.get_tracer(NAME, VERSION)


def describe(**attributes: str | int | None) -> None:
    """Add attributes to the current span: `delivery_id` becomes `webhooks.delivery_id`. None is left out."""
    span = trace.get_current_span()
    if span.is_recording():
        for name, value in attributes.items():
            if value is not None:
                span.set_attribute(f"webhooks.{name}", value)


@contextlib.contextmanager
def request(method: str, host: str, port: int | None) -> Iterator[Span]:
    """Run the block in the span of a request to a receiver."""
    attributes: dict[str, str | int] = {"http.request.method": method, "server.address": host}
    if port:
        attributes["server.port"] = port
    with _tracer.start_as_current_span(
        method, kind=SpanKind.CLIENT, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        yield span


def traceparent(span: Span) -> dict[str, str]:
    """Return the header that gives a receiver the trace of its request, without the rest of the context."""
    context = span.get_span_context()
    if not context.is_valid:
        return {}
    return {"traceparent": f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"}


def answered(span: Span, outcome: str, status_code: int | None) -> None:
    """Add the result of a request to its span."""
    if status_code is not None:
        span.set_attribute("http.response.status_code", status_code)
    if outcome != outcomes.DELIVERED:
        span.set_attribute("error.type", str(status_code or outcome))
        span.set_status(StatusCode.ERROR)


@contextlib.contextmanager
def continuing(name: str, carrier: Mapping[str, Any]) -> Iterator[None]:
    """Run the block in the trace in which a delivery began. `carrier` holds that trace. The new span and the caller's
    span, if it has one in another trace, are linked."""
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
