"""Who changed what: each change of configuration leaves an entry in the same transaction.

A session that knows its author records every change of the rows in `_AUDITED` when it flushes, whichever code makes
the change. So no route can forget it."""

import asyncio
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import JsonValue
from sqlalchemy import event, inspect
from sqlalchemy.orm import Session
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks.identity.caller import Caller
from webhooks.store.database import Database
from webhooks.store.models import ApiKey, AuditEntry, Event, Role, Source, Subscription, Tenant, Webhook

log = logging.getLogger(__name__)

ASKED_FOR = frozenset({"delivery:resend", "job:stop", "delivery:cancel", "webhook:test", "occurrence:erase"})
"""Permissions of calls that change no row and are recorded when they succeed."""
REFUSED = "access.refused"
"""The action of a refusal: an expired key, or a missing permission."""
CHANGED = "changed"
"""Stands for values that are secret, personal or long."""

_MAX_CHARACTERS = 1_000
"""Of a value in JSON."""
_REPEATED_SECONDS = 60.0
_MAX_REMEMBERED = 10_000
_AUTHOR, _EDIT, _RECORDED = "audit.author", "audit.edit", "audit.recorded"


@dataclass(frozen=True)
class _Audited:
    """`id` is the attribute by which the API names the resource. `shown` are the attributes with the names that the API
    gives them. Of a `hidden` one, only the fact of its change is recorded."""

    resource: str
    id: str
    shown: dict[str, str]
    hidden: dict[str, str]


def _same(names: str) -> dict[str, str]:
    return {name: name for name in names.split()}


_AUDITED: dict[type[SQLModel], _Audited] = {
    Event: _Audited(
        "event",
        "key",
        _same("key entity action description active owner_required template") | {"json_schema": "schema"},
        _same("sample"),
    ),
    Webhook: _Audited(
        "webhook",
        "id",
        _same("client_identifier name url method description format sends_json signatures active bulk")
        | _same("retry_policy timeout"),
        _same("headers authentication client_certificate") | {"sealed": "secrets"},
    ),
    Subscription: _Audited(
        "subscription",
        "id",
        _same("webhook_id active filter") | {"allowed_client_identifiers": "allowedClientIdentifiers"},
        {},
    ),
    Source: _Audited(
        "source",
        "id",
        _same("name event events_by_type client_identifier verification duplicate_window active"),
        {"sealed": "secrets"},
    ),
    ApiKey: _Audited("key", "id", _same("name role permissions publish_rate expires_at"), {}),
    Role: _Audited("role", "name", _same("name description permissions"), {}),
    Tenant: _Audited("tenant", "id", _same("name suspended deleting_since"), {}),
}

ACTIONS = sorted(
    {f"{audited.resource}.{what}" for audited in _AUDITED.values() for what in ("add", "edit", "delete")}
    | {permission.replace(":", ".") for permission in ASKED_FOR}
    | {REFUSED, "session.add", "token.add", "webhook.rotate_secret"}
)
"""What an entry's action can be."""


def begin(session: AsyncSession, caller: Caller, address: str) -> None:
    """Record every change that the session makes as this caller's."""
    session.info[_AUTHOR] = caller, address


def name_edit(session: AsyncSession, action: str) -> None:
    """Record the edit that follows under a name of its own."""
    session.info[_EDIT] = action


def entry(caller: Caller, address: str, action: str, resource: str, changes: dict[str, JsonValue]) -> AuditEntry:
    """Return an entry to be added to a session."""
    return AuditEntry(
        tenant=caller.tenant,
        actor=caller.actor,
        actor_name=caller.name,
        address=address,
        action=action,
        resource=resource,
        changes=changes,
    )


class Refusals:
    """Records what was refused. A client that repeats a call in a loop must not fill the table."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: OrderedDict[tuple[str, ...], float] = OrderedDict()
        self._writing: set[asyncio.Task[None]] = set()

    def record(self, caller: Caller, address: str, call: str, permission: str, reason: str) -> None:
        """Record that a known caller was refused, at most once a minute for each call. Nobody waits for it: the call
        may still hold a transaction."""
        if self.is_new(caller.actor, call):
            refusal = entry(caller, address, REFUSED, call, {"permission": permission, "reason": reason})
            task = asyncio.create_task(self._write(refusal))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    async def _write(self, refusal: AuditEntry) -> None:
        try:
            async with self._database.write() as session:
                session.add(refusal)
        except Exception as error:  # the answer does not depend on it
            log.warning("cannot record that %s was refused: %s", refusal.actor, type(error).__name__)

    async def close(self) -> None:
        """Wait for what is being written."""
        await asyncio.gather(*self._writing)

    def is_new(self, *what: str) -> bool:
        """Return whether the same was not refused during the last minute, and remember it."""
        now = time.monotonic()
        if now - self._seen.get(what, -_REPEATED_SECONDS) < _REPEATED_SECONDS:
            return False
        self._seen[what] = now
        self._seen.move_to_end(what)
        if len(self._seen) > _MAX_REMEMBERED:
            self._seen.popitem(last=False)
        return True


@event.listens_for(Session, "before_flush")
def _record(session: Session, *_: object) -> None:
    if _AUTHOR not in session.info:
        return
    caller, address = session.info[_AUTHOR]
    recorded: dict[tuple[str, str], AuditEntry] = session.info.setdefault(_RECORDED, {})
    for row, what in _changed(session):
        audited = _AUDITED.get(type(row))
        # A new tenant's first rows are part of its creation.
        if audited is None or getattr(row, "tenant", caller.tenant) != caller.tenant:
            continue
        changes = _changes(row, audited, what)
        if not changes:
            continue
        id = str(getattr(row, audited.id))
        earlier = recorded.get((audited.resource, id))
        if earlier and what == "edit":  # an earlier flush of the same transaction
            earlier.changes = _merged(earlier.changes, changes)
            continue
        edit = session.info.get(_EDIT) if what == "edit" else None
        made = entry(caller, address, edit or f"{audited.resource}.{what}", id, changes)
        recorded[audited.resource, id] = made
        session.add(made)


def _changed(session: Session) -> Iterator[tuple[SQLModel, str]]:
    for what, rows in (("add", session.new), ("edit", session.dirty), ("delete", session.deleted)):
        for row in list(rows):
            yield row, what


def _changes(row: SQLModel, audited: _Audited, what: str) -> dict[str, JsonValue]:
    """Return each changed field as [before, after], or CHANGED."""
    found: dict[str, JsonValue] = {}
    attributes = inspect(row).attrs
    for name, shown in (audited.shown | audited.hidden).items():
        after, history = getattr(row, name), attributes[name].history
        before = history.deleted[0] if history.deleted else None
        if what == "delete":
            before, after = after, None
        elif what == "edit" and not history.has_changes():
            continue
        if before == after or (what != "edit" and (after or before) in (None, "", [], {})):
            continue
        pair: JsonValue = [_json(before), _json(after)]
        found[shown] = CHANGED if name in audited.hidden or len(json.dumps(pair)) > _MAX_CHARACTERS else pair
    return found


def _merged(earlier: dict[str, JsonValue], later: dict[str, JsonValue]) -> dict[str, JsonValue]:
    result = dict(earlier)
    for name, pair in later.items():
        known = earlier.get(name)
        result[name] = [known[0], pair[1]] if isinstance(known, list) and isinstance(pair, list) else pair
    return result


def _json(value: Any) -> JsonValue:
    if isinstance(value, datetime):
        return value.isoformat()
    result: JsonValue = value if not isinstance(value, bytes) else CHANGED
    return result
