"""A real OpenID Connect provider on loopback: discovery, keys, and the authorization code flow with PKCE. authlib's own
server side judges the requests and makes the ID tokens."""

import contextlib
import functools
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
from authlib.oauth2 import rfc6749, rfc6750  # type: ignore[import-untyped]
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload  # type: ignore[import-untyped]
from authlib.oauth2.rfc7636 import CodeChallenge  # type: ignore[import-untyped]
from authlib.oidc.core import AuthorizationCodeMixin, OpenIDCode, UserInfo  # type: ignore[import-untyped]
from joserfc import jwt
from joserfc.jwk import ECKey, Key, RSAKey, import_key
from joserfc.jws import JWSRegistry

from webhooks.testing.receiver import Received, Receiver, Reply, Told

CLIENT_ID, CLIENT_SECRET, AUDIENCE = "webhooks-client", "client-secret", "https://hooks.example"
Json = dict[str, Any]


def rsa_key(kid: str) -> RSAKey:
    """Make a key, which takes a twentieth of a second."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"})


def ec_key(kid: str) -> ECKey:
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": "ES256"})


@functools.cache
def _first_key() -> RSAKey:
    """Return the key with which every provider begins."""
    return rsa_key("first")


class _Web(Receiver):
    """A receiver that finds what to answer by the path, without its query."""

    def _next(self, request: Received) -> Reply:
        path = urlsplit(request.path).path
        told = self._told.get(path, [404])[0]
        self._got[path].append(request)
        return told(request) if callable(told) else Reply(told) if isinstance(told, int) else told


@dataclass
class _Client(rfc6749.ClientMixin):  # type: ignore[misc]
    redirect_uris: list[str] = field(default_factory=list)
    client_id: str = CLIENT_ID

    def get_client_id(self) -> str:
        return CLIENT_ID

    def get_default_redirect_uri(self) -> str:
        return self.redirect_uris[0]

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, uri: str) -> bool:
        return uri in self.redirect_uris

    def check_client_secret(self, secret: str) -> bool:
        return secret == CLIENT_SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_basic"

    def check_response_type(self, type: str) -> bool:
        return type == "code"

    def check_grant_type(self, type: str) -> bool:
        return type == "authorization_code"


@dataclass
class _Code(AuthorizationCodeMixin):  # type: ignore[misc]
    redirect_uri: str
    scope: str
    nonce: str
    code_challenge: str
    code_challenge_method: str
    user: Json

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str:
        return self.nonce

    def get_auth_time(self) -> int:
        return int(time.time())

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


class _Request(rfc6749.OAuth2Request):  # type: ignore[misc]
    def __init__(self, received: Received) -> None:
        host = received.headers.get("host", "127.0.0.1")
        headers = httpx.Headers(received.headers)
        super().__init__(received.method, f"http://{host}{received.path}", None, headers)
        text = received.body.decode() if received.method == "POST" else urlsplit(received.path).query
        self.payload = BasicOAuth2Payload(dict(parse_qsl(text)))

    @property
    def args(self) -> Json:
        return dict(self.payload.data)

    @property
    def form(self) -> Json:
        return dict(self.payload.data)


class IdentityProvider:
    """Whoever comes to its authorization endpoint is `user`, without a question. `keys` sign, the first one now."""

    def __init__(self) -> None:
        self.keys: list[Key] = [_first_key()]
        self.user: Json = {"sub": "person-1", "name": "Ada", "permissions": ["viewer"]}
        self.client = _Client()
        self.metadata: Json = {}
        self.id_token_claims: Json = {}
        self._web = _Web()
        self._authority = _Authority(self)

    @property
    def issuer(self) -> str:
        return self._web.url("")

    @contextlib.asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator["IdentityProvider"]:
        async with self._web.serving(port):
            for path, answer in {
                "/.well-known/openid-configuration": lambda _: _json(self.discovery()),
                "/keys": lambda _: _json({"keys": [key.as_dict(private=False) for key in self.keys]}),
                "/authorize": self._authorize,
                "/token": self._authority.create_token_response,
            }.items():
                self.tell(path, answer)
            yield self

    def _authorize(self, received: Received) -> Reply:
        grant = self._authority.get_consent_grant(received, self.user)
        reply: Reply = self._authority.create_authorization_response(received, self.user, grant)
        return reply

    def tell(self, path: str, answer: Told | Callable[[Received], Reply]) -> None:
        self._web.tell(path, [answer])

    def asked(self, path: str) -> int:
        """How many requests there were to a path."""
        return len({id(request) for request in self._web.got(path)})

    def discovery(self) -> Json:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": self._web.url("/authorize"),
            "token_endpoint": self._web.url("/token"),
            "jwks_uri": self._web.url("/keys"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        } | self.metadata

    def access_token(self, *, key: Key | None = None, header: Json | None = None, **claims: Any) -> str:
        """A token with these claims beside what a good one has; a claim that is None is left out."""
        key, now = key or self.keys[0], int(time.time())
        good = {"iss": self.issuer, "aud": AUDIENCE, "iat": now, "exp": now + 600, "jti": secrets.token_hex(8)}
        given = {name: value for name, value in (good | self.user | claims).items() if value is not None}
        named = {"alg": key.as_dict()["alg"], "kid": key.kid, "typ": "at+jwt"} | (header or {})
        unbound = {name: value for name, value in key.as_dict(private=True).items() if name != "alg"}
        algorithms = JWSRegistry(algorithms=["RS256", "ES256", "PS256", "HS256"], strict_check_header=False)
        return jwt.encode(named, given, import_key(unbound), registry=algorithms)


def _json(document: Json) -> Reply:
    return Reply(200, json.dumps(document).encode(), {"content-type": "application/json"})


class _CodeGrant(rfc6749.AuthorizationCodeGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic",)

    def save_authorization_code(self, code: str, request: _Request) -> None:
        data = request.payload.data
        self.server.codes[code] = _Code(
            data["redirect_uri"],
            data["scope"],
            data.get("nonce", ""),
            data.get("code_challenge", ""),
            data.get("code_challenge_method", ""),
            request.user,
        )

    def query_authorization_code(self, code: str, client: _Client) -> _Code | None:
        found: _Code | None = self.server.codes.get(code)
        return found

    def delete_authorization_code(self, authorization_code: _Code) -> None:
        self.server.codes = {key: code for key, code in self.server.codes.items() if code is not authorization_code}

    def authenticate_user(self, authorization_code: _Code) -> Json:
        return authorization_code.user


class _IdTokens(OpenIDCode):  # type: ignore[misc]
    def __init__(self, provider: IdentityProvider) -> None:
        super().__init__()
        self.provider = provider

    def exists_nonce(self, nonce: str, request: _Request) -> bool:
        return False

    def resolve_client_private_key(self, client: _Client) -> Key:
        return self.provider.keys[0]

    def get_client_algorithm(self, client: _Client) -> str:
        return "RS256"

    def get_encode_header(self, client: _Client) -> Json:
        return {"alg": "RS256", "kid": self.provider.keys[0].kid}

    def get_client_claims(self, client: _Client) -> Json:
        now = int(time.time())
        return {"iss": self.provider.issuer, "aud": [CLIENT_ID], "iat": now, "exp": now + 600}

    def get_compatible_claims(self, request: _Request) -> Json:
        return self.get_client_claims(request.client)

    def generate_user_info(self, user: Json, scope: str) -> UserInfo:
        return UserInfo(**user | self.provider.id_token_claims)


class _Challenge(CodeChallenge):  # type: ignore[misc]
    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        assert grant.request.payload.data.get("code_challenge_method") == "S256"
        super().validate_code_challenge(grant, redirect_uri)


class _Authority(rfc6749.AuthorizationServer):  # type: ignore[misc]
    create_oauth2_request = staticmethod(_Request)

    def __init__(self, provider: IdentityProvider) -> None:
        super().__init__()
        self.codes: dict[str, _Code] = {}
        self.query_client = {CLIENT_ID: provider.client}.get
        self.register_grant(_CodeGrant, [_Challenge(required=True), _IdTokens(provider)])
        self.register_token_generator("default", rfc6750.BearerTokenGenerator(lambda **_: secrets.token_urlsafe(32)))

    def handle_response(self, status: int, body: Any, headers: list[tuple[str, str]]) -> Reply:
        content = json.dumps(body).encode() if isinstance(body, dict) else str(body or "").encode()
        return Reply(status, content, {name.lower(): value for name, value in headers})

    def save_token(self, token: Json, request: _Request) -> None:
        pass

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        pass
