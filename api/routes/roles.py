"""Roles: named sets of permissions."""

from datetime import UTC, datetime

from fastapi import APIRouter, Response

from api.auth import needs, require_narrower
from api.deps import CurrentCaller, CurrentPlatform, Reading, Writing
from api.protocol.conditional import IfMatch, require_match, tagged
from api.protocol.merge_patch import changes_in, document_of, merged, validated
from api.protocol.problems import RESPONSES, ProblemError, require_found, responses
from api.protocol.strict_json import StrictRoute
from api.schemas.api_keys import RoleBody, RoleIn, RoleOut
from api.schemas.common import MergePatch, Page
from webhooks.identity.caller import Caller
from webhooks.identity.permissions import ROLES, known
from webhooks.store import roles as stored_roles
from webhooks.store.models import Role

router = APIRouter(prefix="/v1/roles", tags=["roles"], responses=RESPONSES, route_class=StrictRoute)

_MAX_ROLES = 100


@router.post("", dependencies=[needs("role:add")], status_code=201, responses=responses(409))
async def create_role(body: RoleIn, caller: CurrentCaller, session: Writing, response: Response) -> RoleOut:
    """Creates a role of your own. It cannot have a permission that the caller does not have."""
    require_narrower(caller, frozenset(body.permissions))
    if body.name in ROLES or await stored_roles.find(session, caller.tenant, body.name):
        raise ProblemError(409, "a role of this name already exists", errors=[("/name", "already exists")])
    if len(await stored_roles.list_by_name(session, caller.tenant)) >= _MAX_ROLES:
        raise ProblemError(409, f"there are {_MAX_ROLES} roles already; delete one first")
    role = Role(tenant=caller.tenant, **body.model_dump())
    session.add(role)
    await session.flush()
    return tagged(response, _view(role))


@router.get("", dependencies=[needs("role:list")])
async def list_roles(caller: CurrentCaller, session: Reading) -> Page[RoleOut]:
    """Lists the built-in roles, and then your own ones by name."""
    built_in = [_built_in(caller, name) for name in ROLES if known(ROLES[name], caller.tenant) == ROLES[name]]
    own = await stored_roles.list_by_name(session, caller.tenant)
    return Page(items=[*built_in, *map(_view, own)], next_cursor=None)


@router.get("/{name}", dependencies=[needs("role:list")], responses=responses(404))
async def get_role(name: str, caller: CurrentCaller, session: Reading, response: Response) -> RoleOut:
    if name in ROLES:
        return tagged(response, _built_in(caller, name))
    return tagged(response, _view(require_found("role", await stored_roles.find(session, caller.tenant, name))))


@router.patch("/{name}", dependencies=[needs("role:edit")], responses=responses(404, 409, 412))
async def change_role(
    name: str,
    patch: MergePatch,
    caller: CurrentCaller,
    platform: CurrentPlatform,
    session: Writing,
    response: Response,
    if_match: IfMatch = None,
) -> RoleOut:
    """Changes a role of your own. Keys that have it follow within a few seconds. A caller can neither give nor change
    permissions that it does not have."""
    role = await _own(session, caller, name)
    view = _view(role)
    require_match(if_match, view)
    patch = changes_in(patch, view, RoleBody)
    body = validated(RoleBody, merged(document_of(view, RoleBody), patch))
    require_narrower(caller, frozenset(body.permissions) | frozenset(role.permissions))
    role.description, role.permissions, role.updated_at = body.description, body.permissions, datetime.now(UTC)
    platform.keys.forget_after(session)
    return tagged(response, _view(role))


@router.delete("/{name}", dependencies=[needs("role:delete")], status_code=204, responses=responses(404, 409, 412))
async def delete_role(
    name: str, caller: CurrentCaller, platform: CurrentPlatform, session: Writing, if_match: IfMatch = None
) -> None:
    """Deletes a role of your own that no API key has."""
    role = await _own(session, caller, name)
    require_match(if_match, _view(role))
    if await stored_roles.is_in_use(session, caller.tenant, name):
        raise ProblemError(409, "an API key has this role; revoke the key first")
    await session.delete(role)
    platform.keys.forget_after(session)


async def _own(session: Writing, caller: Caller, name: str) -> Role:
    """Return a role that can be changed. Raises ProblemError 404 and 409."""
    if name in ROLES:
        raise ProblemError(409, "a built-in role cannot be changed; create one of your own")
    return require_found("role", await stored_roles.find(session, caller.tenant, name, lock=True))


def _built_in(caller: Caller, name: str) -> RoleOut:
    return RoleOut(
        name=name,
        description="",
        built_in=True,
        permissions=sorted(known(ROLES[name], caller.tenant)),
        created_at=None,
        updated_at=None,
    )


def _view(role: Role) -> RoleOut:
    return RoleOut(**role.model_dump(exclude={"id", "tenant"}), built_in=False)
