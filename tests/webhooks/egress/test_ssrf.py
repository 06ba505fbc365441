"""Where no request may go, however it is written: when a URL is configured, when a delivery is sent, when a token is
asked for. Nothing of this machine or its networks is named by the operator here, unless a test says so."""

import socket
from collections.abc import AsyncIterator

import aiohappyeyeballs
import pytest

from tests.support.name_server import NameServer
from tests.support.sockets import LOOPBACK, connections, listening, port_of, watching_connects
from webhooks import outcomes
from webhooks.credentials.authentication import ClientCredentials
from webhooks.egress.client import Answer, Egress
from webhooks.sending.oauth_tokens import NoTokenError, Tokens
from webhooks.settings import parse_networks
from webhooks.testing.receiver import Receiver

NAMES = {
    "metadata.google.internal": ["169.254.169.254"],
    "private.test": ["10.0.0.1"],
    "private6.test": ["fd00::1"],
    "mapped.test": ["::ffff:127.0.0.1"],
    "inside2.test": ["192.168.1.1", "fd00::1"],
    "inside.test": ["192.168.1.1"],
}
REFUSED = {
    "address not allowed": """
        http://127.0.0.1/ http://127.1/ http://2130706433/ http://017700000001/ http://0x7f000001/ http://0x7f.1/
        http://127.0.0.1./ http://127。0。0。1/ http://localhost/ http://LOCALHOST./
        http://127.0.0.1:8443/x http://api.localhost/ http://1.1/ http://example.com.1/
        http://0/ http://0.0.0.0/ http://[::]/ http://[::1]/ http://[::ffff:127.0.0.1]/ http://[::ffff:7f00:1]/
        http://[0:0:0:0:0:ffff:a9fe:a9fe]/ http://[::127.0.0.1]/ http://[::ffff:0:127.0.0.1]/ http://[64:ff9b::7f00:1]/
        http://[64:ff9b::a9fe:a9fe]/ http://[64:ff9b:1::a00:1]/ http://[2002:7f00:1::]/ http://[2002:a9fe:a9fe::]/
        http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/ http://[fc00::1]/ http://[fd00:ec2::254]/ http://[fd20:ce::254]/
        http://[fec0::1]/ http://[ff02::1]/ http://[fe80::1]/ http://[2001:db8::1]/ http://[3fff::1]/ http://[5f00::1]/
        http://[100::1]/ http://10.0.0.1/ http://172.16.0.1/ http://172.31.255.255/ http://192.168.1.1/
        http://169.254.169.254/latest/meta-data/ http://169.254.170.2/v2/credentials http://100.100.100.200/
        http://100.64.0.1/ http://192.0.0.192/opc/v2/ http://168.63.129.16/ http://198.18.0.1/ http://192.0.2.1/
        http://203.0.113.1/ http://224.0.0.1/ http://240.0.0.1/ http://255.255.255.255/ http://192.88.99.1/
        http://metadata.google.internal/ http://private.test/ http://private6.test/ http://mapped.test/
        http://inside2.test/ http://outside.test/ http://PRIVATE.test./ http://private.test。/
        """,
    "credentials": """
        http://example.com@127.0.0.1/ http://1.1.1.1&@127.0.0.1#@2.2.2.2/ http://example.com:443@127.0.0.1/
        http://user:pass@example.com/ http://user@1.1.1.1/ http://:pass@1.1.1.1/ http://:@1.1.1.1/ http://@1.1.1.1/
        """,
    "not an absolute https URL": """
        http:///127.0.0.1/ http:127.0.0.1/ //127.0.0.1/ ///1.1.1.1/ ftp://1.1.1.1/ file:///etc/passwd gopher://1.1.1.1/
        unix:/var/run/docker.sock javascript:alert(1) ws://1.1.1.1/ http:1.1.1.1 http:/1.1.1.1/ http:// http:///
        http://:443/ 1.1.1.1 example.com/hook /hook http://1.1.1.1:abc/ http://[::1 http://256.1.1.1.1.1.1:x/
        http://1.1.1.1:-1/ http://1.1.1.1:+443/ http://1.1.1.1:4_43/ http://h%00.example.com/ http://a..b/ http://.a/
        http://[fe80::1%25eth0]/ http://[fe80::1%lo]/ http://[fd00:ec2::254%1]/
        """,
    "port not allowed": """
        http://1.1.1.1:0/ http://1.1.1.1:22/ http://1.1.1.1:25/ http://1.1.1.1:6379/ http://1.1.1.1:10080/
        http://1.1.1.1:022/ http://1.1.1.1:65536/ http://1.1.1.1:99999/
        """,
    "fragment": "http://1.1.1.1/# http://1.1.1.1/#x http://1.1.1.1#x http://1.1.1.1/?a=b#c",
    "not a host name": f"http://{'a' * 64}.test/ http://{'a.' * 150}test/",
    "not a URL": """
        http://0177.0.0.1/ http://256.1.1.1/ http://[1.1.1.1]/ http://xn--/ http://xn--a/ http://xn--zz--a.com/
        http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/ http://①②⑦.⓪.⓪.①/
        http://\uff11\uff12\uff17.\uff10.\uff10.\uff11/ http://127.0.0.1\\@example.com/ http://1.1.1.1/\\x
        http://1.1.1.1/\0 http://1.1.1.1/\x7f http://1.1.1.1/\u202e
        """,
}
SPACED = ["", " ", " https://1.1.1.1/", "https://1.1.1.1/ ", "https://1.1.1.1/a b", "https://1.1.1.1/\r\nhost: x",
          "https://1.1.1.1/\ta"]  # fmt: skip
TABLE = [(url, reason) for reason, urls in REFUSED.items() for url in urls.split()]
TABLE += [(f"https{url[4:]}", reason) for url, reason in TABLE if url.startswith("http:")]
TABLE += [(url, "not a") for url in SPACED]


@pytest.fixture(scope="module")
async def names() -> AsyncIterator[NameServer]:
    async with NameServer().serving() as names:
        for name, addresses in NAMES.items():
            names.tell(name, addresses)
        names.alias("outside.test", "inside.test")
        yield names


@pytest.fixture(scope="module")
async def egress(names: NameServer) -> AsyncIterator[Egress]:
    egress = Egress((), resolver=names.resolver())
    yield egress
    await egress.close()


async def send(egress: Egress, url: str, *, timeout: float = 10) -> Answer:
    return await egress.send("acme", "POST", url, {}, b"{}", timeout)


async def ask_for_token(egress: Egress, url: str) -> NoTokenError:
    authentication = ClientCredentials.model_construct(
        type="OAuth 2.0 Client Credentials", token_url=url, client_id="id", client_secret="secret"
    )
    with pytest.raises(NoTokenError) as caught:
        await Tokens(egress).get("acme", "webhook", authentication)
    return caught.value


@pytest.mark.parametrize(("url", "reason"), TABLE, ids=lambda value: repr(value)[1:50])
async def test_it_is_refused_at_each_time_and_before_anything_is_connected(
    egress: Egress, url: str, reason: str
) -> None:
    with watching_connects() as connects:
        configured = await egress.check_url("acme", url)
        answer = await send(egress, url)
        token = await ask_for_token(egress, url or "?")

    assert configured
    assert reason in configured
    assert (answer.outcome, answer.status_code) == (outcomes.ADDRESS_NOT_ALLOWED, None)
    assert answer.error == configured
    assert (token.outcome, str(token)) == (outcomes.ADDRESS_NOT_ALLOWED, f"the token endpoint: {configured}") or not url
    assert connects == []


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("https://1.1.1.1/a b", "character 18 is U+0020 (SPACE), which is not allowed here"),
        ("https://1.1.1.1\\", "character 16 is U+005C (REVERSE SOLIDUS), which is not allowed here"),
        ("https://1.1.1.1/\u200b", "character 17 is U+200B (ZERO WIDTH SPACE), which is not allowed here"),
    ],
)
async def test_a_character_that_no_url_has_is_named(egress: Egress, url: str, detail: str) -> None:
    assert await egress.check_url("acme", url) == f"not a URL: {detail}"


@pytest.mark.parametrize("url", ["http://1.1.1.1/", "http://[2606:4700::1111]/", "http://nowhere.test/"])
async def test_without_tls_nothing_public_is_reached(egress: Egress, url: str) -> None:
    with watching_connects() as connects:
        problem = await egress.check_url("acme", url)
        answer = await send(egress, url)
        token = await ask_for_token(egress, url)

    if "nowhere" in url:
        assert problem is not None
        assert problem.startswith("the host name does not resolve; http is allowed only")
        assert (answer.outcome, token.outcome) == (outcomes.DNS_ERROR, outcomes.OAUTH_FAILED)
    else:
        assert (answer.outcome, token.outcome) == (outcomes.ADDRESS_NOT_ALLOWED,) * 2
        assert answer.error == problem == "https is required"
    assert connects == []


async def test_with_leave_the_same_machinery_sees_a_connection(names: NameServer) -> None:
    """The tests above would otherwise pass with a watch that sees nothing."""
    egress = Egress(LOOPBACK, resolver=names.resolver())
    with listening() as server, watching_connects() as connects:
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
            answer = await send(egress, f"http://{host}:{port_of(server)}/", timeout=0.3)
            assert answer.outcome == outcomes.TIMEOUT
        assert connections(server) == 3
    await egress.close()

    assert len(connects) >= 3


@pytest.mark.parametrize(
    "url",
    [
        "https://1.1.1.1", "https://1.1.1.1/", "HTTPS://1.1.1.1/", "https://1.1.1.1:8443/a/b?c=d&e=%20",
        "https://1.1.1.1:65535/", "https://[2606:4700::1111]:8443/", "https://[::ffff:1.1.1.1]/", "https://1.1.1.1/{x}",
        "https://1.1.1.1/ü", "https://1.1.1.1/@", "https://1.1.1.1/" + "a" * 2_032, "https://1.1.1.1./",
        "https://nowhere.test/",  # it may resolve by the time of the first delivery
    ],
)  # fmt: skip
async def test_public_https_is_accepted(egress: Egress, url: str) -> None:
    assert await egress.check_url("acme", url) is None


async def test_a_url_that_is_too_long_is_refused(egress: Egress) -> None:
    assert "longer than 2048" in str(await egress.check_url("acme", "https://1.1.1.1/" + "a" * 2_033))


@pytest.mark.parametrize(
    ("url", "allowed", "expected"),
    [
        ("http://127.0.0.1:8080/", "127.0.0.0/8", None),
        ("https://127.0.0.1/", "127.0.0.0/8", None),
        ("http://127.1/", "127.0.0.1", "address not allowed"),
        ("http://[::1]/", "::1", None),
        ("http://[::ffff:127.0.0.1]/", "127.0.0.0/8", None),
        ("http://localhost/", "127.0.0.0/8 ::1", None),
        ("http://1.1.1.1/", "1.1.1.0/24", None),
        ("http://10.0.0.1/", "127.0.0.0/8", "address not allowed"),
        ("http://[::1]/", "127.0.0.0/8", "address not allowed"),
        ("http://169.254.169.254/", "169.254.0.0/16", "address not allowed"),
        ("http://169.254.169.254/", "169.254.169.254", None),
        ("http://127.0.0.1:22/", "127.0.0.0/8", "port not allowed"),
    ],
)
async def test_the_operator_s_networks_are_allowed_also_by_http(
    names: NameServer, url: str, allowed: str, expected: str | None
) -> None:
    egress = Egress(parse_networks(allowed), resolver=names.resolver())

    assert await egress.check_url("acme", url) == expected
    await egress.close()


@pytest.mark.parametrize(
    ("addresses", "scheme", "expected"),
    [
        (["1.1.1.1", "2606:4700::1111"], "https", None),
        (["1.1.1.1", "2606:4700::1111"], "http", "https is required"),
        (["1.1.1.1", "10.0.0.1"], "https", None),
        (["1.1.1.1", "10.0.0.1"], "http", "https is required"),
        (["127.0.0.1", "1.1.1.1"], "https", None),
        (["127.0.0.1", "1.1.1.1"], "http", None),
        (["127.0.0.1", "::1"], "http", None),
        (["fd00::1", "10.0.0.1"], "https", "address not allowed"),
        (["fd00::1", "10.0.0.1"], "http", "address not allowed"),
        (["127.0.0.1", "169.254.169.254"], "http", None),
    ],
)
async def test_a_name_is_refused_if_none_of_its_addresses_is_allowed(
    names: NameServer, addresses: list[str], scheme: str, expected: str | None
) -> None:
    names.tell("several.test", addresses)
    egress = Egress(parse_networks("127.0.0.0/8"), resolver=names.resolver())

    assert await egress.check_url("acme", f"{scheme}://several.test/") == expected
    await egress.close()


@pytest.mark.parametrize("others", ["10.0.0.1", "::1", "fd00::1 169.254.169.254 192.168.1.1", "1.1.1.1"])
async def test_only_the_allowed_addresses_of_a_name_are_connected_to(names: NameServer, others: str) -> None:
    """`1.1.1.1` is public, but plain http goes to the operator's networks only."""
    names.tell("several.test", [*others.split(), "127.0.0.1"])
    egress = Egress(parse_networks("127.0.0.0/8"), resolver=names.resolver())
    with socket.socket() as bound, watching_connects() as connects:
        bound.bind(("127.0.0.1", 0))  # and not listening: every address that may be tried is tried
        answer = await send(egress, f"http://several.test:{port_of(bound)}/")
        await egress.close()
        assert answer == Answer(outcomes.CONNECTION_REFUSED, error="connection refused")
        assert connects == [("127.0.0.1", port_of(bound))]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "LocalHost.", "localhost。"])
async def test_localhost_is_reached_where_the_operator_allows_ipv4_only(
    names: NameServer, receiver: Receiver, path: str, host: str
) -> None:
    egress = Egress(parse_networks("127.0.0.0/8"), resolver=names.resolver())
    url = f"http://{host}:{receiver.port}{path}"

    assert await egress.check_url("acme", url) is None
    assert (await send(egress, url)).outcome == "delivered"
    await egress.close()
    assert receiver.got(path)[0].headers["host"] == f"localhost:{receiver.port}"


@pytest.mark.parametrize(
    ("addresses", "networks"),
    [
        (["10.0.0.1", "fd00::1"], {"10.0.0.1/32", "fd00::1/128"}),
        (["::ffff:10.0.0.1"], {"10.0.0.1/32"}),
        (["169.254.169.254"], {"169.254.169.254/32"}),
    ],
)
async def test_the_operator_s_log_says_which_network_is_missing_and_the_tenant_is_not_told(
    names: NameServer, caplog: pytest.LogCaptureFixture, addresses: list[str], networks: set[str]
) -> None:
    names.tell("several.test", addresses)
    egress = Egress(LOOPBACK, resolver=names.resolver())

    assert await egress.check_url("acme", "https://several.test/") == "address not allowed"
    assert (await send(egress, "https://several.test/")).error == "address not allowed"
    await egress.close()
    [message, _] = [record.getMessage() for record in caplog.records if record.name == "webhooks.egress.guard"]
    named = message.removeprefix("refused to connect to several.test: WEBHOOKS_EGRESS_ALLOW does not allow ")
    assert set(named.split(", ")) == networks
    allowing = Egress(parse_networks(" ".join(networks)), resolver=names.resolver())
    assert await allowing.check_url("acme", "http://several.test/") is None
    await allowing.close()


async def test_a_name_that_moves_inside_after_it_was_configured_is_not_followed(
    egress: Egress, names: NameServer
) -> None:
    """DNS rebinding: public when the URL is configured, loopback when it is sent to."""
    with listening() as server, watching_connects() as connects:
        names.tell("rebinding.test", ["1.1.1.1"], ["127.0.0.1"])
        url = f"https://rebinding.test:{port_of(server)}/"
        assert await egress.check_url("acme", url) is None
        assert (await send(egress, url)).outcome == outcomes.ADDRESS_NOT_ALLOWED
        assert connections(server) == 0

    assert connects == []


async def test_a_connection_takes_one_lookup_and_a_kept_one_none(
    names: NameServer, receiver: Receiver, path: str
) -> None:
    """A second lookup would find another address: a kept connection goes on to the one that was judged, and a new one
    is refused."""
    egress = Egress(LOOPBACK, resolver=names.resolver())
    names.tell("kept.test", ["127.0.0.1"], ["10.0.0.1"])
    url = f"http://kept.test:{receiver.port}{path}"
    kept = [await send(egress, url) for _ in range(3)]
    assert names.asked["kept.test"] == 1
    new = await egress.send("other", "POST", url, {}, b"{}", 10)
    await egress.close()

    assert [answer.outcome for answer in kept] == ["delivered"] * 3
    assert new.outcome == outcomes.ADDRESS_NOT_ALLOWED
    assert names.asked["kept.test"] == 2
    assert receiver.got(path)[0].headers["host"] == f"kept.test:{receiver.port}"


@pytest.mark.parametrize("host", ["nowhere.test", "ü.test"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_name_that_does_not_resolve_is_a_dns_error(egress: Egress, scheme: str, host: str) -> None:
    expected = Answer(outcomes.DNS_ERROR, error="the host name does not resolve")

    assert await send(egress, f"{scheme}://{host}/") == expected


async def test_a_name_server_that_is_silent_is_a_dns_error_too(egress: Egress, names: NameServer) -> None:
    names.silent.add("silent.test")
    answer = await send(egress, "https://silent.test/")

    assert answer == Answer(outcomes.DNS_ERROR, error="the name server gave no answer in time")


def own_address() -> str:
    """An address of this machine that is not loopback."""
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


async def test_an_address_of_this_machine_is_refused_where_the_lists_would_let_it_pass(
    names: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server with a public address would reach its own services by it. Here the lists are emptied instead."""
    monkeypatch.setattr("webhooks.egress.addresses._DENIED_V4", [])
    monkeypatch.setattr("webhooks.egress.addresses._GLOBAL_V6", parse_networks("::/0")[0])
    names.tell("ours.test", [own_address()])
    egress = Egress((), resolver=names.resolver())
    with watching_connects() as connects:
        for host in (own_address(), "127.0.0.1", "[::ffff:127.0.0.1]", "ours.test"):
            url = f"https://{host}:8443/"
            assert await egress.check_url("acme", url) == "address not allowed"
            assert (await send(egress, url)).outcome == outcomes.ADDRESS_NOT_ALLOWED
        assert await egress.check_url("acme", "https://192.0.2.1/") is None
    assert connects == []
    await egress.close()
    named = Egress(parse_networks(own_address()), resolver=names.resolver())

    assert await named.check_url("acme", f"http://{own_address()}:8443/") is None
    await named.close()


async def test_a_connection_that_went_elsewhere_is_not_used(
    names: NameServer, receiver: Receiver, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network does not connect to where it is asked to."""

    async def elsewhere(_: object, **__: object) -> socket.socket:
        return socket.create_connection(("127.0.0.1", receiver.port))

    monkeypatch.setattr(aiohappyeyeballs, "start_connection", elsewhere)
    egress = Egress(LOOPBACK, resolver=names.resolver())
    answers = [await send(egress, f"http://127.0.0.{n}:{receiver.port}{path}") for n in (2, 1)]
    await egress.close()

    assert [answer.outcome for answer in answers] == [outcomes.ADDRESS_NOT_ALLOWED, "delivered"]
    assert len(receiver.got(path)) == 1
