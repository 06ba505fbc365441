"""A real OAuth 2.0 authorization server on loopback. authlib's own server side judges the token requests and the
bearer tokens, so that a library other than our code says whether they are right."""

import contextlib
import itertools
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl

import httpx
from authlib.common.urls import url_decode  # type: ignore[import-untyped]
from authlib.oauth2 import OAuth2Error, rfc6749, rfc6750  # type: ignore[import-untyped]
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload  # type: ignore[import-untyped]

from webhooks.testing.receiver import Received, Receiver, Reply, Told

AUTH_METHODS = ("client_secret_basic", "client_secret_post")


@dataclass
class Client(rfc6749.ClientMixin):  # type: ignore[misc]
    """`expires_in` is the lifetime of the next tokens in seconds; None: it is not said, and they do not expire."""

    client_id: str
    client_secret: str
    auth_method: str
    grant: str
    scope: str
    expires_in: int | None

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == self.client_secret

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == self.auth_method

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == self.grant

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """All that was asked for, or None, which authlib makes an invalid_scope of."""
        return self.scope if not scope else scope if set(scope.split()) <= set(self.scope.split()) else None


@dataclass
class Token(rfc6749.TokenMixin):  # type: ignore[misc]
    """One token issued. `at` is the monotonic clock in seconds."""

    access_token: str
    client: Client
    scope: str
    expires_in: int | None
    at: float = field(default_factory=time.monotonic)
    revoked: bool = False

    def is_expired(self) -> bool:
        return self.expires_in is not None and time.monotonic() >= self.at + self.expires_in

    def is_revoked(self) -> bool:
        return self.revoked

    def get_scope(self) -> str:
        return self.scope


class TokenRequest(rfc6749.OAuth2Request):  # type: ignore[misc]
    """One request to the token endpoint, right or wrong. authlib accepts plain http on loopback."""

    def __init__(self, received: Received) -> None:
        super().__init__(received.method, f"http://127.0.0.1{received.path}", None, httpx.Headers(received.headers))
        self.content = received.body.decode(errors="replace")
        self.at = received.at
        self.payload = BasicOAuth2Payload(dict(parse_qsl(self.content, keep_blank_values=True)))

    @property
    def form(self) -> dict[str, str]:
        form: dict[str, str] = self.payload.data
        return form


class OAuthServer:
    """Answers token requests properly wherever it was told nothing else."""

    def __init__(self) -> None:
        self.requests: list[TokenRequest] = []
        self.issued: list[Token] = []
        self._clients: dict[str, Client] = {}
        self._users: dict[str, str] = {}
        self._told: Iterator[Told] = iter(())
        self._receiver = Receiver()
        self._authority = _Authority(self._clients, self._users, self.issued)
        self._protector = rfc6749.ResourceProtector()
        self._protector.register_token_validator(_BearerTokens(self.issued))

    @property
    def token_url(self) -> str:
        return self._receiver.url("/token")

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["OAuthServer"]:
        async with self._receiver.serving():
            self._receiver.tell("/token", [self._answer])
            yield self

    def client(
        self,
        client_id: str = "client",
        client_secret: str = "client-secret",
        *,
        auth_method: str = "client_secret_basic",
        grant: str = "client_credentials",
        scope: str = "",
        username: str = "",
        password: str = "",
        expires_in: int | None = 3600,
    ) -> Client:
        """Registers a client that may use this method, grant and scope only, and the user of a password grant."""
        self._clients[client_id] = Client(client_id, client_secret, auth_method, grant, scope, expires_in)
        if username:
            self._users[username] = password
        return self._clients[client_id]

    def tell(self, *answers: Told, always: bool = False) -> None:
        """The next token requests get these answers in turn, once or over and over; without any, proper ones again."""
        self._told = itertools.cycle(answers) if always else iter(answers)

    def proper(
        self, before: Callable[[], Awaitable[object]] | None = None, **fields: object
    ) -> Callable[[Received], Reply]:
        """The proper answer after `before`; if it issues a token, with `fields` in its JSON, whatever they say."""

        def answer(received: Received) -> Reply:
            proper: Reply = self._authority.create_token_response(received)
            if proper.status == 200:
                proper = replace(proper, body=json.dumps(json.loads(proper.body) | fields).encode())
            return replace(proper, before=before)

        return answer

    def protected(self, received: Received) -> Reply:
        """For a receiver's path: 200 for a request with a live token of this server, else 401."""
        request = rfc6749.JsonRequest(received.method, received.path, httpx.Headers(received.headers))
        try:
            self._protector.validate_request(None, request)
        except OAuth2Error:
            return _answer(*rfc6750.InvalidTokenError()())
        return Reply()

    def accepts(self, received: Received) -> bool:
        return self.protected(received).status == 200

    def revoke_all(self) -> None:
        for token in self.issued:
            token.revoked = True

    async def wait_for(self, count: int, timeout: float = 30) -> list[TokenRequest]:
        """The token requests once there are `count`, answered or not. Raises TimeoutError."""
        await self._receiver.wait_for("/token", count, timeout)
        return self.requests

    def _answer(self, received: Received) -> Reply:
        self.requests.append(TokenRequest(received))
        answer = next(self._told, self.proper())
        if callable(answer):
            return answer(received)
        return Reply(answer) if isinstance(answer, int) else answer


def _answer(status: int, body: dict[str, object], headers: list[tuple[str, str]]) -> Reply:
    return Reply(status, json.dumps(body).encode(), {name.lower(): value for name, value in headers})


class _ClientCredentials(rfc6749.ClientCredentialsGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS


class _Password(rfc6749.ResourceOwnerPasswordCredentialsGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS

    def authenticate_user(self, username: str, password: str) -> str:
        if self.server.users.get(username) != password:
            raise rfc6749.InvalidGrantError("Wrong username or password.")  # authlib's own would be invalid_request
        return username


class _Authority(rfc6749.AuthorizationServer):  # type: ignore[misc]
    create_oauth2_request = staticmethod(TokenRequest)
    handle_response = staticmethod(_answer)

    def __init__(self, clients: dict[str, Client], users: dict[str, str], issued: list[Token]) -> None:
        super().__init__()
        self.query_client = clients.get
        self.users = users
        self.issued = issued
        self.register_grant(_ClientCredentials)
        self.register_grant(_Password)
        tokens = rfc6750.BearerTokenGenerator(
            lambda **_: secrets.token_urlsafe(32), expires_generator=lambda client, grant_type: client.expires_in
        )
        self.register_token_generator("default", tokens)

    def authenticate_client(self, request: TokenRequest, methods: list[str], endpoint: str = "token") -> Client:
        """Also refuses what authlib leaves to the web framework (RFC 6749, 2.3 and 3.2)."""
        try:
            once = len(url_decode(request.content)) == len(request.form)
            form = request.headers.get("content-type", "").partition(";")[0] == "application/x-www-form-urlencoded"
            if not once or not form or ("client_secret" in request.form and "authorization" in request.headers):
                raise rfc6749.InvalidRequestError("Not a form, or a parameter or a proof of identity too many.")
            client: Client = super().authenticate_client(request, methods, endpoint)
        except ValueError as error:
            raise rfc6749.InvalidRequestError("The request cannot be decoded.") from error
        return client

    def save_token(self, token: dict[str, str], request: TokenRequest) -> None:
        client = request.client
        self.issued.append(Token(token["access_token"], client, token.get("scope", ""), client.expires_in))

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        pass


class _BearerTokens(rfc6750.BearerTokenValidator):  # type: ignore[misc]
    def __init__(self, issued: list[Token]) -> None:
        super().__init__()
        self.issued = issued

    def authenticate_token(self, token_string: str) -> Token | None:
        return next((token for token in self.issued if token.access_token == token_string), None)
