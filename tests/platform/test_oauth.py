"""Deliveries to receivers that ask for a token: a real authorization server judges our requests, and the receiver its
tokens."""

import asyncio
from base64 import b64decode
from typing import Any

import pytest

from tests.support.oauth_server import OAuthServer
from webhooks.testing.platform_process import Json, PlatformProcess
from webhooks.testing.receiver import Receiver, Reply

Grant = dict[str, Any]
CLIENT = "OAuth 2.0 Client Credentials"
PASSWORD = "OAuth 2.0 Password"


def mode(server: OAuthServer, type: str = CLIENT, **fields: object) -> Grant:
    user = {"username": "ulla", "password": "canary-pässword"} if type == PASSWORD else {}
    client = {"client_id": "client", "client_secret": "canary-client-secret"}
    return {"type": type, "token_url": server.token_url, **client, **user, **fields}


def register(server: OAuthServer, type: str = CLIENT, **fields: Any) -> Any:
    user = {"grant": "password", "username": "ulla", "password": "canary-pässword"} if type == PASSWORD else {}
    return server.client("client", "canary-client-secret", **{**user, **fields})


async def attempts(platform: PlatformProcess, published: Json, status: str = "delivered") -> list[tuple[str, Any]]:
    delivery = await platform.wait(await platform.delivery(published), status)
    assert "canary" not in str(delivery)
    return [(attempt["outcome"], attempt["error"]) for attempt in delivery["attempts"]]


@pytest.mark.parametrize("type", [CLIENT, PASSWORD])
@pytest.mark.parametrize("client_authentication", ["header", "body"])
async def test_a_token_is_fetched_first(
    platform: PlatformProcess, receiver: Receiver, path: str, type: str, client_authentication: str
) -> None:
    """LogiSense 11, 12: both grants, the client in the header or in the body, scope and further parameters."""
    async with OAuthServer().serving() as server:
        method = {"header": "client_secret_basic", "body": "client_secret_post"}[client_authentication]
        register(server, type, auth_method=method, scope="deliver")
        event = await platform.event()
        authentication = mode(
            server,
            type,
            client_authentication=client_authentication,
            scope="deliver",
            audience="https://api.example.com/",
            parameters={"resource": "urn:x:ü", "method": "GET", "body": "&a=b"},
        )
        webhook = await platform.webhook(event, receiver.tell(path, [server.protected]), authentication=authentication)
        assert await attempts(platform, await platform.publish(event)) == [("delivered", None)]
        [asked] = server.requests
        [token] = server.issued

    assert receiver.got(path)[0].headers["authorization"] == f"Bearer {token.access_token}"
    assert asked.form["audience"] == "https://api.example.com/"
    assert (asked.form["resource"], asked.form["method"], asked.form["body"]) == ("urn:x:ü", "GET", "&a=b")
    assert asked.headers["user-agent"].startswith("durable-webhooks/")
    if client_authentication == "header":
        basic = asked.headers["authorization"].removeprefix("Basic ")
        assert b64decode(basic).decode() == "client:canary-client-secret"
        assert "client_secret" not in asked.form
    assert webhook["authentication"] == {
        **authentication,
        "client_secret": "********",
        **({"password": "********"} if type == PASSWORD else {}),
    }


async def test_one_token_however_many_wait(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """Twenty deliveries at once, while the token endpoint takes its time: one request for a token."""
    async with OAuthServer().serving() as server:
        register(server)
        waiting = asyncio.Event()
        server.tell(server.proper(before=waiting.wait))
        event = await platform.event()
        await platform.webhook(event, receiver.tell(path, [server.protected]), authentication=mode(server))
        published = await asyncio.gather(*(platform.publish(event, {"n": n}) for n in range(20)))
        await server.wait_for(1)
        waiting.set()
        for one in published:
            assert await attempts(platform, one) == [("delivered", None)]

        assert len(server.requests) == 1


async def test_a_token_that_is_about_to_expire_is_renewed(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """Half a token's life, at most 30 s, is kept in hand; one without a known life is kept."""
    async with OAuthServer().serving() as server:
        client = register(server, expires_in=1)
        event = await platform.event()
        webhook = await platform.webhook(event, receiver.tell(path, [server.protected]), authentication=mode(server))
        await attempts(platform, await platform.publish(event))
        half_its_life_later = server.requests[0].at + 0.5 - asyncio.get_running_loop().time()
        await asyncio.sleep(max(half_its_life_later, 0))
        client.expires_in = None
        assert await attempts(platform, await platform.publish(event)) == [("delivered", None)]
        assert len(server.requests) == 2
        assert await attempts(platform, await platform.publish(event)) == [("delivered", None)]
        assert len(server.requests) == 2

        change = {"authentication": {"scope": ""}, "name": "the same configuration"}
        await platform.call("PATCH", f"/v1/webhooks/{webhook['id']}", change)
        await attempts(platform, await platform.publish(event))
        assert len(server.requests) == 2
        await platform.call("PATCH", f"/v1/webhooks/{webhook['id']}", {"authentication": {"audience": "another"}})
        await attempts(platform, await platform.publish(event))
        assert len(server.requests) == 3


async def test_a_revoked_token_is_fetched_anew_on_the_next_attempt(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    """LogiSense 20: 401 is retried within the policy, with a fresh token."""
    async with OAuthServer().serving() as server:
        register(server)
        event = await platform.event()
        await platform.webhook(event, receiver.tell(path, [server.protected]), authentication=mode(server))
        await attempts(platform, await platform.publish(event))
        server.revoke_all()
        made = await attempts(platform, await platform.publish(event))

        assert [outcome for outcome, _ in made] == ["http_401", "delivered"]
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (500, "the token endpoint answered 500 Internal Server Error"),
        (
            Reply(302, headers={"location": "http://127.0.0.1:1/"}),
            "the token endpoint answered 302 Found, not followed: it leads to http://127.0.0.1:1/",
        ),
        (Reply(200, b"<html>login</html>"), "the token endpoint answered 200 with something that is not a JSON object"),
        (Reply(200, b"[]"), "the token endpoint answered 200 with something that is not a JSON object"),
        (
            Reply(200, b"x" * 10_000_000),
            "the token endpoint gave an answer that was cut off or is longer than 131,072 bytes",
        ),
        (Reply(400, b'{"error": "invalid_grant"}'), "the token endpoint answered 400 Bad Request: invalid_grant"),
        (
            Reply(401, b'{"error": "invalid_client", "error_description": "canary-client-secret is wrong"}'),
            "the token endpoint answered 401 Unauthorized: invalid_client (******** is wrong)",
        ),
        (
            Reply(400, b'{"error": "canary-client-secret", "error_description": 7}'),
            "the token endpoint answered 400 Bad Request: ******** (7)",
        ),
        (Reply(raw=b"garbage\r\n\r\n"), "the token endpoint: the answer is not valid HTTP/1.1"),
        (Reply(raw=b""), "the token endpoint: the server closed the connection without an answer"),
    ],
    ids=[
        "500",
        "redirect",
        "html",
        "list",
        "huge",
        "invalid_grant",
        "invalid_client",
        "echoes the secret as error",
        "garbage",
        "hangs up",
    ],
)
async def test_a_failing_token_endpoint_is_an_attempt_with_its_own_outcome(
    platform: PlatformProcess, receiver: Receiver, path: str, answer: Reply | int, error: str
) -> None:
    """It is retried like any other; the receiver hears nothing until there is a token."""
    async with OAuthServer().serving() as server:
        register(server)
        server.tell(answer)
        event = await platform.event()
        await platform.webhook(event, receiver.tell(path, [server.protected]), authentication=mode(server))
        made = await attempts(platform, await platform.publish(event))

    assert made[1] == ("delivered", None)
    assert made[0][0] == "oauth_failed"
    assert made[0][1] == error
    assert len(receiver.got(path)) == 1


@pytest.mark.parametrize(
    "lie",
    [
        {"access_token": None},
        {"access_token": ""},
        {"access_token": "a\r\nX-Injected: b"},
        {"access_token": 7},
        {"access_token": "x" * 9_000},
        {"token_type": "mac"},
    ],
    ids=["null", "empty", "header injection", "number", "too long", "mac"],
)
async def test_a_lying_token_endpoint(
    platform: PlatformProcess, receiver: Receiver, path: str, lie: dict[str, Any]
) -> None:
    async with OAuthServer().serving() as server:
        register(server)
        server.tell(server.proper(**lie))
        event = await platform.event()
        await platform.webhook(event, receiver.tell(path, [server.protected]), authentication=mode(server))
        made = await attempts(platform, await platform.publish(event))

    assert [outcome for outcome, _ in made] == ["oauth_failed", "delivered"]
    assert len(receiver.got(path)) == 1


@pytest.mark.parametrize("lives", ["soon", 0, -5, "3600", None, 1e300, 10**400, [1]])
async def test_any_lifetime_is_survived(
    platform: PlatformProcess, receiver: Receiver, path: str, lives: object
) -> None:
    async with OAuthServer().serving() as server:
        register(server)
        server.tell(server.proper(expires_in=lives))
        event = await platform.event()
        await platform.webhook(event, receiver.tell(path, [server.protected]), authentication=mode(server))
        made = await attempts(platform, await platform.publish(event))

    assert made[-1] == ("delivered", None)


async def test_a_slow_token_endpoint_counts_against_the_attempt(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    async with OAuthServer().serving() as server:
        register(server)
        never = asyncio.Event()
        server.tell(server.proper(before=never.wait))
        event = await platform.event()
        policy = {"maximum_attempts": 1}
        await platform.webhook(
            event,
            receiver.tell(path, [server.protected]),
            authentication=mode(server),
            timeout=1,
            retry_policy=policy,
        )
        made = await attempts(platform, await platform.publish(event), "failed")
        never.set()

    assert made == [("oauth_failed", "no token within 1 s")]
    assert receiver.got(path) == []


@pytest.mark.parametrize("failure", [503, 401, Reply(raw=b"")], ids=["503", "401", "no answer"])
async def test_a_failing_token_endpoint_is_retried_also_where_only_5xx_answers_are(
    platform: PlatformProcess, receiver: Receiver, path: str, failure: int | Reply
) -> None:
    """The policy is about the receiver's answers, and the receiver was not asked."""
    async with OAuthServer().serving() as server:
        register(server)
        server.tell(failure)
        event = await platform.event()
        policy = {"only_5xx": True, "initial_interval": 0.1}
        await platform.webhook(
            event, receiver.tell(path, [server.protected]), authentication=mode(server), retry_policy=policy
        )
        made = await attempts(platform, await platform.publish(event))

    assert [outcome for outcome, _ in made] == ["oauth_failed", "delivered"]


async def test_the_token_endpoint_s_retry_after_counts(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    async with OAuthServer().serving() as server:
        register(server)
        server.tell(Reply(503, headers={"retry-after": "2"}))
        event = await platform.event()
        await platform.webhook(
            event,
            receiver.tell(path, [server.protected]),
            authentication=mode(server),
            retry_policy={"initial_interval": 0.1, "maximum_interval": 60},
        )
        delivery = await platform.wait(await platform.delivery(await platform.publish(event)), "delivered")

    assert (delivery["attempts"][0]["retry_after"], delivery["attempts"][0]["backoff"]) == (2, 2)


async def test_the_token_endpoint_s_address_is_guarded(platform: PlatformProcess, receiver: Receiver) -> None:
    """When it is configured, and when it is used: a name may resolve to another address later."""
    event = await platform.event()
    client = {"type": CLIENT, "client_id": "c", "client_secret": "s"}
    body = {"url": receiver.url("/"), "event": event, "allowedClientIdentifiers": []}
    for url in ("https://169.254.169.254/token", "https://user:pass@login.example.com/", "http://login.example.com/"):
        problem = await platform.post(
            "/v1/webhooks", {**body, "authentication": {**client, "token_url": url}}, expect=422
        )

        assert problem["errors"][0]["pointer"] == "/authentication/token_url"
        assert "pass" not in str(problem)
