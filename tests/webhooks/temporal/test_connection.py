"""What an operator reads when there is no connection to Temporal."""

import asyncio
import logging

import pytest

from tests.support.decrypting import KeysInMemory
from webhooks.settings import Settings
from webhooks.temporal import connection
from webhooks.temporal.namespace import NotReadyError
from webhooks.testing.platform_process import free_port, until


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:{port}", "connection refused"),
        ("temporal.invalid:7233", "its host name does not resolve"),
    ],
)
async def test_the_reason_is_told_in_plain_words(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, address: str, reason: str
) -> None:
    monkeypatch.setattr(connection, "_WARN_AFTER_PAUSE_SECONDS", 0)
    address = address.format(port=free_port())
    connecting = asyncio.create_task(connection.connect(Settings(temporal_address=address), KeysInMemory()))

    async def warned() -> bool:
        return bool(caplog.records)

    await until(warned, timeout=30, what="a warning")
    connecting.cancel()
    record = caplog.records[0]

    assert record.levelno == logging.WARNING
    assert record.getMessage() == (f"Temporal at {address} does not answer yet: {reason}; is TEMPORAL_ADDRESS right?")


async def test_what_is_no_address_ends_the_process() -> None:
    with pytest.raises(NotReadyError, match="TEMPORAL_ADDRESS localhost:abc: "):
        await connection.connect(Settings(temporal_address="localhost:abc"), KeysInMemory())


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            "Error(Transport, Custom { kind: InvalidData, error: InvalidCertificate(UnknownIssuer) })",
            "the TLS handshake",
        ),
        ("something new", "no connection"),
    ],
)
def test_no_reason_is_told_in_rust(error: str, reason: str) -> None:
    assert connection._why_no_connection(RuntimeError(error)).startswith(reason)
