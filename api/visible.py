"""Which deliveries a caller may see."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from webhooks.deliveries.visibility import Filter
from webhooks.identity.caller import Caller
from webhooks.store import webhooks as stored_webhooks
from webhooks.store.database import Database


class Visible(NamedTuple):
    """Webhooks and clients to filter by; None means all."""

    webhook_ids: Sequence[str] | None
    client_identifiers: Sequence[str] | None

    def filter(self, tenant: str, **fields: Any) -> Filter:
        """Return the filter for deliveries that also has these fields."""
        return Filter(
            tenant, webhook_ids=self.webhook_ids or (), client_identifiers=self.client_identifiers or (), **fields
        )


async def visible(
    database: Database, caller: Caller, webhook_ids: Sequence[str] | None, client_identifiers: Sequence[str] | None
) -> Visible | None:
    """Return what the caller may see of what it asked for. A consumer token sees the deliveries of its own client to
    this client's webhooks. None if there is nothing."""
    if not caller.client_identifier:
        return Visible(webhook_ids, client_identifiers)
    async with database.read() as session:
        own = await stored_webhooks.ids_of_client(session, caller.tenant, caller.client_identifier)
    ids = [id for id in own if webhook_ids is None or id in webhook_ids]
    return Visible(ids, [caller.client_identifier]) if ids else None
