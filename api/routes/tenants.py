"""Tenants: owners of events, webhooks and deliveries. Only the installation's administrator sees them."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.auth import needs
from api.deps import CurrentCaller, CurrentPlatform, Cursor, Limit, Reading, Writing
from api.protocol.conditional import IfMatch, require_match, tagged
from api.protocol.merge_patch import changes_in, document_of, merged, validated
from api.protocol.problems import RESPONSES, ProblemError, require_found, responses
from api.protocol.strict_json import StrictRoute
from api.schemas.api_keys import ApiKeyCreated, ApiKeyOut
from api.schemas.common import MergePatch, Page
from api.schemas.tenants import TenantBody, TenantCreated, TenantIn, TenantOut
from webhooks import cursors
from webhooks.events import seed
from webhooks.identity.keyring import new_key
from webhooks.identity.permissions import ADMINISTRATOR, HOME
from webhooks.store import api_keys as stored_keys
from webhooks.store import tenants as stored_tenants
from webhooks.store.models import Tenant

router = APIRouter(prefix="/v1/tenants", tags=["tenants"], responses=RESPONSES, route_class=StrictRoute)


@router.post("", dependencies=[needs("tenant:add")], status_code=201, responses=responses(409))
async def create_tenant(body: TenantIn, caller: CurrentCaller, session: Writing, response: Response) -> TenantCreated:
    """Creates a tenant with its first API key, which has the role `administrator`. Only this response shows the key."""
    if await stored_tenants.is_taken(session, body.id):
        raise ProblemError(409, "a tenant with this id exists, or is being deleted", errors=[("/id", "is taken")])
    tenant = Tenant(**body.model_dump())
    session.add(tenant)
    key = new_key()
    row = stored_keys.add(
        session, tenant=tenant.id, name="first administrator", key=key, role=ADMINISTRATOR, created_by=caller.actor
    )
    await seed.provide_for(session, tenant.id)
    await session.flush()
    response.headers["Location"] = f"/v1/tenants/{tenant.id}"
    shown = tagged(response, _view(tenant))
    first = ApiKeyCreated(**ApiKeyOut.model_validate(row).model_dump(), key=key)
    return TenantCreated(**shown.model_dump(), administrator=first)


@router.get("", dependencies=[needs("tenant:list")])
async def list_tenants(_: CurrentCaller, session: Reading, limit: Limit = 50, cursor: Cursor = None) -> Page[TenantOut]:
    """Lists tenants, ordered by id."""
    after = cursors.decode(cursor) if cursor else None
    found = await stored_tenants.list_by_id(session, after=after, limit=limit + 1)
    rows, next_cursor = cursors.page(found, limit, lambda tenant: tenant.id)
    return Page(items=[_view(row) for row in rows], next_cursor=next_cursor)


@router.get("/{id}", dependencies=[needs("tenant:list")], responses=responses(404))
async def get_tenant(id: str, _: CurrentCaller, session: Reading, response: Response) -> TenantOut:
    return tagged(response, _view(require_found("tenant", await stored_tenants.find(session, id))))


@router.patch("/{id}", dependencies=[needs("tenant:edit")], responses=responses(404, 409, 412))
async def change_tenant(
    id: str,
    patch: MergePatch,
    _: CurrentCaller,
    platform: CurrentPlatform,
    session: Writing,
    response: Response,
    if_match: IfMatch = None,
) -> TenantOut:
    """Changes a tenant. A suspended one cannot publish or send tests, and its deliveries wait; waiting uses no attempt.
    Other processes follow within a few seconds. When the suspension ends, the deliveries go on."""
    tenant = require_found("tenant", await stored_tenants.find(session, id, lock=True))
    view = _view(tenant)
    require_match(if_match, view)
    patch = changes_in(patch, view, TenantBody)
    body = validated(TenantBody, merged(document_of(view, TenantBody), patch))
    if body.suspended and id == HOME:
        raise ProblemError(409, f"the tenant {HOME} cannot be suspended", errors=[("/suspended", "must be false")])
    tenant.name, tenant.suspended, tenant.updated_at = body.name, body.suspended, datetime.now(UTC)
    platform.keys.forget_after(session)
    return tagged(response, _view(tenant))


@router.delete("/{id}", dependencies=[needs("tenant:delete")], status_code=202, responses=responses(404, 409, 412))
async def delete_tenant(
    id: str,
    _: CurrentCaller,
    platform: CurrentPlatform,
    session: Writing,
    if_match: IfMatch = None,
    confirm: Annotated[str | None, Query(description="The id of the tenant once more")] = None,
) -> None:
    """Deletes a tenant with everything that it owns: configuration, deliveries and their history. Without `confirm`,
    nothing is deleted, and the answer is a 409. Its keys end immediately, and nothing more is sent. The rest is deleted
    in the background; until then, its id cannot be used again."""
    tenant = require_found("tenant", await stored_tenants.find(session, id, lock=True))
    require_match(if_match, _view(tenant))
    if id == HOME:
        raise ProblemError(409, f"the tenant {HOME} cannot be deleted")
    if confirm != id:
        raise ProblemError(
            409,
            f"this deletes everything that the tenant owns; to do it, repeat the call with ?confirm={id}",
            errors=[("confirm", f"must be {id}")],
        )
    tenant.deleting_since = datetime.now(UTC)
    await stored_keys.revoke_all(session, id)
    platform.keys.forget_after(session)


def _view(tenant: Tenant) -> TenantOut:
    return TenantOut.model_validate(tenant)
