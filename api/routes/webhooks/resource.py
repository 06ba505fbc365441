"""A webhook as a resource: how it is shown, what a patch is applied to, and how a body becomes a row."""

import json
from datetime import UTC, datetime
from typing import Any

from pydantic import JsonValue
from sqlmodel.ext.asyncio.session import AsyncSession

from api.protocol.merge_patch import document_of, merged, unmasked
from api.protocol.problems import invalid, require_found
from api.schemas.webhooks import ClientCertificateIn, WebhookBody, WebhookOut
from webhooks.contracts import RetryRules
from webhooks.credentials.client_certificate import BadPartError, ClientCertificate, check
from webhooks.credentials.signing import Style
from webhooks.credentials.vault import Vault
from webhooks.credentials.webhook_secrets import Secrets
from webhooks.egress import tls
from webhooks.events import operational
from webhooks.identity.caller import Caller
from webhooks.store import sealed
from webhooks.store import subscriptions as stored_subscriptions
from webhooks.store import webhooks as stored_webhooks
from webhooks.store.models import Webhook
from webhooks.store.subscriptions import Subscribed

SECRET = {"headers", "authentication", "client_certificate"}
"""Fields that are shown masked."""
_OF_SUBSCRIPTIONS = {"events", "allowed_client_identifiers", "filter"}


async def find(
    session: AsyncSession, caller: Caller, id: str, *, lock: bool = False
) -> tuple[Webhook, list[Subscribed]]:
    """Return the webhook and its subscriptions. With `lock`, no other transaction can change them until this one ends.

    Raises ProblemError 404."""
    found = await stored_webhooks.find(session, caller.tenant, id, lock=lock)
    webhook = require_found("webhook", found if found and caller.sees(found.client_identifier) else None)
    return webhook, (await stored_subscriptions.of_webhooks(session, caller.tenant, [id], lock=lock))[id]


def clients_of(owner: str | None, clients: list[str], pointer: str = "/allowedClientIdentifiers") -> list[str]:
    """Return the clients of a subscription whose webhook belongs to `owner`. Raises ProblemError 422 if it names
    others."""
    if owner is None or clients == [owner]:
        return clients
    raise invalid(pointer, "the webhook belongs to one client, and can have only that one's identifier here")


def subscribable(owner: str | None, event: str, pointer: str) -> None:
    """Raise ProblemError 422 if a webhook of `owner` cannot have this event: operational events tell of webhooks of
    others."""
    if owner is not None and event in operational.KEYS:
        raise invalid(pointer, "a webhook that belongs to a client cannot have operational events")


def patched(document: dict[str, Any], patch: dict[str, JsonValue]) -> dict[str, Any]:
    """Return the result of applying the patch to the document. Masked values keep what is stored, and an
    `authentication` of another type replaces the old one as a whole."""
    new = patch.get("authentication")
    if isinstance(new, dict) and new.get("type") not in (None, document["authentication"]["type"]):
        document = {**document, "authentication": {}}
    result: dict[str, Any] = merged(document, patch)
    result |= unmasked({name: result[name] for name in SECRET & result.keys()}, document)
    return result


def writable(patch: dict[str, JsonValue], shown: WebhookOut) -> dict[str, JsonValue]:
    """Return the patch without the members of its client certificate that are only shown and have not changed: a client
    may send back what it read."""
    given = patch.get("client_certificate")
    if not isinstance(given, dict) or shown.client_certificate is None:
        return patch
    known = shown.client_certificate.model_dump(mode="json")
    kept = {
        name: value
        for name, value in given.items()
        if name in ClientCertificateIn.model_fields or value != known.get(name)
    }
    return {**patch, "client_certificate": kept}


def client_certificate(body: WebhookBody, stored: ClientCertificate | None) -> ClientCertificate | None:
    """Return the client certificate that the webhook is to have. One that is stored already is not checked again: an
    expired one must not stop other changes. Raises ProblemError 422."""
    if body.client_certificate is None:
        return None
    given = ClientCertificate(**body.client_certificate.model_dump())
    if given == stored:
        return stored
    try:
        check(given, datetime.now(UTC))
        tls.check(tls.ClientCertificate(given.certificate, given.private_key))
    except BadPartError as error:
        raise invalid(f"/client_certificate/{error.part}", str(error)) from None
    except tls.BadCertificateError as error:
        raise invalid("/client_certificate/certificate", str(error)) from None
    return given


def document(webhook: Webhook, subscribed: list[Subscribed], secrets: Secrets) -> dict[str, Any]:
    """Return the webhook as it was configured, with its secrets: the document that a patch is applied to."""
    shown = document_of(view(webhook, subscribed), WebhookBody)
    return shown | {
        "allowedClientIdentifiers": shown["allowedClientIdentifiers"] or [],
        "headers": secrets.headers,
        "authentication": secrets.authentication.model_dump(mode="json", by_alias=True),
        "client_certificate": secrets.client_certificate and secrets.client_certificate.model_dump(),
    }


def set_columns(vault: Vault, webhook: Webhook, body: WebhookBody, secrets: Secrets) -> None:
    """Set the webhook's columns from the body, with its secrets sealed. What is sealed stays if no secret changes: the
    audit would show a change otherwise."""
    columns = body.model_dump(mode="json", include=set(WebhookBody.model_fields) - _OF_SUBSCRIPTIONS - SECRET)
    if not webhook.sealed or sealed.unseal(vault, webhook) != secrets:
        columns |= sealed.seal(vault, webhook.tenant, webhook.id, secrets)
    for column, value in columns.items():
        setattr(webhook, column, value)


def differ(subscribed: list[Subscribed], column: str) -> bool:
    """Return whether a webhook's subscriptions have different values in a column."""
    return len({json.dumps(getattr(subscription, column)) for subscription, _ in subscribed}) > 1


def public_key(webhook: Webhook) -> str | None:
    return webhook.public_key if Style.V1A in webhook.signatures else None


def view(webhook: Webhook, subscribed: list[Subscribed]) -> WebhookOut:
    first = subscribed[0][0] if subscribed else None
    same_clients, same_filter = (not differ(subscribed, column) for column in ("allowed_client_identifiers", "filter"))
    keys = [event for _, event in subscribed]
    return WebhookOut(
        **webhook.model_dump(exclude={"tenant", "sealed", "public_key", "retry_policy"}),
        event=keys[0] if len(keys) == 1 else None,
        events=keys,
        allowed_client_identifiers=(first.allowed_client_identifiers if first else []) if same_clients else None,
        filter=first.filter if first and same_filter else None,
        public_key=public_key(webhook),
        retry_policy=RetryRules.model_validate(webhook.retry_policy),
    )
