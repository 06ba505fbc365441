"""Receivers behind a private authority that require a client certificate, from the API to the wire."""

from collections.abc import AsyncIterator

import pytest
import trustme

from tests.support.tls_receiver import pem_of, server_context, tls_receiver
from webhooks.testing.platform_process import PlatformProcess, running


@pytest.fixture(scope="module")
def company() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
async def trusting(company: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PlatformProcess]:
    """A platform that trusts the company's authority."""
    folder = tmp_path_factory.mktemp("trusting")
    bundle = folder / "company.pem"
    company.cert_pem.write_to_path(str(bundle))
    async with running(folder / "data", WEBHOOKS_CA_BUNDLE=str(bundle)) as platform:
        yield platform


@pytest.mark.thorough
async def test_deliveries_and_tests_show_the_certificate_and_its_key_is_nowhere(
    company: trustme.CA, trusting: PlatformProcess
) -> None:
    clients = trustme.CA()
    chain, key = pem_of(clients.issue_cert("client.test", organization_unit_name="first"))
    other_chain, other_key = pem_of(clients.issue_cert("client.test", organization_unit_name="second"))
    shown: list[object] = []
    with tls_receiver(server_context(company.issue_cert("127.0.0.1"), clients)) as receiver:
        event = await trusting.event(sample={})
        webhook = await trusting.webhook(
            event,
            receiver.url,
            client_certificate={"certificate": chain, "private_key": key},
            retry_policy={"maximum_attempts": 1},
        )
        address = f"/v1/webhooks/{webhook['id']}"
        [tested] = (await trusting.post(f"{address}/test"))["items"]
        delivered = await trusting.wait(await trusting.delivery(await trusting.publish(event)), "delivered")
        second = {"client_certificate": {"certificate": other_chain, "private_key": other_key}}
        shown += [await trusting.call("PATCH", address, second), await trusting.get(address)]
        await trusting.wait(await trusting.delivery(await trusting.publish(event)), "delivered")
        await trusting.call("PATCH", address, {"client_certificate": None})
        failed = await trusting.wait(await trusting.delivery(await trusting.publish(event)), "failed")
        shown += [webhook, tested, delivered, failed, trusting.log]
    files = [path.read_bytes().decode("latin-1") for path in trusting.data_dir.iterdir() if path.is_file()]

    assert tested["outcome"] == "delivered"
    assert receiver.shown == ["first", "first", "second"]
    [attempt] = failed["attempts"]
    assert attempt["outcome"] == "tls_error"
    assert attempt["error"].startswith("the receiver asked for a client certificate")
    for line in (key + other_key).splitlines():
        assert line.startswith("-----") or not any(line in str(text) for text in [*shown, *files])


@pytest.mark.thorough
async def test_names_of_headers_are_sent_as_they_were_configured(
    company: trustme.CA, trusting: PlatformProcess
) -> None:
    long = "x" * 8_192
    with tls_receiver(server_context(company.issue_cert("127.0.0.1"))) as receiver:
        event = await trusting.event()
        await trusting.webhook(
            event,
            receiver.url,
            headers={"X-Api-Key": "secret", "SOAPAction": "urn:send", "Accept": "application/json", "x-long": long},
            authentication={"type": "Key Value Pair", "name": "X-CorpID", "value": long},
        )
        await trusting.wait(await trusting.delivery(await trusting.publish(event)), "delivered")
    lines = receiver.requests[0].split(b"\r\n\r\n")[0].decode().split("\r\n")[1:]

    assert {"X-Api-Key: secret", "SOAPAction: urn:send", f"x-long: {long}", f"X-CorpID: {long}"} <= set(lines)
    assert [line for line in lines if line.lower().startswith("accept:")] == ["Accept: application/json"]
