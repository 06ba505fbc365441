"""Access tokens for the receivers that ask for OAuth: fetched once however many deliveries wait, kept in memory."""

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

with warnings.catch_warnings():  # authlib prefers the successor of httpx, which is not the client of this project
    warnings.simplefilter("ignore", AuthlibDeprecationWarning)
    from authlib.integrations.httpx_client import AsyncOAuth2Client  # type: ignore[import-untyped]

from webhooks import outcomes
from webhooks.credentials.authentication import OAuth, Password
from webhooks.egress.client import Egress, NoAnswerError

_FETCH_SECONDS = 15.0
_RENEWED_EARLY = 30.0
_WITHOUT_EXPIRY = 3_600.0
"""How long a token is used whose server does not say how long it lives."""
_LONGEST = 86_400.0
_MOST_TOKENS = 10_000
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]{1,8192}=*")
"""token68 of RFC 9110, 11.2: what `Authorization: Bearer` can carry."""
_ERROR_CODE = re.compile(r"[a-z_]{1,40}")


class NoTokenError(Exception):
    """No token could be had. `outcome` is the attempt's; the message is fit for a tenant's eyes."""

    def __init__(self, outcome: str, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


@dataclass(frozen=True)
class _Token:
    text: str
    until: float
    """Monotonic seconds."""


class Tokens:
    """One for each process. A token belongs to a webhook and to the configuration that it was fetched with."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress
        self._tokens: OrderedDict[str, _Token] = OrderedDict()
        self._fetching: dict[str, asyncio.Task[_Token]] = {}

    async def get(self, tenant: str, webhook_id: str, authentication: OAuth) -> str:
        """A token that is good for a while yet. Raises NoTokenError."""
        key = _key(tenant, webhook_id, authentication)
        known = self._tokens.get(key)
        if known and time.monotonic() < known.until:
            self._tokens.move_to_end(key)
            return known.text
        fetching = self._fetching.get(key)
        if fetching is None:
            fetching = self._fetching[key] = asyncio.create_task(self._fetch(key, tenant, authentication))
            fetching.add_done_callback(lambda _: self._fetching.pop(key, None))
        return (await asyncio.shield(fetching)).text  # others wait for it too

    def drop(self, tenant: str, webhook_id: str, authentication: OAuth, token: str) -> None:
        """The receiver refused this token; a newer one stays."""
        key = _key(tenant, webhook_id, authentication)
        known = self._tokens.get(key)
        if known and known.text == token:
            del self._tokens[key]

    async def close(self) -> None:
        for fetching in list(self._fetching.values()):
            fetching.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await fetching

    async def _fetch(self, key: str, tenant: str, authentication: OAuth) -> _Token:
        asked_at = time.monotonic()
        answer = await self._ask(tenant, authentication)
        text, type, lives = answer.get("access_token"), answer.get("token_type", "Bearer"), answer.get("expires_in")
        if not isinstance(type, str) or type.lower() != "bearer":
            raise NoTokenError(outcomes.OAUTH_FAILED, "the token endpoint gave a token that is no Bearer token")
        if not isinstance(text, str) or not _TOKEN.fullmatch(text):
            raise NoTokenError(outcomes.OAUTH_FAILED, "the token endpoint gave no usable access_token")
        seconds = _seconds(lives)
        token = _Token(text, asked_at + seconds - min(_RENEWED_EARLY, seconds / 2))
        self._tokens[key] = token
        while len(self._tokens) > _MOST_TOKENS:
            self._tokens.popitem(last=False)
        return token

    async def _ask(self, tenant: str, authentication: OAuth) -> dict[str, Any]:
        if refusal := self._egress.refusal(authentication.token_url):  # httpx's own client fails on some of these
            raise NoTokenError(outcomes.ADDRESS_NOT_ALLOWED, f"the token endpoint: {refusal}")
        parameters = dict(authentication.parameters)
        if authentication.audience:
            parameters["audience"] = authentication.audience
        if isinstance(authentication, Password):
            parameters |= {"username": authentication.username, "password": authentication.password}
        client_authentication: Any = "client_secret_basic"
        if authentication.client_authentication == "body":
            # authlib's own client_secret_post fails when another parameter of the body is not ASCII.
            parameters |= {"client_id": authentication.client_id, "client_secret": authentication.client_secret}
            client_authentication = _as_it_is
        client = AsyncOAuth2Client(
            quote(authentication.client_id, safe=""),  # as RFC 6749, 2.3.1, asks of HTTP Basic; authlib does not
            quote(authentication.client_secret, safe=""),
            token_endpoint_auth_method=client_authentication,
            scope=authentication.scope or None,
            transport=self._egress.transport(tenant, _FETCH_SECONDS),
            trust_env=False,
        )
        try:
            # What it raises may quote the answer, and so our own secrets: no message is built from it.
            answer = await client.fetch_token(
                authentication.token_url,
                body=urlencode(parameters, quote_via=quote),  # as keywords they could set the client's own options
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
                raise  # ours
            said = f"{response.status_code}" if response is not None else "what is no token response"
            raise NoTokenError(outcomes.OAUTH_FAILED, f"the token endpoint answered {said}") from None
        finally:
            await client.aclose()
        return dict(answer)


_NO_TOKEN_RESPONSE = (ValueError, TypeError, AttributeError, LookupError, OverflowError)
"""What authlib raises when it reads an answer that is none."""


def _as_it_is(client: object, method: str, uri: str, headers: object, body: object) -> tuple[str, object, object]:
    """An authlib client authentication that adds nothing."""
    return uri, headers, body


def _key(tenant: str, webhook_id: str, authentication: OAuth) -> str:
    """A change of the configuration is another key; its digest holds no secret."""
    configuration = hashlib.sha256(authentication.model_dump_json().encode()).hexdigest()
    return f"{tenant}/{webhook_id}/{configuration}"


def _seconds(lives: object) -> float:
    """`expires_in`, which servers are free to leave out and known to send as text."""
    try:
        seconds = float(lives) if isinstance(lives, int | float | str) else math.nan
    except (ValueError, OverflowError):
        seconds = math.nan
    return min(max(seconds, 0.0), _LONGEST) if math.isfinite(seconds) else _WITHOUT_EXPIRY
