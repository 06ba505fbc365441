"""The two steps of a delivery, prepare and attempt; and a test, which does both and records nothing."""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import quote

from webhooks import USER_AGENT, outcomes
from webhooks.contracts import (
    Attempt,
    AttemptDetails,
    Delivery,
    Format,
    Occurrence,
    Prepared,
    RetryRules,
    SendInput,
    Trigger,
)
from webhooks.credentials import signing
from webhooks.credentials.authentication import KeyValuePair, OAuth
from webhooks.credentials.masking import Redaction
from webhooks.credentials.vault import Vault
from webhooks.credentials.webhook_secrets import Secrets
from webhooks.egress.client import MAX_ANSWER_BYTES, Answer, Egress
from webhooks.egress.tls import ClientCertificate
from webhooks.errors import OutcomeError
from webhooks.events import rendering
from webhooks.ids import delivery_id
from webhooks.sending import details
from webhooks.sending.deactivation import Deactivation
from webhooks.sending.oauth_tokens import NoTokenError, Tokens
from webhooks.store import sealed
from webhooks.store import webhooks as stored_webhooks
from webhooks.store.database import Database
from webhooks.store.models import Event, Webhook
from webhooks.store.webhooks import Loaded
from webhooks.telemetry.internal_errors import InternalErrors

_NOT_SUBSCRIBED = "the webhook is no longer subscribed to the event"
_JUST_LOADED_SECONDS = 0.5
"""How long `attempt` may use what `prepare` has loaded."""
_MAX_JUST_LOADED = 256
"""Kept in memory. With one more, the oldest is dropped and loaded again when needed."""
_LOAD_SECONDS = 5.0
"""How long loading from the database may take. The time does not count against the receiver."""


class NotSendableError(OutcomeError):
    """Nothing can be sent, and a retry would not help. `outcome` is one of outcomes.NEVER_SENT."""


def sendable(found: Loaded | None) -> Webhook:
    """Return the webhook, which is active and subscribed. Raises NotSendableError."""
    if found is None:
        raise NotSendableError(outcomes.WEBHOOK_DELETED, "the webhook was deleted")
    if not found.webhook.active:
        raise NotSendableError(outcomes.WEBHOOK_INACTIVE, "the webhook is inactive")
    if found.subscribed is None:
        raise NotSendableError(outcomes.SUBSCRIPTION_DELETED, _NOT_SUBSCRIBED)
    if not found.subscribed:
        raise NotSendableError(outcomes.SUBSCRIPTION_INACTIVE, "the subscription is inactive")
    return found.webhook


class _JustLoaded:
    """Keeps what `prepare` has loaded for the first attempt, which follows immediately: together they make one
    query."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], tuple[float, Loaded]] = OrderedDict()

    def keep(self, key: tuple[str, str], loaded: Loaded) -> None:
        self._kept[key] = time.monotonic(), loaded
        if len(self._kept) > _MAX_JUST_LOADED:
            self._kept.popitem(last=False)

    def take(self, key: tuple[str, str]) -> Loaded | None:
        """Remove and return what was kept, unless it is too old."""
        at, loaded = self._kept.pop(key, (0.0, None))
        return loaded if time.monotonic() - at < _JUST_LOADED_SECONDS else None


class Sender:
    """Prepares and sends deliveries. Any exception other than NotSendableError is an internal error."""

    def __init__(self, database: Database, vault: Vault, egress: Egress, *, deactivate_after: float = 0) -> None:
        """`deactivate_after` is the setting of this name, in seconds. Other parts of the process share `database` and
        `internal_errors`."""
        self.database = database
        self.internal_errors = InternalErrors()
        self._vault = vault
        self._egress = egress
        self._tokens = Tokens(egress)
        self._just_loaded = _JustLoaded()
        self._deactivation = Deactivation(database, deactivate_after, self.internal_errors)

    async def prepare(self, delivery: Delivery) -> Prepared:
        """Load the webhook and render the body, which stays the same for every attempt. Raises NotSendableError."""
        found = await self._load(delivery.tenant, delivery.webhook_id, delivery.occurrence.event)
        if found is None:
            raise NotSendableError(outcomes.WEBHOOK_DELETED, "the webhook was deleted")
        if found.event is None:
            raise NotSendableError(outcomes.SUBSCRIPTION_DELETED, _NOT_SUBSCRIBED)
        prepared = _prepared(found.webhook, found.event, delivery.occurrence)
        self._just_loaded.keep((delivery.tenant, delivery.id), found)
        return prepared

    async def attempt(self, send: SendInput, trigger: Trigger) -> Attempt:
        """Send once, with the webhook's current URL and secrets. Return the attempt, whatever its outcome."""
        started_at, clock, deactivated = datetime.now(UTC), time.monotonic(), False
        found = self._just_loaded.take((send.tenant, send.delivery_id)) or await self._load(
            send.tenant, send.webhook_id, send.event
        )
        try:
            webhook = sendable(found)
        except NotSendableError as error:
            sent = _Sent(Answer(error.outcome, error=str(error)))
        else:
            sent = await self._send(webhook, send.delivery_id, send.prepared)
            deactivated = await self._deactivation.record_attempt(webhook, sent.answer.outcome)
        attempt = _attempt(trigger, found.webhook.url if found else send.prepared.url, started_at, clock, sent)
        return attempt.model_copy(update={"deactivated": deactivated})

    async def test(self, webhook: Webhook, event: Event, occurrence: Occurrence) -> tuple[Prepared, Attempt]:
        """Send an occurrence that did not happen. Nothing is recorded, and no answer deactivates the webhook. Raises
        NotSendableError."""
        prepared = _prepared(webhook, event, occurrence)
        started_at, clock = datetime.now(UTC), time.monotonic()
        sent = await self._send(webhook, delivery_id(occurrence.id, webhook.id), prepared)
        return prepared, _attempt(Trigger.EVENT, webhook.url, started_at, clock, sent)

    async def _load(self, tenant: str, webhook_id: str, event: str) -> Loaded | None:
        async with asyncio.timeout(_LOAD_SECONDS), self.database.read() as session:
            return await stored_webhooks.load(session, tenant, webhook_id, event)

    async def close(self) -> None:
        """Stop the fetching of tokens."""
        await self._tokens.close()

    async def _send(self, webhook: Webhook, message_id: str, prepared: Prepared) -> "_Sent":
        """Send a prepared delivery. The secrets of the webhook are redacted from the result."""
        secrets = sealed.unseal(self._vault, webhook)
        body, now = prepared.body.encode(), datetime.now(UTC)
        headers = {
            **secrets.headers,
            **({"content-type": prepared.content_type} if prepared.content_type else {}),
            "user-agent": USER_AGENT,
            **signing.sign(
                secrets.signing_keys(now),
                [signing.Style(style) for style in webhook.signatures],
                message_id,
                int(now.timestamp()),
                body,
            ),
        }
        url, token, timeout = webhook.url, "", prepared.timeout
        authentication = secrets.authentication
        match authentication:
            case KeyValuePair(name=name, value=value, place="header"):
                headers[name] = value
            case KeyValuePair(name=name, value=value):
                url += f"{'&' if '?' in url else '?'}{quote(name, safe='')}={quote(value, safe='')}"
            case OAuth():
                deadline = time.monotonic() + timeout
                try:
                    async with asyncio.timeout(timeout):
                        token = await self._tokens.get(webhook.tenant, webhook.id, authentication)
                except TimeoutError:
                    return _Sent(Answer(outcomes.OAUTH_FAILED, error=f"no token within {timeout:g} s"))
                except NoTokenError as error:
                    return _Sent(Answer(error.outcome, error=str(error), retry_after=error.retry_after))
                headers["authorization"] = f"Bearer {token}"
                if (timeout := deadline - time.monotonic()) <= 0:
                    return _Sent(Answer(outcomes.OAUTH_FAILED, error="the token came too late"))
        stored = secrets.client_certificate
        certificate = ClientCertificate(stored.certificate, stored.private_key) if stored else None
        answer = await self._egress.send(
            webhook.tenant, prepared.method, url, headers, body, timeout, certificate=certificate
        )
        if isinstance(authentication, OAuth) and answer.status_code == outcomes.UNAUTHORIZED:
            self._tokens.drop(webhook.tenant, webhook.id, authentication, token)
        return _without_secrets(secrets, token, answer)


def _prepared(webhook: Webhook, event: Event, occurrence: Occurrence) -> Prepared:
    format = Format(webhook.format)
    try:
        body = rendering.render(
            event.template,
            occurrence,
            rendering.own_fields(webhook.tenant, webhook.id, occurrence, event.entity, event.action),
            format=format,
            sends_json=webhook.sends_json,
        )
    except rendering.NotRenderedError as error:
        raise NotSendableError(outcomes.NOT_RENDERED, str(error)) from None
    return Prepared(
        url=webhook.url,
        method=webhook.method,
        content_type=rendering.content_type(format, body),
        body=body,
        timeout=webhook.timeout,
        retry=RetryRules.model_validate(webhook.retry_policy),
        event_version=event.version,
    )


@dataclass(frozen=True)
class _Sent:
    """An answer, or why there is none, and how the request went. Both without secrets."""

    answer: Answer
    details: AttemptDetails | None = None


def _attempt(trigger: Trigger, url: str, started_at: datetime, clock: float, sent: _Sent) -> Attempt:
    """Return the attempt that ends now. `clock` is when it began, in seconds of the monotonic clock."""
    answer = sent.answer
    return Attempt(
        trigger=trigger,
        url=url,
        started_at=started_at,
        duration_ms=round((time.monotonic() - clock) * 1000, 1),
        outcome=answer.outcome,
        status_code=answer.status_code,
        error=answer.error,
        response_body=answer.body.decode("utf-8", "replace")[:MAX_ANSWER_BYTES] if answer.status_code else None,
        retry_after=answer.retry_after,
        details=sent.details,
    )


def _without_secrets(secrets: Secrets, token: str, answer: Answer) -> _Sent:
    """Mask the secrets of the request, and redact them from the answer: a receiver may repeat what it was sent."""
    redaction = Redaction([token, *secrets.values()] if token else secrets.values())
    error, kept = answer.error and redaction.of(answer.error), None
    if answer.exchange:
        kept = details.of(answer.exchange, answer.complete, secrets.header_names(), redaction)
    if not answer.body:
        return _Sent(replace(answer, error=error), kept)
    text = answer.body.decode("utf-8", "replace").replace("\0", "")
    return _Sent(replace(answer, error=error, body=redaction.of(text, cut=not answer.complete).encode()), kept)
