"""Receivers behind a private authority that require a client certificate, from the API to the wire."""

from pathlib import Path

import trustme

from tests.support.tls_receiver import pem_of, server_context, tls_receiver
from webhooks.testing.platform_process import running


async def test_deliveries_and_tests_show_the_certificate_and_its_key_is_nowhere(tmp_path: Path) -> None:
    company, clients = trustme.CA(), trustme.CA()
    bundle = tmp_path / "company.pem"
    company.cert_pem.write_to_path(str(bundle))
    chain, key = pem_of(clients.issue_cert("client.test", organization_unit_name="first"))
    other_chain, other_key = pem_of(clients.issue_cert("client.test", organization_unit_name="second"))
    shown: list[object] = []
    with tls_receiver(server_context(company.issue_cert("127.0.0.1"), clients)) as receiver:
        async with running(tmp_path / "data", WEBHOOKS_CA_BUNDLE=str(bundle)) as platform:
            event = await platform.event(sample={})
            webhook = await platform.webhook(
                event,
                receiver.url,
                client_certificate={"certificate": chain, "private_key": key},
                retry_policy={"maximum_attempts": 1},
            )
            address = f"/v1/webhooks/{webhook['id']}"
            [tested] = (await platform.post(f"{address}/test"))["items"]
            delivered = await platform.wait(await platform.delivery(await platform.publish(event)), "delivered")
            second = {"client_certificate": {"certificate": other_chain, "private_key": other_key}}
            shown += [await platform.call("PATCH", address, second), await platform.get(address)]
            await platform.wait(await platform.delivery(await platform.publish(event)), "delivered")
            await platform.call("PATCH", address, {"client_certificate": None})
            failed = await platform.wait(await platform.delivery(await platform.publish(event)), "failed")
            shown += [webhook, tested, delivered, failed, platform.log]
    files = [path.read_bytes().decode("latin-1") for path in (tmp_path / "data").iterdir() if path.is_file()]

    assert tested["outcome"] == "delivered"
    assert receiver.shown == ["first", "first", "second"]
    [attempt] = failed["attempts"]
    assert attempt["outcome"] == "tls_error"
    assert attempt["error"].startswith("the receiver asked for a client certificate")
    for line in (key + other_key).splitlines():
        assert line.startswith("-----") or not any(line in str(text) for text in [*shown, *files])


async def test_names_of_headers_are_sent_as_they_were_configured(tmp_path: Path) -> None:
    company = trustme.CA()
    bundle = tmp_path / "company.pem"
    company.cert_pem.write_to_path(str(bundle))
    long = "x" * 8_192
    with tls_receiver(server_context(company.issue_cert("127.0.0.1"))) as receiver:
        async with running(tmp_path / "data", WEBHOOKS_CA_BUNDLE=str(bundle)) as platform:
            event = await platform.event()
            await platform.webhook(
                event,
                receiver.url,
                headers={"X-Api-Key": "secret", "SOAPAction": "urn:send", "Accept": "application/json", "x-long": long},
                authentication={"type": "Key Value Pair", "name": "X-CorpID", "value": long},
            )
            await platform.wait(await platform.delivery(await platform.publish(event)), "delivered")
    lines = receiver.requests[0].split(b"\r\n\r\n")[0].decode().split("\r\n")[1:]

    assert {"X-Api-Key: secret", "SOAPAction: urn:send", f"x-long: {long}", f"X-CorpID: {long}"} <= set(lines)
    assert [line for line in lines if line.lower().startswith("accept:")] == ["Accept: application/json"]
