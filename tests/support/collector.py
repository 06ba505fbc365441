"""An OpenTelemetry collector on loopback that keeps what it is sent (OTLP over HTTP, protobuf)."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from webhooks.testing.platform_process import until
from webhooks.testing.receiver import Receiver

TRACES, METRICS = "/v1/traces", "/v1/metrics"


@dataclass(frozen=True)
class Span:
    """Ids in hex; `links` are trace ids; times in Unix nanoseconds."""

    name: str
    trace: str
    id: str
    parent: str
    links: list[str]
    attributes: dict[str, object]
    start: int
    end: int
    failed: bool
    service: str


@dataclass
class Collector:
    _receiver: Receiver = field(default_factory=Receiver)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["Collector"]:
        async with self._receiver.serving():
            yield self

    @property
    def environment(self) -> dict[str, Any]:
        """What makes a platform send everything here, and soon."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self._receiver.url(""),
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
        }

    @property
    def spans(self) -> list[Span]:
        found = []
        for request in self._receiver.got(TRACES):
            for resource in ExportTraceServiceRequest.FromString(request.body).resource_spans:
                service = str(_plain(resource.resource.attributes)["service.name"])
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        found.append(
                            Span(
                                name=span.name,
                                trace=span.trace_id.hex(),
                                id=span.span_id.hex(),
                                parent=span.parent_span_id.hex(),
                                links=[link.trace_id.hex() for link in span.links],
                                attributes=_plain(span.attributes),
                                start=span.start_time_unix_nano,
                                end=span.end_time_unix_nano,
                                failed=span.status.code == span.status.STATUS_CODE_ERROR,
                                service=service,
                            )
                        )
        return found

    @property
    def metrics(self) -> set[str]:
        """Their names."""
        return {
            metric.name
            for request in self._receiver.got(METRICS)
            for resource in ExportMetricsServiceRequest.FromString(request.body).resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    @property
    def everything(self) -> list[str]:
        """As text, for those who look for what must not be there."""
        traces = [str(ExportTraceServiceRequest.FromString(request.body)) for request in self._receiver.got(TRACES)]
        metrics = [str(ExportMetricsServiceRequest.FromString(request.body)) for request in self._receiver.got(METRICS)]
        return traces + metrics

    async def wait(self, done: Callable[[list[Span]], bool], what: str) -> list[Span]:
        """The spans once `done`."""

        async def check() -> bool:
            return done(self.spans)

        await until(check, timeout=30, what=what, shown=lambda: str([span.name for span in self.spans]))
        return self.spans


def _plain(attributes: Iterable[KeyValue]) -> dict[str, object]:
    found: dict[str, object] = {}
    for item in attributes:
        kind = item.value.WhichOneof("value")
        found[item.key] = getattr(item.value, kind) if kind else None
    return found
