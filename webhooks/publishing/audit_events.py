"""Publishing the entries of the audit as operational events, to the tenants that have subscribed to them.

An entry is stored in the transaction of the change; this reads it from there a moment later. The occurrence's id is
made of the entry's id, so every process may publish every entry: it is delivered once."""

import logging
from collections import OrderedDict
from datetime import UTC, datetime, timedelta

from webhooks.contracts import Occurrence
from webhooks.deliveries.start import OccurrenceConflictError
from webhooks.events.operational import AUDIT_RECORDED
from webhooks.publishing.accept import NotAcceptedError, accept
from webhooks.publishing.publish import Publisher
from webhooks.store import audit as stored_audit
from webhooks.store import subscriptions as stored_subscriptions
from webhooks.store.database import Database
from webhooks.store.models import AuditEntry

log = logging.getLogger(__name__)

_AFTER_A_START = timedelta(hours=1)
"""How old the entries may be that a process publishes when it starts: what a killed one may have left."""
_COMMITS_LATE = timedelta(minutes=1)
"""An entry may become visible so long after others with later ids: its transaction took longer."""
_READ_AT_ONCE = 200
_MAX_REMEMBERED = 20_000


class AuditEvents:
    """Publishes new entries. A process has one."""

    def __init__(self, publisher: Publisher, database: Database) -> None:
        self._publisher = publisher
        self._database = database
        self._since = datetime.now(UTC) - _AFTER_A_START
        self._published: OrderedDict[str, None] = OrderedDict()

    async def publish_new(self) -> None:
        """Publish the entries that this process has not published. Raises what a database or Temporal raises that is
        away: the next call continues."""
        now, after, read = datetime.now(UTC), "", _READ_AT_ONCE
        async with self._database.read() as session:
            subscribed = await stored_subscriptions.tenants_of(session, AUDIT_RECORDED)
        while subscribed and read == _READ_AT_ONCE:
            async with self._database.read() as session:
                entries = await stored_audit.list_oldest_first(
                    session, subscribed.keys(), since=self._since, after=after, limit=_READ_AT_ONCE
                )
            for entry in entries:
                if entry.id not in self._published and entry.at >= subscribed[entry.tenant]:
                    await self._publish(entry)
                    self._remember(entry.id)
            read, after = len(entries), entries[-1].id if entries else ""
        self._since = now - _COMMITS_LATE

    async def _publish(self, entry: AuditEntry) -> None:
        shown = {"actor", "actor_name", "address", "action", "resource", "changes"}
        data = {"entry_id": entry.id, **entry.model_dump(include=shown), "at": entry.at.isoformat()}
        occurrence = Occurrence(id=f"audit-recorded:{entry.id}", event=AUDIT_RECORDED, occurred_at=entry.at, data=data)
        try:
            await accept(self._publisher, self._database, entry.tenant, occurrence, operational_event=True)
        except NotAcceptedError as error:  # the catalogue of the tenant may lack the event
            log.debug("%s is not published: %s", occurrence.id, error)
        except OccurrenceConflictError:
            log.info("%s was published before", occurrence.id)

    def _remember(self, id: str) -> None:
        self._published[id] = None
        if len(self._published) > _MAX_REMEMBERED:
            self._published.popitem(last=False)
