"""OAuth access tokens for receivers. A token is fetched once for all deliveries that wait for it, and kept in
memory."""

import asyncio
import contextlib
import hashlib
import math
import re
import time
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from authlib.deprecate import AuthlibDeprecationWarning  # type: ignore[import-untyped]
from authlib.integrations.base_client import OAuthError  # type: ignore[import-untyped]

with warnings.catch_warnings():  # authlib warns because it prefers another client than httpx
    warnings.simplefilter("ignore", AuthlibDeprecationWarning)
    from authlib.integrations.httpx_client import AsyncOAuth2Client  # type: ignore[import-untyped]

from webhooks import outcomes
from webhooks.credentials.authentication import OAuth, Password
from webhooks.egress.client import Egress, NoAnswerError
from webhooks.errors import OutcomeError

_FETCH_SECONDS = 15.0
"""How long a request to the token endpoint may take."""
_RENEW_EARLY_SECONDS = 30.0
"""A token is not used in its last 30 s, so that it does not expire on the way; of a short life, in its second half."""
_DEFAULT_LIFETIME_SECONDS = 3_600.0
"""How long a token is used if the server does not say when it expires."""
_MAX_LIFETIME_SECONDS = 86_400.0
"""A token is fetched again after a day, whatever the server says."""
_MAX_TOKENS = 10_000
"""Kept in memory. With one more, the least recently used is forgotten."""
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]{1,8192}=*")
"""token68 of RFC 9110, 11.2: what `Authorization: Bearer` can hold."""
_ERROR_CODE = re.compile(r"[a-z_]{1,40}")
"""An error code of RFC 6749, 5.2. Other text of the server is not shown."""


class NoTokenError(OutcomeError):
    """There is no token for an attempt. `outcome` becomes that of the attempt."""


@dataclass(frozen=True)
class _Token:
    text: str
    until: float
    """When it is no longer used, in seconds of the monotonic clock."""


class Tokens:
    """Fetches and keeps tokens; a process has one. A token belongs to a webhook and to the configuration with which it
    was fetched."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress
        self._tokens: OrderedDict[str, _Token] = OrderedDict()
        self._fetching: dict[str, asyncio.Task[_Token]] = {}

    async def get(self, tenant: str, webhook_id: str, authentication: OAuth) -> str:
        """Return a token that does not expire soon; fetch one if necessary. Raises NoTokenError."""
        key = _key(tenant, webhook_id, authentication)
        known = self._tokens.get(key)
        if known and time.monotonic() < known.until:
            self._tokens.move_to_end(key)
            return known.text
        fetching = self._fetching.get(key)
        if fetching is None:
            fetching = self._fetching[key] = asyncio.create_task(self._fetch(key, tenant, authentication))
            fetching.add_done_callback(lambda _: self._fetching.pop(key, None))
        return (await asyncio.shield(fetching)).text  # other deliveries may wait for it as well

    def drop(self, tenant: str, webhook_id: str, authentication: OAuth, token: str) -> None:
        """Forget a token that the receiver refused. A newer token is kept."""
        key = _key(tenant, webhook_id, authentication)
        known = self._tokens.get(key)
        if known and known.text == token:
            del self._tokens[key]

    async def close(self) -> None:
        """Cancel the fetches that are running."""
        for fetching in list(self._fetching.values()):
            fetching.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await fetching

    async def _fetch(self, key: str, tenant: str, authentication: OAuth) -> _Token:
        """Fetch a token and keep it. Raises NoTokenError."""
        asked_at = time.monotonic()
        answer = await self._ask(tenant, authentication)
        text, type, lives = answer.get("access_token"), answer.get("token_type", "Bearer"), answer.get("expires_in")
        if not isinstance(type, str) or type.lower() != "bearer":
            raise NoTokenError(outcomes.OAUTH_FAILED, "the token endpoint gave a token that is no Bearer token")
        if not isinstance(text, str) or not _TOKEN.fullmatch(text):
            raise NoTokenError(outcomes.OAUTH_FAILED, "the token endpoint gave no usable access_token")
        seconds = _seconds(lives)
        token = _Token(text, asked_at + seconds - min(_RENEW_EARLY_SECONDS, seconds / 2))
        self._tokens[key] = token
        while len(self._tokens) > _MAX_TOKENS:
            self._tokens.popitem(last=False)
        return token

    async def _ask(self, tenant: str, authentication: OAuth) -> dict[str, Any]:
        """Return the token response. Raises NoTokenError."""
        if refusal := self._egress.refusal(authentication.token_url):  # httpx's client fails on some of these URLs
            raise NoTokenError(outcomes.ADDRESS_NOT_ALLOWED, f"the token endpoint: {refusal}")
        parameters = dict(authentication.parameters)
        if authentication.audience:
            parameters["audience"] = authentication.audience
        if isinstance(authentication, Password):
            parameters |= {"username": authentication.username, "password": authentication.password}
        client_authentication: Any = "client_secret_basic"
        if authentication.client_authentication == "body":
            # authlib's client_secret_post fails if another parameter of the body is not ASCII.
            parameters |= {"client_id": authentication.client_id, "client_secret": authentication.client_secret}
            client_authentication = _unchanged
        client = AsyncOAuth2Client(
            quote(authentication.client_id, safe=""),  # as RFC 6749, 2.3.1 requires; authlib does not
            quote(authentication.client_secret, safe=""),
            token_endpoint_auth_method=client_authentication,
            scope=authentication.scope or None,
            transport=self._egress.transport(tenant, _FETCH_SECONDS),
            trust_env=False,
        )
        try:
            # Its errors may quote the answer, which may repeat our secrets: no message is made from them.
            answer = await client.fetch_token(
                authentication.token_url,
                body=urlencode(parameters, quote_via=quote),  # passed as keywords, they could set options of the client
                grant_type="password" if isinstance(authentication, Password) else "client_credentials",
            )
        except NoAnswerError as error:
            outcome = outcomes.OAUTH_FAILED if error.outcome != outcomes.ADDRESS_NOT_ALLOWED else error.outcome
            raise NoTokenError(outcome, f"the token endpoint: {error}") from None
        except OAuthError as error:
            code = error.error if _ERROR_CODE.fullmatch(str(error.error)) else "an error"
            raise NoTokenError(outcomes.OAUTH_FAILED, f"the token endpoint answered {code}") from None
        except Exception as error:
            response = getattr(error, "response", None)
            if response is None and not isinstance(error, _NO_TOKEN_RESPONSE):
                raise  # an internal error
            said = f"{response.status_code}" if response is not None else "what is no token response"
            raise NoTokenError(outcomes.OAUTH_FAILED, f"the token endpoint answered {said}") from None
        finally:
            await client.aclose()
        return dict(answer)


_NO_TOKEN_RESPONSE = (ValueError, TypeError, AttributeError, LookupError, OverflowError)
"""What authlib raises for an answer that is not a token response."""


def _unchanged(client: object, method: str, uri: str, headers: object, body: object) -> tuple[str, object, object]:
    """A client authentication for authlib that adds nothing."""
    return uri, headers, body


def _key(tenant: str, webhook_id: str, authentication: OAuth) -> str:
    """Return the key of a token. A changed configuration gives another key. The digest reveals no secret."""
    configuration = hashlib.sha256(authentication.model_dump_json().encode()).hexdigest()
    return f"{tenant}/{webhook_id}/{configuration}"


def _seconds(lives: object) -> float:
    """Return the lifetime that `expires_in` states. Servers may leave it out, and some send it as text."""
    try:
        seconds = float(lives) if isinstance(lives, int | float | str) else math.nan
    except (ValueError, OverflowError):
        seconds = math.nan
    return min(max(seconds, 0.0), _MAX_LIFETIME_SECONDS) if math.isfinite(seconds) else _DEFAULT_LIFETIME_SECONDS
