"""A webhook as a resource: how it is shown, what a patch is applied to, and how a body becomes a row."""

import json
from typing import Any

from pydantic import JsonValue
from sqlmodel.ext.asyncio.session import AsyncSession

from api.protocol.merge_patch import document_of, merged, unmasked
from api.protocol.problems import require_found
from api.schemas.webhooks import WebhookBody, WebhookOut
from webhooks.contracts import RetryRules
from webhooks.credentials.signing import Style
from webhooks.credentials.vault import Vault
from webhooks.credentials.webhook_secrets import Secrets
from webhooks.store import sealed
from webhooks.store import subscriptions as stored_subscriptions
from webhooks.store import webhooks as stored_webhooks
from webhooks.store.models import Webhook
from webhooks.store.subscriptions import Subscribed

SECRET = {"headers", "authentication"}
"""Fields that are shown masked."""
_OF_SUBSCRIPTIONS = {"events", "allowed_client_identifiers", "filter"}


async def find(session: AsyncSession, tenant: str, id: str, *, lock: bool = False) -> tuple[Webhook, list[Subscribed]]:
    """Return the webhook and its subscriptions. With `lock`, no other transaction can change them until this one ends.

    Raises ProblemError 404."""
    webhook = require_found("webhook", await stored_webhooks.find(session, tenant, id, lock=lock))
    return webhook, (await stored_subscriptions.of_webhooks(session, tenant, [id], lock=lock))[id]


def patched(document: dict[str, Any], patch: dict[str, JsonValue]) -> dict[str, Any]:
    """Return the result of applying the patch to the document. Masked values keep what is stored, and an
    `authentication` of another type replaces the old one as a whole."""
    new = patch.get("authentication")
    if isinstance(new, dict) and new.get("type") not in (None, document["authentication"]["type"]):
        document = {**document, "authentication": {}}
    result: dict[str, Any] = merged(document, patch)
    result |= unmasked({name: result[name] for name in SECRET & result.keys()}, document)
    return result


def document(webhook: Webhook, subscribed: list[Subscribed], secrets: Secrets) -> dict[str, Any]:
    """Return the webhook as it was configured, with its secrets: the document that a patch is applied to."""
    shown = document_of(view(webhook, subscribed), WebhookBody)
    return shown | {
        "allowedClientIdentifiers": shown["allowedClientIdentifiers"] or [],
        "headers": secrets.headers,
        "authentication": secrets.authentication.model_dump(mode="json", by_alias=True),
    }


def set_columns(vault: Vault, webhook: Webhook, body: WebhookBody, secrets: Secrets) -> None:
    """Set the webhook's columns from the body, with its secrets sealed."""
    columns = body.model_dump(mode="json", include=set(WebhookBody.model_fields) - _OF_SUBSCRIPTIONS - SECRET)
    for column, value in (columns | sealed.seal(vault, webhook.tenant, webhook.id, secrets)).items():
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
