"""Sets up OpenTelemetry's SDK for a process by the standard `OTEL_*` variables. Without them, the SDK is not imported
and metrics and traces are dropped.

Imports of the SDK are inside functions: they cost time and memory that a process without telemetry should not spend.
"""

import contextlib
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from temporalio.client import Interceptor
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    OpenTelemetryConfig,
    PrometheusConfig,
    Runtime,
    TelemetryFilter,
)
from temporalio.runtime import TelemetryConfig as RuntimeTelemetry

from webhooks import VERSION
from webhooks.errors import CannotRunError
from webhooks.settings import Settings
from webhooks.telemetry import metrics, traces

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.resources import Resource

_OTLP = "OTEL_EXPORTER_OTLP"
_FLUSH_SECONDS = 3.0
"""How long a process waits at its end for the last export. An unreachable collector must not stop it from ending."""
# ruff: noqa: PLC0415


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[None]:
    """Export metrics and traces while the block runs, and what is left at its end. Raises CannotRunError."""
    ends: list[Callable[[], None]] = []
    try:
        if exporter("TRACES"):
            ends.append(_traces())
        if exports_metrics(settings):
            ends.append(_metrics(settings))
        yield
    finally:
        flushing = [threading.Thread(target=end, daemon=True) for end in ends]
        deadline = time.monotonic() + _FLUSH_SECONDS
        for thread in flushing:
            thread.start()
        for thread in flushing:
            thread.join(max(deadline - time.monotonic(), 0))


def exports_metrics(settings: Settings) -> bool:
    """Return whether this process exports metrics. Raises CannotRunError."""
    return bool(settings.metrics_port or exporter("METRICS"))


def exporter(signal: str) -> str | None:
    """Return where TRACES or METRICS (`signal`) go: `otlp`, `console`, or None for nowhere. Raises CannotRunError."""
    if _variable("OTEL_SDK_DISABLED").lower() == "true":
        return None
    chosen = _variable(f"OTEL_{signal}_EXPORTER").lower()
    if chosen not in ("", "otlp", "console", "none"):
        raise CannotRunError(f"OTEL_{signal}_EXPORTER must be otlp, console or none.")
    if chosen == "console":
        return chosen
    if chosen == "none" or not endpoint(signal):
        return None
    protocol = _variable(f"{_OTLP}_{signal}_PROTOCOL") or _variable(f"{_OTLP}_PROTOCOL")
    if protocol not in ("", "http/protobuf"):
        raise CannotRunError(f"{_OTLP}_PROTOCOL must be http/protobuf.")
    return "otlp"


def endpoint(signal: str) -> str | None:
    """Return the collector's URL for TRACES or METRICS, or None."""
    base = _variable(f"{_OTLP}_ENDPOINT")
    return _variable(f"{_OTLP}_{signal}_ENDPOINT") or (f"{base.rstrip('/')}/v1/{signal.lower()}" if base else None)


def interceptors() -> Sequence[Interceptor]:
    """Return the interceptors of a Temporal client: those for tracing, if it is on."""
    if not exporter("TRACES"):
        return ()
    from webhooks.telemetry.temporal_interceptor import Interceptor as Tracing

    return (Tracing(),)


def runtime(settings: Settings) -> Runtime:
    """Return the runtime of Temporal's SDK. The SDK exports its own metrics from Rust, outside our event loop. It can
    serve metrics to Prometheus or send them to a collector, but not both; Prometheus comes first. Raises
    CannotRunError."""
    target: PrometheusConfig | OpenTelemetryConfig | None = None
    if settings.temporal_metrics_port:
        target = PrometheusConfig(
            bind_address=_address(settings.host, settings.temporal_metrics_port),
            counters_total_suffix=True,
            unit_suffix=True,
            durations_as_seconds=True,
        )
    elif exporter("METRICS") == "otlp":
        target = OpenTelemetryConfig(
            url=endpoint("METRICS") or "", headers=_headers(), http=True, durations_as_seconds=True,
            metric_periodicity=timedelta(milliseconds=int(_variable("OTEL_METRIC_EXPORT_INTERVAL") or 60_000)),
        )  # fmt: skip
    log = LoggingConfig(
        filter=TelemetryFilter(core_level="WARN", other_level="ERROR"),
        # To our log, so that its lines have the same shape as all others.
        forwarding=LogForwardingConfig(
            logger=logging.getLogger("temporalio"), append_target_to_name=False, prepend_target_on_message=False
        ),
    )
    try:
        return Runtime(telemetry=RuntimeTelemetry(logging=log, metrics=target))
    except Exception as error:  # the SDK raises no narrower type
        if isinstance(target, PrometheusConfig):
            raise CannotRunError(
                f"Cannot serve the metrics of Temporal's SDK on {target.bind_address} ({_cause(error)}). Set "
                "WEBHOOKS_TEMPORAL_METRICS_PORT to a free port, and WEBHOOKS_HOST to an IP address of this machine."
            ) from None
        raise CannotRunError(
            f"Cannot send the metrics of Temporal's SDK ({_cause(error)}). Check OTEL_EXPORTER_OTLP_METRICS_ENDPOINT."
        ) from None


def _cause(error: Exception) -> str:
    """Return the last part of the SDK's message, without the number of the system's error."""
    return re.sub(r" \(os error \d+\)", "", str(error)).rsplit(": ", 1)[-1]


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _headers() -> Mapping[str, str]:
    from opentelemetry.util.re import parse_env_headers

    return parse_env_headers(_variable(f"{_OTLP}_METRICS_HEADERS") or _variable(f"{_OTLP}_HEADERS"), liberal=True)


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip()


def _resource() -> "Resource":
    """Return the name, version and instance of this process. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES override
    them."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    ours = {"service.name": traces.NAME, "service.version": VERSION, "service.instance.id": _instance()}
    return Resource.create(ours).merge(OTELResourceDetector().detect())


def _instance() -> str:
    return f"{os.uname().nodename}-{os.getpid()}"


def _traces() -> Callable[[], None]:
    """Start the export of traces. Return the function that ends it."""
    from opentelemetry import propagate, trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

    from webhooks.telemetry.span_processor import WithoutQuery

    propagate.set_global_textmap(traces.PROPAGATOR)
    provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
    provider.add_span_processor(WithoutQuery())
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter() if exporter("TRACES") == "otlp" else ConsoleSpanExporter())
    )
    trace.set_tracer_provider(provider)
    return provider.shutdown


def _metrics(settings: Settings) -> Callable[[], None]:
    """Start the export of metrics. Return the function that ends it. Raises CannotRunError."""
    from opentelemetry.metrics import set_meter_provider
    from opentelemetry.sdk.metrics import MeterProvider

    provider = MeterProvider(_readers(settings), resource=_resource(), shutdown_on_exit=False)
    set_meter_provider(provider)
    metrics.begin_at_zero()
    return provider.shutdown


def _readers(settings: Settings) -> "list[MetricReader]":
    """Return what exports metrics, and start the server for Prometheus. Raises CannotRunError."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
    from prometheus_client import start_http_server

    readers: list[MetricReader] = []
    if chosen := exporter("METRICS"):
        readers.append(
            PeriodicExportingMetricReader(OTLPMetricExporter() if chosen == "otlp" else ConsoleMetricExporter())
        )
    if settings.metrics_port is None:
        return readers
    try:
        start_http_server(settings.metrics_port, settings.host)  # runs in a thread that ends with the process
    except OSError as error:
        raise CannotRunError(
            f"Cannot listen on {settings.host}:{settings.metrics_port} ({error.strerror}). "
            "Set WEBHOOKS_METRICS_PORT to a free port."
        ) from None
    return [*readers, PrometheusMetricReader(scope_info_enabled=False)]
