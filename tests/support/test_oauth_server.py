"""The tests' authorization server is one: authlib's client gets along with it, and wrong requests are refused."""

import asyncio
import base64
import json
import warnings
from collections.abc import AsyncIterator, Mapping
from urllib.parse import quote

import httpx
import pytest
from authlib.deprecate import AuthlibDeprecationWarning  # type: ignore[import-untyped]

from tests.support.oauth_server import OAuthServer
from webhooks.testing.receiver import Receiver, Reply

with warnings.catch_warnings():
    # "The httpx module is deprecated; please use httpx2 instead."
    warnings.simplefilter("ignore", AuthlibDeprecationWarning)
    from authlib.integrations.base_client import OAuthError  # type: ignore[import-untyped]
    from authlib.integrations.httpx_client import AsyncOAuth2Client  # type: ignore[import-untyped]

PROOF = {"client_id": "client", "client_secret": "client-secret"}
ORDER = {"grant_type": "client_credentials", **PROOF}


@pytest.fixture
async def server() -> AsyncIterator[OAuthServer]:
    async with OAuthServer().serving() as server:
        yield server


def library(secret: str = "client-secret", auth_method: str = "client_secret_basic") -> AsyncOAuth2Client:
    return AsyncOAuth2Client("client", secret, token_endpoint_auth_method=auth_method)


async def post(url: str, form: Mapping[str, str] | bytes, headers: Mapping[str, str] | None = None) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        if isinstance(form, bytes):
            return await client.post(url, content=form, headers=headers)
        return await client.post(url, data=form, headers=headers)


@pytest.mark.parametrize("auth_method", ["client_secret_basic", "client_secret_post"])
@pytest.mark.parametrize("grant", ["client_credentials", "password"])
async def test_the_library_gets_a_token_that_opens_the_receiver(
    server: OAuthServer, receiver: Receiver, path: str, auth_method: str, grant: str
) -> None:
    server.client(auth_method=auth_method, grant=grant, scope="a b", username="ada", password="p&ss+%41")
    user = {"username": "ada", "password": "p&ss+%41"} if grant == "password" else {}
    url = receiver.tell(path, [server.protected])
    async with library(auth_method=auth_method) as client:
        got = await client.fetch_token(server.token_url, grant_type=grant, scope="b", **user)
        opened = await client.post(url, json={})
    [issued], [asked] = server.issued, server.requests

    assert opened.status_code == 200
    assert {**got, "expires_at": None} == {
        "token_type": "Bearer",
        "access_token": issued.access_token,
        "expires_in": 3600,
        "scope": "b",
        "expires_at": None,
    }
    proof = PROOF if auth_method == "client_secret_post" else {}
    assert asked.form == {"grant_type": grant, "scope": "b", **user, **proof}
    assert ("authorization" in asked.headers) == (auth_method == "client_secret_basic")


@pytest.mark.parametrize("auth_method", ["client_secret_basic", "client_secret_post"])
async def test_wrong_secret(server: OAuthServer, auth_method: str) -> None:
    server.client(auth_method=auth_method)
    async with library("wrong", auth_method) as client:
        with pytest.raises(OAuthError, match="invalid_client"):
            await client.fetch_token(server.token_url, grant_type="client_credentials")
        auth = client.client_auth(auth_method)
        answer = await client.post(server.token_url, data={"grant_type": "client_credentials"}, auth=auth)

    assert answer.status_code == 401
    assert answer.json()["error"] == "invalid_client"
    assert not server.issued
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("grant", "asked", "error"),
    [
        ("password", {"username": "ada", "password": "wrong"}, "invalid_grant"),
        ("password", {"username": "bob", "password": "right"}, "invalid_grant"),
        ("password", {"username": "ada"}, "invalid_request"),
        ("password", {"username": "ada", "password": "right", "scope": "a c"}, "invalid_scope"),
        ("client_credentials", {"scope": "c"}, "invalid_scope"),
        ("client_credentials", {"grant_type": "password"}, "unauthorized_client"),
        ("client_credentials", {"grant_type": "device_code"}, "unsupported_grant_type"),
    ],
)
async def test_wrong_request(server: OAuthServer, grant: str, asked: dict[str, str], error: str) -> None:
    server.client(grant=grant, scope="a b", username="ada", password="right")
    async with library() as client:
        with pytest.raises(OAuthError) as refusal:
            await client.fetch_token(server.token_url, **{"grant_type": grant, **asked})

    assert refusal.value.error == error
    assert not server.issued


@pytest.mark.parametrize(
    ("form", "headers", "error"),
    [
        (ORDER, {"content-type": "application/json"}, "invalid_request"),
        (
            b"grant_type=client_credentials&" * 2,
            {"content-type": "application/x-www-form-urlencoded"},
            "invalid_request",
        ),
        (ORDER, {"authorization": "Basic Y2xpZW50OmNsaWVudC1zZWNyZXQ="}, "invalid_request"),
        ({"grant_type": "client_credentials"}, {"authorization": "Basic //8="}, "invalid_request"),
        (b'{"grant_type": "client_credentials"}', {"content-type": "application/json"}, "unsupported_grant_type"),
        (ORDER, {}, "invalid_client"),
    ],
    ids=["not a form", "parameter twice", "two proofs", "not UTF-8", "JSON", "the other method"],
)
async def test_what_a_client_library_would_not_send(
    server: OAuthServer, form: Mapping[str, str] | bytes, headers: dict[str, str], error: str
) -> None:
    server.client()
    answer = await post(server.token_url, form, headers)

    assert answer.json()["error"] == error
    assert not server.issued


@pytest.mark.parametrize("auth_method", ["client_secret_basic", "client_secret_post"])
async def test_any_character_that_is_encoded_as_the_standard_says(server: OAuthServer, auth_method: str) -> None:
    """authlib's own client does not get there: no percent-encoding in Basic, ASCII values only in a form."""
    text = 'ö:% +&="世界'
    server.client(text, text, auth_method=auth_method, grant="password", username=text, password=text)
    form = {"grant_type": "password", "username": text, "password": text}
    basic = base64.b64encode(f"{quote(text)}:{quote(text)}".encode()).decode()
    if auth_method == "client_secret_basic":
        answer = await post(server.token_url, form, {"authorization": f"Basic {basic}"})
    else:
        answer = await post(server.token_url, form | {"client_id": text, "client_secret": text})

    assert answer.status_code == 200
    assert form.items() <= server.requests[0].form.items()


async def test_receiver_refuses_expired_revoked_unknown_and_missing_tokens(
    server: OAuthServer, receiver: Receiver, path: str
) -> None:
    server.client(auth_method="client_secret_post", expires_in=60)
    url = receiver.tell(path, [server.protected])
    for _ in range(2):
        await post(server.token_url, ORDER)
    expired, live = server.issued
    expired.at -= 60
    headers = [{"authorization": f"Bearer {token}"} for token in (expired.access_token, "unknown", live.access_token)]
    answers = [await post(url, {}, header) for header in [{}, *headers]]

    assert [answer.status_code for answer in answers] == [401, 401, 401, 200]
    for answer in answers[:-1]:
        assert answer.headers["www-authenticate"].startswith('Bearer error="invalid_token"')
    server.revoke_all()
    assert (await post(url, {}, headers[-1])).status_code == 401
    assert not server.accepts(receiver.got(path)[-1])


async def test_token_without_a_lifetime(server: OAuthServer) -> None:
    server.client(auth_method="client_secret_post", expires_in=None)

    assert "expires_in" not in (await post(server.token_url, ORDER)).json()
    assert not server.issued[0].is_expired()


async def test_misbehaves_as_told(server: OAuthServer) -> None:
    server.client(auth_method="client_secret_post")
    server.tell(500, Reply(200, b"<html>"), server.proper(token_type="mac", expires_in="soon", access_token=None))
    answers = [await post(server.token_url, ORDER) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [500, 200, 200, 200]
    assert answers[1].text == "<html>"
    assert answers[2].json() == {"token_type": "mac", "expires_in": "soon", "access_token": None}
    assert answers[3].json()["access_token"] == server.issued[-1].access_token
    server.tell(302, always=True)
    assert [(await post(server.token_url, ORDER)).status_code for _ in range(3)] == [302] * 3
    server.tell()
    assert json.loads((await post(server.token_url, ORDER)).content)["token_type"] == "Bearer"


async def test_slow(server: OAuthServer) -> None:
    server.client(auth_method="client_secret_post")
    gate = asyncio.Event()
    server.tell(server.proper(before=gate.wait))
    answer = asyncio.create_task(post(server.token_url, ORDER))
    await server.wait_for(1)

    assert not answer.done()
    gate.set()
    assert (await answer).status_code == 200
