"""What the standard OTEL_* variables mean."""

import socket

import pytest

from webhooks.errors import CannotRunError
from webhooks.settings import Settings
from webhooks.telemetry import setup

HERE = "http://127.0.0.1:4318"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SDK_DISABLED", "TRACES_EXPORTER", "EXPORTER_OTLP_ENDPOINT", "EXPORTER_OTLP_PROTOCOL"):
        monkeypatch.delenv(f"OTEL_{name}", raising=False)


@pytest.mark.parametrize(
    ("variables", "exporter", "endpoint"),
    [
        ({}, None, None),
        ({"EXPORTER_OTLP_ENDPOINT": ""}, None, None),
        ({"EXPORTER_OTLP_ENDPOINT": HERE}, "otlp", f"{HERE}/v1/traces"),
        ({"EXPORTER_OTLP_ENDPOINT": f"{HERE}/"}, "otlp", f"{HERE}/v1/traces"),
        ({"EXPORTER_OTLP_TRACES_ENDPOINT": f"{HERE}/t"}, "otlp", f"{HERE}/t"),
        ({"EXPORTER_OTLP_METRICS_ENDPOINT": f"{HERE}/m"}, None, None),
        ({"EXPORTER_OTLP_ENDPOINT": HERE, "SDK_DISABLED": "true"}, None, f"{HERE}/v1/traces"),
        ({"EXPORTER_OTLP_ENDPOINT": HERE, "TRACES_EXPORTER": "none"}, None, f"{HERE}/v1/traces"),
        ({"EXPORTER_OTLP_ENDPOINT": HERE, "EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "otlp", f"{HERE}/v1/traces"),
        ({"TRACES_EXPORTER": "otlp"}, None, None),
        ({"TRACES_EXPORTER": "console"}, "console", None),
    ],
)
def test_traces_are_on_where_there_is_somewhere_to_send_them(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], exporter: str | None, endpoint: str | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"OTEL_{name}", value)

    assert setup.exporter("TRACES") == exporter
    assert setup.endpoint("TRACES") == endpoint
    assert len(setup.interceptors()) == (exporter is not None)


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_TRACES_EXPORTER", "zipkin"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]
)
def test_what_is_not_spoken_is_said(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", HERE)
    monkeypatch.setenv(name, value)
    with pytest.raises(CannotRunError, match=name):
        setup.exporter("TRACES")


@pytest.mark.parametrize(("host", "reason"), [("127.0.0.1", "Address already in use"), ("nowhere.invalid", "invalid")])
def test_a_port_that_cannot_be_served_names_its_variable(host: str, reason: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = Settings(host=host, temporal_metrics_port=taken.getsockname()[1])
        with pytest.raises(CannotRunError, match="WEBHOOKS_TEMPORAL_METRICS_PORT") as caught:
            setup.runtime(settings)

    assert reason in str(caught.value)
    assert "os error" not in str(caught.value)
