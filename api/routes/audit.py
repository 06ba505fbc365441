"""The audit: who changed what."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.responses import StreamingResponse

from api.auth import needs
from api.deps import CurrentCaller, CurrentPlatform, Cursor, Limit, Term, Time
from api.protocol.problems import RESPONSES
from api.protocol.strict_json import StrictRoute
from api.schemas.audit import AuditOut
from api.schemas.common import Page
from webhooks import cursors
from webhooks.store import audit as stored_audit
from webhooks.store.database import Database

router = APIRouter(prefix="/v1/audit", tags=["audit"], responses=RESPONSES, route_class=StrictRoute)

_JSON_LINES = "application/jsonl"
_READ_AT_ONCE = 500
_ATTACHED = {"Content-Disposition": 'attachment; filename="audit.jsonl"'}
_EXPORT: dict[int | str, dict[str, Any]] = {200: {"content": {_JSON_LINES: {"schema": {"type": "string"}}}}}


@router.get("", dependencies=[needs("audit:list")], responses=_EXPORT, response_model=Page[AuditOut])
async def list_audit(
    caller: CurrentCaller,
    platform: CurrentPlatform,
    actor: Term | None = None,
    action: Term | None = None,
    resource: Term | None = None,
    since: Time = None,
    until: Time = None,
    format: Annotated[
        Literal["json", "jsonl"], Query(description="`jsonl`: all entries that match, one on a line, without pages")
    ] = "json",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Any:
    """Lists who changed what, newest first: changes of configuration, resends, tests and refusals. `since` and `until`
    are compared with `at`."""
    select = partial(
        stored_audit.list_newest_first,
        tenant=caller.tenant,
        actor=actor,
        action=action,
        resource=resource,
        since=since,
        until=until,
    )
    before = cursors.decode(cursor) if cursor else None
    if format == "jsonl":
        return StreamingResponse(_lines(platform.database, select, before), media_type=_JSON_LINES, headers=_ATTACHED)
    async with platform.database.read() as session:
        found = await select(session, before=before, limit=limit + 1)
    rows, next_cursor = cursors.page(found, limit, lambda entry: entry.id)
    return Page(items=[AuditOut.model_validate(row) for row in rows], next_cursor=next_cursor)


async def _lines(database: Database, select: Any, before: str | None) -> AsyncIterator[bytes]:
    while True:
        async with database.read() as session:
            rows = await select(session, before=before, limit=_READ_AT_ONCE)
        yield b"".join(AuditOut.model_validate(row).model_dump_json().encode() + b"\n" for row in rows)
        if len(rows) < _READ_AT_ONCE:
            return
        before = rows[-1].id
