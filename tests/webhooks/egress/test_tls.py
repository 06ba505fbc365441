"""TLS to receivers: private authorities, client certificates, and what the error of each failure says."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from tests.support.sockets import LOOPBACK, OK, Script, answering, serving, silence
from tests.support.tls_receiver import pem_of, server_context, tls_receiver
from webhooks import outcomes
from webhooks.egress import tls
from webhooks.egress.client import Answer, Egress
from webhooks.egress.tls import ClientCertificate
from webhooks.errors import CannotRunError

YESTERDAY = datetime.now(UTC) - timedelta(days=1)


@dataclass
class Authorities:
    company: trustme.CA
    """Trusted by the platform; issues the receivers' certificates."""
    clients: trustme.CA
    """Trusted by receivers that require client certificates."""
    bundle: Path


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Authorities:
    company = trustme.CA()
    bundle = tmp_path_factory.mktemp("tls") / "company.pem"
    company.cert_pem.write_to_path(str(bundle))
    return Authorities(company, trustme.CA(), bundle)


@pytest.fixture(scope="module")
async def egress(authorities: Authorities) -> AsyncIterator[Egress]:
    egress = Egress(LOOPBACK, ca_bundle=authorities.bundle)
    yield egress
    await egress.close()


async def send(egress: Egress, url: str, certificate: ClientCertificate | None = None, body: bytes = b"{}") -> Answer:
    return await egress.send("acme", "POST", url, {}, body, 10, certificate=certificate)


def client(authority: trustme.CA, unit: str = "webhooks", not_after: datetime | None = None) -> ClientCertificate:
    chain, key = pem_of(authority.issue_cert("client.test", organization_unit_name=unit, not_after=not_after))
    return ClientCertificate(chain, key)


async def test_an_authority_of_the_bundle_is_trusted_and_the_public_ones_still_are(
    egress: Egress, authorities: Authorities
) -> None:
    with tls_receiver(server_context(authorities.company.issue_cert("127.0.0.1"))) as receiver:
        assert (await send(egress, receiver.url)).outcome == outcomes.DELIVERED

    assert len((await tls.Contexts(authorities.bundle).get(None)).get_ca_certs()) > 50


async def test_without_the_bundle_its_authority_is_not_trusted(authorities: Authorities) -> None:
    egress = Egress(LOOPBACK)
    with tls_receiver(server_context(authorities.company.issue_cert("127.0.0.1"))) as receiver:
        answer = await send(egress, receiver.url)
    await egress.close()

    assert (answer.outcome, receiver.requests) == (outcomes.TLS_ERROR, [])
    assert answer.error is not None
    assert answer.error.startswith("certificate not accepted: ")


@pytest.mark.parametrize("kind", ["intermediate", "the receiver's own"])
async def test_a_bundle_may_hold_a_certificate_that_is_no_root(tmp_path: Path, kind: str) -> None:
    root = trustme.CA()
    intermediate = root.create_child_ca()
    leaf = intermediate.issue_cert("127.0.0.1")
    bundle = tmp_path / "bundle.pem"
    (intermediate.cert_pem if kind == "intermediate" else leaf.cert_chain_pems[0]).write_to_path(str(bundle))
    egress = Egress(LOOPBACK, ca_bundle=bundle)
    with tls_receiver(server_context(leaf)) as receiver:
        answer = await send(egress, receiver.url)
    await egress.close()

    assert answer.outcome == outcomes.DELIVERED


def test_a_bundle_may_hold_several_certificates_with_text_between_them(tmp_path: Path) -> None:
    one, two = trustme.CA().cert_pem.bytes(), trustme.CA().cert_pem.bytes().replace(b"\n", b"\r\n")
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(b"\xef\xbb\xbf# Zertifikate f\xfcr alle\n" + one + b"\n# two\n" + two + one)

    tls.Contexts(bundle)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "Cannot read WEBHOOKS_CA_BUNDLE .*: No such file"),
        (b"", "WEBHOOKS_CA_BUNDLE .* holds no certificate"),
        (b"\x30\x82\x01\x00\xff", "holds no certificate. It must hold PEM"),
        (trustme.CA().issue_cert("a").private_key_pem.bytes(), "holds no certificate"),
        (b"-----BEGIN CERTIFICATE-----\nabcd\n-----END CERTIFICATE-----\n", "Certificate 1 of .* cannot be read"),
        (
            trustme.CA().cert_pem.bytes() + b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
            "Certificate 2 of .* cannot be read",
        ),
    ],
    ids=["missing", "empty", "DER", "a key", "broken", "second broken"],
)
def test_a_bundle_without_usable_certificates_stops_the_start(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_bytes(content)
    with pytest.raises(CannotRunError, match=message):
        Egress(LOOPBACK, ca_bundle=bundle)


def test_a_bundle_that_is_a_folder_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(CannotRunError, match=r"Cannot read WEBHOOKS_CA_BUNDLE .*: Is a directory"):
        Egress(LOOPBACK, ca_bundle=tmp_path)


def old_tls(context: ssl.SSLContext) -> None:
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1


def only_tls_1_2(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2


def no_common_cipher(context: ssl.SSLContext) -> None:
    only_tls_1_2(context)
    context.set_ciphers("NULL-SHA256:@SECLEVEL=0")


async def test_an_old_tls_version_is_named(egress: Egress, authorities: Authorities) -> None:
    context = server_context(authorities.company.issue_cert("127.0.0.1"))
    with pytest.deprecated_call():
        old_tls(context)
    with tls_receiver(context) as receiver:
        answer = await send(egress, receiver.url)
    async with serving(answering(OK), context) as url:  # asyncio's server closes without an alert
        silent = await send(egress, url)

    assert answer.outcome == silent.outcome == outcomes.TLS_ERROR
    assert answer.error == (
        "TLS handshake failed: the receiver speaks only an old version of TLS; TLS 1.2 or newer is required"
    )
    assert silent.error is not None
    assert silent.error.startswith("the receiver closed the connection at the start of the TLS handshake")
    assert "TLS 1.2" in silent.error


async def test_no_common_cipher_is_named(egress: Egress, authorities: Authorities) -> None:
    context = server_context(authorities.company.issue_cert("127.0.0.1"))
    no_common_cipher(context)
    with tls_receiver(context) as receiver:
        answer = await send(egress, receiver.url)

    assert answer == Answer(
        outcomes.TLS_ERROR, error="TLS handshake failed: the receiver accepts none of our TLS versions and ciphers"
    )


async def test_a_port_without_tls_is_named(egress: Egress) -> None:
    async def hang_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(65_536)

    async with serving(hang_up) as url:
        closing = await send(egress, url.replace("http:", "https:"))

    async def greeting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n")
        await writer.drain()
        await silence(reader, writer)

    async with serving(greeting) as url:
        speaking = await send(egress, url.replace("http:", "https:"))

    assert speaking == Answer(
        outcomes.TLS_ERROR, error="TLS handshake failed: the receiver does not speak TLS on this port"
    )
    assert closing.outcome == outcomes.TLS_ERROR
    assert "may not speak TLS on this port" in (closing.error or "")


@pytest.mark.parametrize(
    ("issue", "error"),
    [
        (lambda ca: ca.issue_cert("127.0.0.1", not_after=YESTERDAY), "certificate has expired"),
        (lambda ca: ca.issue_cert("other.test"), "IP address mismatch, certificate is not valid for '127.0.0.1'."),
        (lambda _: trustme.CA().issue_cert("127.0.0.1"), "unable to get local issuer certificate"),
    ],
    ids=["expired", "of another host", "of an unknown authority"],
)
async def test_what_is_wrong_with_the_receiver_s_certificate_is_named(
    egress: Egress, authorities: Authorities, issue: Callable[[trustme.CA], trustme.LeafCert], error: str
) -> None:
    with tls_receiver(server_context(issue(authorities.company))) as receiver:
        answer = await send(egress, receiver.url)

    assert answer == Answer(outcomes.TLS_ERROR, error=f"certificate not accepted: {error}")
    assert receiver.requests == []


VERSIONS = pytest.mark.parametrize("limit", [None, only_tls_1_2], ids=["TLS 1.3", "TLS 1.2"])


@VERSIONS
async def test_a_client_certificate_is_shown_with_its_chain(
    egress: Egress, authorities: Authorities, limit: Callable[[ssl.SSLContext], None] | None
) -> None:
    context = server_context(authorities.company.issue_cert("127.0.0.1"), authorities.clients)
    if limit:
        limit(context)
    with tls_receiver(context) as receiver:
        answer = await send(egress, receiver.url, client(authorities.clients.create_child_ca(), "through a child"))

    assert answer.outcome == outcomes.DELIVERED
    assert receiver.shown == ["through a child"]


@contextlib.asynccontextmanager
async def requiring(context: ssl.SSLContext, *, alerts: bool, script: Script = answering(OK)) -> AsyncIterator[str]:
    """A receiver that says why it closes a connection, or not."""
    if alerts:
        with tls_receiver(context) as receiver:
            yield receiver.url
    else:
        async with serving(script, context) as url:
            yield url


@VERSIONS
@pytest.mark.parametrize("alerts", [True, False], ids=["with an alert", "silent"])
@pytest.mark.parametrize("size", [2, 500_000])
async def test_a_receiver_that_asks_for_a_certificate_is_named(
    egress: Egress,
    authorities: Authorities,
    limit: Callable[[ssl.SSLContext], None] | None,
    alerts: bool,
    size: int,
) -> None:
    context = server_context(authorities.company.issue_cert("127.0.0.1"), authorities.clients)
    if limit:
        limit(context)
    async with requiring(context, alerts=alerts) as url:
        answer = await send(egress, url, body=b"x" * size)

    assert answer.outcome == outcomes.TLS_ERROR
    assert answer.error in (
        "the receiver asked for a client certificate and got none: it requires one",
        "the receiver asked for a client certificate and got none: handshake failure",
        "the receiver asked for a client certificate, got none, and closed the connection",
    )


@VERSIONS
@pytest.mark.parametrize("alerts", [True, False], ids=["with an alert", "silent"])
@pytest.mark.parametrize("kind", ["expired", "unknown"])
async def test_a_receiver_that_refuses_our_certificate_is_named(
    egress: Egress,
    authorities: Authorities,
    limit: Callable[[ssl.SSLContext], None] | None,
    alerts: bool,
    kind: str,
) -> None:
    context = server_context(authorities.company.issue_cert("127.0.0.1"), authorities.clients)
    if limit:
        limit(context)
    expired = client(authorities.clients, not_after=YESTERDAY)
    async with requiring(context, alerts=alerts) as url:
        answer = await send(egress, url, expired if kind == "expired" else client(trustme.CA()))

    assert answer.outcome == outcomes.TLS_ERROR
    refused = "the receiver refused the webhook's client certificate: "
    assert answer.error in (
        refused + ("certificate expired" if kind == "expired" else "unknown certificate authority"),
        "the receiver asked for a client certificate, got the webhook's, and closed the connection",
    )


async def test_a_reset_that_has_nothing_to_do_with_tls_is_still_a_reset(
    egress: Egress, authorities: Authorities
) -> None:
    async def abort(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.transport.abort()

    async with serving(abort, server_context(authorities.company.issue_cert("127.0.0.1"))) as url:
        answer = await send(egress, url)

    assert answer.outcome in (outcomes.CONNECTION_RESET, outcomes.PROTOCOL_ERROR)
    assert "certificate" not in (answer.error or "")


async def test_connections_are_shared_by_the_same_certificate_only(egress: Egress, authorities: Authorities) -> None:
    context = server_context(authorities.company.issue_cert("127.0.0.1"), authorities.clients)
    context.verify_mode = ssl.CERT_OPTIONAL
    one, two = client(authorities.clients, "one"), client(authorities.clients, "two")
    with tls_receiver(context) as receiver:
        for certificate in (one, two, None, ClientCertificate(one.chain, one.key), two, None):
            assert (await send(egress, receiver.url, certificate)).outcome == outcomes.DELIVERED

    assert receiver.shown == ["one", "two", "", "one", "two", ""]
    assert receiver.connections == [1, 2, 3, 1, 2, 3]


async def test_a_certificate_that_tls_cannot_load_fails_the_attempt(egress: Egress, authorities: Authorities) -> None:
    one, two = client(authorities.clients), client(authorities.clients)
    with tls_receiver(server_context(authorities.company.issue_cert("127.0.0.1"))) as receiver:
        answer = await send(egress, receiver.url, ClientCertificate(one.chain, two.key))

    assert answer == Answer(outcomes.TLS_ERROR, error="client certificate: TLS cannot use it: key values mismatch")
    assert receiver.requests == []


def test_the_key_shows_in_no_representation(authorities: Authorities) -> None:
    certificate = client(authorities.clients)

    assert repr(certificate) == "ClientCertificate()"
