"""API keys."""

from fastapi import APIRouter, Response

from api.auth import needs, require_narrower
from api.deps import CurrentCaller, CurrentPlatform, Cursor, Limit, Reading, Writing
from api.protocol.problems import RESPONSES, ProblemError, invalid, require_found, responses
from api.protocol.strict_json import StrictRoute
from api.schemas.api_keys import ApiKeyCreated, ApiKeyIn, ApiKeyOut
from api.schemas.common import Page
from webhooks import cursors
from webhooks.identity.keyring import new_key, permissions_of
from webhooks.identity.permissions import ROLES, administrator_of
from webhooks.store import api_keys as stored_keys
from webhooks.store import roles as stored_roles
from webhooks.store.models import ApiKey

router = APIRouter(prefix="/v1/api-keys", tags=["api keys"], responses=RESPONSES, route_class=StrictRoute)


@router.post("", dependencies=[needs("key:add")], status_code=201)
async def create_api_key(body: ApiKeyIn, caller: CurrentCaller, session: Writing, response: Response) -> ApiKeyCreated:
    """Creates an API key. Only this response shows it. It cannot have a permission that the caller does not have, and
    cannot outlive a key or token that makes it and expires."""
    if body.role and body.role not in ROLES and not await stored_roles.find(session, caller.tenant, body.role):
        raise invalid("/role", f"no such role; use {', '.join(ROLES)}, or create it with POST /v1/roles")
    # Of a built-in role, all: permissions_of leaves out what this tenant cannot have.
    wanted = ROLES.get(body.role or "") or await permissions_of(session, caller.tenant, body.role, body.permissions)
    require_narrower(caller, wanted | frozenset(body.permissions or ()))
    if caller.lasts_until and (body.expires_at is None or body.expires_at > caller.lasts_until):
        raise ProblemError(403, "the key must expire before the key or token that makes it; give expires_at")
    if caller.publish_rate and "occurrence:publish" in wanted | frozenset(body.permissions or ()):
        raise ProblemError(403, "a key with a publish_rate cannot make another one that publishes")
    key = new_key()
    row = stored_keys.add(
        session,
        tenant=caller.tenant,
        name=body.name,
        key=key,
        role=body.role,
        permissions=body.permissions,
        expires_at=body.expires_at,
        created_by=caller.actor,
        publish_rate=body.publish_rate,
    )
    await session.flush()
    response.headers["Location"] = f"/v1/api-keys/{row.id}"
    return ApiKeyCreated(**_view(row).model_dump(), key=key)


@router.get("", dependencies=[needs("key:list")])
async def list_api_keys(
    caller: CurrentCaller, session: Reading, limit: Limit = 50, cursor: Cursor = None
) -> Page[ApiKeyOut]:
    """Lists API keys, newest first."""
    before = cursors.decode(cursor) if cursor else None
    found = await stored_keys.list_newest_first(session, caller.tenant, before=before, limit=limit + 1)
    rows, next_cursor = cursors.page(found, limit, lambda key: key.id)
    return Page(items=[_view(row) for row in rows], next_cursor=next_cursor)


@router.get("/{id}", dependencies=[needs("key:list")], responses=responses(404))
async def get_api_key(id: str, caller: CurrentCaller, session: Reading) -> ApiKeyOut:
    return _view(require_found("API key", await stored_keys.get(session, caller.tenant, id)))


@router.delete("/{id}", dependencies=[needs("key:delete")], status_code=204, responses=responses(404, 409))
async def revoke_api_key(id: str, caller: CurrentCaller, platform: CurrentPlatform, session: Writing) -> None:
    """Revokes an API key: within a few seconds no process accepts it. The tenant's last administrator's key that does
    not expire cannot be revoked, because nobody could make another one."""
    last = administrator_of(caller.tenant)
    lasting = await stored_keys.lasting_with_role(session, caller.tenant, last)
    row = require_found("API key", await stored_keys.get(session, caller.tenant, id, lock=True))
    if [key.id for key in lasting] == [row.id]:
        raise ProblemError(
            409, f"it is the last key with the role {last} that does not expire; create another one first"
        )
    await session.delete(row)
    platform.keys.forget_after(session)


def _view(row: ApiKey) -> ApiKeyOut:
    return ApiKeyOut.model_validate(row)
