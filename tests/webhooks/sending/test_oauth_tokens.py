"""What a token endpoint may answer: every token that can be sent is used, and an error names what the server said."""

import base64
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trustme

from tests.support.oauth_server import OAuthServer
from tests.support.sockets import LOOPBACK, answering, serving
from tests.support.tls_receiver import server_context
from webhooks import outcomes
from webhooks.credentials.authentication import ClientCredentials
from webhooks.egress.client import Egress
from webhooks.sending.oauth_tokens import NoTokenError, Tokens
from webhooks.testing.receiver import Reply

SECRET = "canary-client-secret"


@pytest.fixture(scope="module")
async def egress() -> AsyncIterator[Egress]:
    egress = Egress(LOOPBACK)
    yield egress
    await egress.close()


@pytest.fixture
async def server() -> AsyncIterator[OAuthServer]:
    async with OAuthServer().serving() as server:
        server.client("client", SECRET)
        yield server


def at(url: str) -> ClientCredentials:
    return ClientCredentials(
        type="OAuth 2.0 Client Credentials", token_url=url, client_id="client", client_secret=SECRET
    )


async def failure(egress: Egress, server: OAuthServer, answer: Reply) -> NoTokenError:
    server.tell(answer)
    with pytest.raises(NoTokenError) as caught:
        await Tokens(egress).get("acme", "webhook", at(server.token_url))
    assert "canary" not in str(caught.value)
    return caught.value


def said(document: object, status: int = 200, **headers: str) -> Reply:
    return Reply(status, json.dumps(document).encode(), headers)


@pytest.mark.parametrize(
    ("fields", "token"),
    [
        ({"error": None}, "abc"),
        ({"error": ""}, "abc"),
        ({"error": False, "error_description": None}, "abc"),
        ({"token_type": "BearerToken"}, "abc"),
        ({"token_type": "bearer"}, "abc"),
        ({"token_type": " Bearer Token"}, "abc"),
        ({"token_type": None}, "abc"),
        ({"token_type": ""}, "abc"),
        ({"access_token": "00Dxx!AQ.x"}, "00Dxx!AQ.x"),
        ({"access_token": "a b\"c\\d{}|~@:;,'"}, "a b\"c\\d{}|~@:;,'"),
        ({"access_token": "x" * 8_192}, "x" * 8_192),
        ({"id_token": "x" * 100_000}, "abc"),
        ({"scope": "Größe", "nested": {"a": [1, 2, {"b": None}]}}, "abc"),
    ],
)
async def test_a_good_token(egress: Egress, server: OAuthServer, fields: dict[str, object], token: str) -> None:
    server.tell(said({"access_token": "abc", "token_type": "Bearer"} | fields))

    assert await Tokens(egress).get("acme", "webhook", at(server.token_url)) == token


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
async def test_an_answer_in_another_encoding(egress: Egress, server: OAuthServer, encoding: str) -> None:
    body = json.dumps({"access_token": "abc", "note": "Größe"}, ensure_ascii=False).encode(encoding)
    server.tell(Reply(201, body))

    assert await Tokens(egress).get("acme", "webhook", at(server.token_url)) == "abc"


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress)]
)
async def test_a_compressed_answer(
    egress: Egress, server: OAuthServer, encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    body = compress(json.dumps({"access_token": "abc", "id_token": "x" * 100_000}).encode())
    server.tell(Reply(200, body, {"content-encoding": encoding}))

    assert await Tokens(egress).get("acme", "webhook", at(server.token_url)) == "abc"


@pytest.mark.parametrize(
    ("lives", "seconds"),
    [
        ("3599.0", 3_599),
        ("3599", 3_599),
        (3599.5, 3_599.5),
        (7, 7),
        (0, 0),
        ("soon", 3_600),
        ("", 3_600),
        (None, 3_600),
        (True, 3_600),
        (-1, 3_600),
        ([3599], 3_600),
        ("NaN", 3_600),
        (10**400, 3_600),
        (10**9, 86_400),
    ],
)
async def test_a_lifetime_that_cannot_be_read_counts_as_none(
    egress: Egress, server: OAuthServer, monkeypatch: pytest.MonkeyPatch, lives: object, seconds: float
) -> None:
    monkeypatch.setattr("webhooks.sending.oauth_tokens.time.monotonic", lambda: 0.0)
    server.tell(said({"access_token": "abc", "expires_in": lives}))
    tokens = Tokens(egress)
    await tokens.get("acme", "webhook", at(server.token_url))
    [kept] = tokens._tokens.values()

    assert kept.until == seconds - min(30, seconds / 2)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Reply(503, b"<html>busy</html>"), "answered 503 Service Unavailable"),
        (said({"error": "invalid_client"}, 401), "answered 401 Unauthorized: invalid_client"),
        (said({"error": "invalid_scope"}), "answered 200: invalid_scope"),
        (
            said({"error": "AADSTS7000215", "error_description": f"{SECRET} is\nwrong"}, 400),
            "answered 400 Bad Request: AADSTS7000215 (******** is wrong)",
        ),
        (said({"error": SECRET, "error_description": 7}, 400), "answered 400 Bad Request: ******** (7)"),
        (said({"error": {"code": 7}}, 500), 'answered 500 Internal Server Error: {"code": 7}'),
        (said({"error": "x" * 190 + SECRET}, 400), "answered 400 Bad Request: " + "x" * 190 + "********"),
        (said({"message": "no such client"}, 404), "answered 404 Not Found"),
        (said({"access_token": "abc"}, 500), "answered 500 Internal Server Error"),
        (
            Reply(302, headers={"location": "http://127.0.0.1:1/"}),
            "answered 302 Found, not followed: it leads to http://127.0.0.1:1/",
        ),
        (Reply(200, b"<html>login</html>"), "answered 200 with something that is not a JSON object"),
        (Reply(204), "answered 204 with something that is not a JSON object"),
        (said(["access_token"]), "answered 200 with something that is not a JSON object"),
        (Reply(200, b"[" * 50_000), "answered 200 with something that is not a JSON object"),
        (Reply(200, b"9" * 5_000), "answered 200 with something that is not a JSON object"),
        (
            said({"access_token": "abc", "x": "y" * 200_000}),
            "gave an answer that was cut off or is longer than 131,072 bytes",
        ),
        (said({}), "answered 200 without an access_token"),
        (said({"access_token": None, "token_type": None}), "answered 200 without an access_token"),
        (said({"access_token": 7}), "gave an access_token that is not a string"),
        (
            said({"access_token": "x" * 9_000}),
            "gave an access_token of 9,000 characters; at most 8,192 can be sent",
        ),
        (
            said({"access_token": "a\r\nX-Injected: b"}),
            "gave an access_token with characters that a header cannot hold",
        ),
        (said({"access_token": "ä"}), "gave an access_token with characters that a header cannot hold"),
        (said({"access_token": " a"}), "gave an access_token with characters that a header cannot hold"),
        (
            said({"access_token": "abc", "token_type": "mac"}),
            "gave a token of type mac; only Bearer tokens can be sent",
        ),
        (
            said({"access_token": "abc", "token_type": ["Bearer"]}),
            'gave a token of type ["Bearer"]; only Bearer tokens can be sent',
        ),
        (Reply(raw=b""), None),
        (Reply(raw=b"garbage\r\n\r\n"), None),
    ],
)
async def test_an_error_names_what_the_server_said(
    egress: Egress, server: OAuthServer, answer: Reply, error: str | None
) -> None:
    raised = await failure(egress, server, answer)

    assert raised.outcome == outcomes.OAUTH_FAILED
    assert (
        str(raised).startswith("the token endpoint: ")
        if error is None
        else str(raised) == (f"the token endpoint {error}")
    )
    assert "receiver" not in str(raised)


async def test_a_repeated_basic_header_is_redacted(egress: Egress, server: OAuthServer) -> None:
    basic = base64.b64encode(f"client:{SECRET}".encode()).decode()
    raised = await failure(egress, server, said({"error": "bad", "error_description": f"Basic {basic}"}, 401))

    assert str(raised) == "the token endpoint answered 401 Unauthorized: bad (Basic ********)"


async def test_its_retry_after_counts(egress: Egress, server: OAuthServer) -> None:
    assert (await failure(egress, server, Reply(503, headers={"retry-after": "120"}))).retry_after == 120
    assert (await failure(egress, server, Reply(503))).retry_after is None


async def test_a_private_authority_is_trusted_for_token_endpoints(tmp_path: Path) -> None:
    authority, bundle = trustme.CA(), tmp_path / "company.pem"
    authority.cert_pem.write_to_path(str(bundle))
    egress = Egress(LOOPBACK, ca_bundle=bundle)
    body = json.dumps({"access_token": "abc"}).encode()
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    async with serving(answering(answer), server_context(authority.issue_cert("127.0.0.1"))) as url:
        token = await Tokens(egress).get("acme", "webhook", at(url))
    await egress.close()

    assert token == "abc"
