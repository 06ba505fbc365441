"""OAuth access tokens for receivers. A token is fetched once for all deliveries that wait for it, and kept in
memory."""

import asyncio
import contextlib
import hashlib
import json
import math
import re
import time
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from authlib.deprecate import AuthlibDeprecationWarning  # type: ignore[import-untyped]

with warnings.catch_warnings():  # authlib warns because it prefers another client than httpx
    warnings.simplefilter("ignore", AuthlibDeprecationWarning)
    from authlib.integrations.httpx_client import AsyncOAuth2Client  # type: ignore[import-untyped]

from webhooks import outcomes
from webhooks.credentials import masking
from webhooks.credentials.authentication import OAuth, Password
from webhooks.credentials.header_rules import MAX_VALUE_CHARACTERS
from webhooks.credentials.webhook_secrets import secret_values
from webhooks.egress.client import Answer, Egress, NoAnswerError
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
_MAX_ANSWER_BYTES = 128 * 1024
"""How much of a token endpoint's answer is read. Some have an id token or a profile beside the access token."""
_TOKEN = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
"""RFC 6749, A.12, without spaces at the ends, which a header loses."""
_BEARER = re.compile(r"\s*bearer", re.IGNORECASE)
"""The beginning of a token type that is sent as `Bearer`: Bearer, bearer, BearerToken."""
_MAX_SAID_CHARACTERS = 200
"""How much of an error or its description is shown."""


class NoTokenError(OutcomeError):
    """There is no token for an attempt. `outcome` becomes that of the attempt. `retry_after` is how many seconds the
    token endpoint asks us to wait."""

    def __init__(self, outcome: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(outcome, message)
        self.retry_after = retry_after


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
        text, seconds = _Reader(await self._ask(tenant, authentication), authentication).token()
        token = _Token(text, asked_at + seconds - min(_RENEW_EARLY_SECONDS, seconds / 2))
        self._tokens[key] = token
        while len(self._tokens) > _MAX_TOKENS:
            self._tokens.popitem(last=False)
        return token

    async def _ask(self, tenant: str, authentication: OAuth) -> Answer:
        """Return the token endpoint's answer, whatever its status. Raises NoTokenError."""
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
        client = _Client(
            quote(authentication.client_id, safe=""),  # as RFC 6749, 2.3.1 requires; authlib does not
            quote(authentication.client_secret, safe=""),
            token_endpoint_auth_method=client_authentication,
            scope=authentication.scope or None,
            transport=self._egress.transport(tenant, _FETCH_SECONDS, max_body_bytes=_MAX_ANSWER_BYTES),
            trust_env=False,
        )
        try:
            answer: Answer = await client.fetch_token(
                authentication.token_url,
                body=urlencode(parameters, quote_via=quote),  # passed as keywords, they could set options of the client
                grant_type="password" if isinstance(authentication, Password) else "client_credentials",
            )
        except NoAnswerError as error:
            outcome = outcomes.OAUTH_FAILED if error.outcome != outcomes.ADDRESS_NOT_ALLOWED else error.outcome
            said = str(error).replace("the receiver", "the server")
            raise NoTokenError(outcome, f"the token endpoint: {said}") from None
        finally:
            await client.aclose()
        return answer


class _Client(AsyncOAuth2Client):  # type: ignore[misc]
    """authlib's client, which returns the answer unread: authlib refuses good tokens for members that do not matter."""

    def parse_response_token(self, response: Any) -> Answer:
        answer: Answer = response.extensions["answer"]
        return answer


class _Reader:
    """Reads one answer of a token endpoint. Its errors name what the server said, without secrets."""

    def __init__(self, answer: Answer, authentication: OAuth) -> None:
        self._answer = answer
        self._secrets = secret_values(authentication)
        self._members = _members(answer.body)

    def token(self) -> tuple[str, float]:
        """Return the access token, and how many seconds it may be used. Raises NoTokenError."""
        members, status = self._members, self._answer.status_code or 0
        error = self._error()
        if error or not 200 <= status < 300:
            said = self._answer.error or str(status)
            raise self._failed(f"answered {said}{error and f': {error}'}")
        if not self._answer.complete:
            raise self._failed(f"gave an answer that was cut off or is longer than {_MAX_ANSWER_BYTES:,} bytes")
        if members is None:
            raise self._failed(f"answered {status} with something that is not a JSON object")
        type, token = members.get("token_type"), members.get("access_token")
        if type and not (isinstance(type, str) and _BEARER.match(type)):
            raise self._failed(f"gave a token of type {self._words(type)}; only Bearer tokens can be sent")
        if not token:
            raise self._failed(f"answered {status} without an access_token")
        if not isinstance(token, str):
            raise self._failed("gave an access_token that is not a string")
        if len(token) > MAX_VALUE_CHARACTERS:
            raise self._failed(
                f"gave an access_token of {len(token):,} characters; at most {MAX_VALUE_CHARACTERS:,} can be sent"
            )
        if not _TOKEN.fullmatch(token):
            raise self._failed("gave an access_token with characters that a header cannot hold")
        return token, _seconds(members.get("expires_in"))

    def _failed(self, what: str) -> NoTokenError:
        return NoTokenError(outcomes.OAUTH_FAILED, f"the token endpoint {what}", retry_after=self._answer.retry_after)

    def _error(self) -> str:
        """Return the error of RFC 6749, 5.2, with its description; empty if there is none."""
        members = self._members or {}
        if not members.get("error"):
            return ""
        description = members.get("error_description")
        return self._words(members["error"]) + (f" ({self._words(description)})" if description else "")

    def _words(self, said: object) -> str:
        """Return what the server said as one short line, without secrets."""
        text = masking.redact(said if isinstance(said, str) else json.dumps(said), self._secrets)
        line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
        return line if len(line) <= _MAX_SAID_CHARACTERS else line[:_MAX_SAID_CHARACTERS] + "…"


def _members(content: bytes) -> dict[str, Any] | None:
    """Return the JSON object of an answer; None if it is none. JSON is in UTF-8; some servers send Latin-1."""
    try:
        try:
            answer = json.loads(content, parse_int=_number)
        except UnicodeDecodeError:
            answer = json.loads(content.decode("latin-1"), parse_int=_number)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _number(digits: str) -> int | float:
    """Return a whole number of JSON. Python refuses to read very long ones as `int`."""
    return int(digits) if len(digits) < 20 else float(digits)


def _unchanged(client: object, method: str, uri: str, headers: object, body: object) -> tuple[str, object, object]:
    """A client authentication for authlib that adds nothing."""
    return uri, headers, body


def _key(tenant: str, webhook_id: str, authentication: OAuth) -> str:
    """Return the key of a token. A changed configuration gives another key. The digest reveals no secret."""
    configuration = hashlib.sha256(authentication.model_dump_json().encode()).hexdigest()
    return f"{tenant}/{webhook_id}/{configuration}"


def _seconds(lives: object) -> float:
    """Return how long a token may be used. `expires_in` is a number of seconds; some servers send it as text. What is
    neither, or negative, counts as not said."""
    try:
        seconds = float(lives) if isinstance(lives, int | float | str) and not isinstance(lives, bool) else math.nan
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds) or seconds < 0:
        return _DEFAULT_LIFETIME_SECONDS
    return min(seconds, _MAX_LIFETIME_SECONDS)
