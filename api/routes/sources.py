"""Sources: where webhooks of other systems come from."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Body, Response
from pydantic import JsonValue

from api.auth import needs
from api.deps import CurrentCaller, CurrentPlatform, Cursor, Either, Limit, Reading, Writing
from api.platform import Platform
from api.protocol.conditional import IfMatch, require_match, tagged
from api.protocol.merge_patch import changes_in, merged, validated
from api.protocol.problems import RESPONSES, ProblemError, invalid, require_found, responses
from api.protocol.strict_json import StrictRoute
from api.schemas.common import MergePatch, Page
from api.schemas.sources import (
    RotatedSourceOut,
    RotateSourceIn,
    SecretOut,
    SourceBody,
    SourceCreated,
    SourceIn,
    SourceOut,
    VerificationOut,
    check_secret,
)
from webhooks import cursors
from webhooks.credentials.source_secrets import SourceSecrets, new_secret
from webhooks.events import operational
from webhooks.identity import audit
from webhooks.identity.caller import Caller
from webhooks.inbound.verification import SenderStyle, Verification
from webhooks.json_pointer import json_pointer
from webhooks.store import events as stored_events
from webhooks.store import sealed
from webhooks.store import sources as stored_sources
from webhooks.store.models import Source

router = APIRouter(prefix="/v1/sources", tags=["sources"], responses=RESPONSES, route_class=StrictRoute)

_SECRET = {"secret", "verify_token"}
"""Fields that are never shown."""
_RECEIVER_CHOOSES = {SenderStyle.STANDARD, SenderStyle.GITHUB, SenderStyle.KEY_VALUE, SenderStyle.BASIC}
_MAX_OLD_SECRETS = 10


@router.post("", dependencies=[needs("source:add")], status_code=201, responses=responses(409))
async def create_source(
    body: SourceIn, caller: CurrentCaller, platform: CurrentPlatform, session: Writing, response: Response
) -> SourceCreated:
    """Creates a source. `url` of the answer is what you register at the sender. Stripe, Slack and Shopify make the
    secret themselves: set it as soon as you know it; until then every request is refused."""
    await _check_events(session, caller, body)
    made = new_secret() if body.secret is None and body.verification.type in _RECEIVER_CHOOSES else None
    source = Source(tenant=caller.tenant, **_columns(body))
    secrets = _with_given(SourceSecrets(), body.secret or made, body.verify_token)
    source.sealed = sealed.seal_of_source(platform.vault, source, secrets)
    session.add(source)
    await session.flush()
    response.headers["Location"] = f"/v1/sources/{source.id}"
    return SourceCreated(**tagged(response, _view(platform, source)).model_dump(), secret=made)


@router.get("", dependencies=[needs("source:list")])
async def list_sources(
    caller: CurrentCaller,
    platform: CurrentPlatform,
    session: Reading,
    event: Either = None,
    active: bool | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[SourceOut]:
    """Lists sources, newest first. `event` selects by the event of a source, `events_by_type` aside."""
    before = cursors.decode(cursor) if cursor else None
    found = await stored_sources.list_newest_first(
        session, caller.tenant, events=event, active=active, before=before, limit=limit + 1
    )
    rows, next_cursor = cursors.page(found, limit, lambda source: source.id)
    return Page(items=[_view(platform, row) for row in rows], next_cursor=next_cursor)


@router.get("/{id}", dependencies=[needs("source:list")], responses=responses(404))
async def get_source(
    id: str, caller: CurrentCaller, platform: CurrentPlatform, session: Reading, response: Response
) -> SourceOut:
    return tagged(response, _view(platform, await _find(session, caller, id)))


@router.patch("/{id}", dependencies=[needs("source:edit")], responses=responses(404, 409, 412))
async def change_source(
    id: str,
    patch: MergePatch,
    caller: CurrentCaller,
    platform: CurrentPlatform,
    session: Writing,
    response: Response,
    if_match: IfMatch = None,
) -> SourceOut:
    """Changes the given fields. `secret` replaces all secrets immediately. `verify_token` can be null: then no
    registration is answered. A `verification` of another type replaces the old one as a whole."""
    source = await _find(session, caller, id, lock=True)
    view = _view(platform, source)
    require_match(if_match, view)
    patch = changes_in(patch, view, SourceBody)
    body = validated(SourceBody, _patched(view, patch))
    await _check_events(session, caller, body)
    for column, value in _columns(body).items():
        setattr(source, column, value)
    secrets = sealed.unseal_source(platform.vault, source)
    token = body.verify_token if "verify_token" in patch else secrets.verify_token
    changed = _with_given(secrets, body.secret, token)
    for secret in changed.secrets:
        check_secret(body.verification.type, secret.value)
    if changed != secrets:  # the audit would show a change otherwise
        source.sealed = sealed.seal_of_source(platform.vault, source, changed)
    source.updated_at = datetime.now(UTC)
    return tagged(response, _view(platform, source))


@router.post("/{id}/rotate-secret", dependencies=[needs("source:edit")], responses=responses(404, 409, 412))
async def rotate_source_secret(
    id: str,
    caller: CurrentCaller,
    platform: CurrentPlatform,
    session: Writing,
    body: RotateSourceIn = Body(default_factory=RotateSourceIn),
    if_match: IfMatch = None,
) -> RotatedSourceOut:
    """Sets a new secret. For `overlap` seconds, requests that are signed with an older one are accepted too."""
    source = await _find(session, caller, id, lock=True)
    require_match(if_match, _view(platform, source))
    style, now = Verification.model_validate(source.verification).type, datetime.now(UTC)
    if style is SenderStyle.NONE:
        raise ProblemError(409, "the source asks for no proof, and so has no secret")
    if body.secret is None and style not in _RECEIVER_CHOOSES:
        raise invalid("/secret", f"{style} makes the secret itself; give it here")
    check_secret(style, body.secret)
    secret = body.secret or new_secret()
    rotated = sealed.unseal_source(platform.vault, source).rotated(secret, body.overlap, now)
    if len(rotated.secrets) > _MAX_OLD_SECRETS + 1:
        raise ProblemError(409, f"{_MAX_OLD_SECRETS} older secrets are still in use; overlap 0 ends their use")
    source.sealed, source.updated_at = sealed.seal_of_source(platform.vault, source, rotated), now
    audit.name_edit(session, "source.rotate_secret")
    older = [each.expires_at for each in rotated.secrets[1:] if each.expires_at]
    return RotatedSourceOut(secret=secret, overlaps_until=max(older, default=None))


@router.delete("/{id}", dependencies=[needs("source:delete")], status_code=204, responses=responses(404, 412))
async def delete_source(
    id: str, caller: CurrentCaller, platform: CurrentPlatform, session: Writing, if_match: IfMatch = None
) -> None:
    """Deletes a source. Its URL answers 404 from then on. What it has received stays."""
    source = await _find(session, caller, id, lock=True)
    require_match(if_match, _view(platform, source))
    await session.delete(source)


async def _find(session: Reading, caller: Caller, id: str, *, lock: bool = False) -> Source:
    return require_found("source", await stored_sources.find(session, caller.tenant, id, lock=lock))


async def _check_events(session: Writing, caller: Caller, body: SourceBody) -> None:
    """Raise ProblemError 422 if an event does not exist, or only the platform publishes it."""
    named = {"/event": body.event}
    named |= {json_pointer(["events_by_type", name]): key for name, key in body.events_by_type.items()}
    known = {event.key for event in await stored_events.find_all(session, caller.tenant, [*named.values()])}
    for pointer, key in named.items():
        if key not in known:
            raise invalid(pointer, "no such event")
        if key in operational.KEYS:
            raise invalid(pointer, "only the platform publishes it")


def _columns(body: SourceBody) -> dict[str, Any]:
    return body.model_dump(mode="json", by_alias=True, include=set(SourceBody.model_fields) - _SECRET)


def _with_given(secrets: SourceSecrets, secret: str | None, verify_token: str | None) -> SourceSecrets:
    if secret is not None:
        secrets = secrets.rotated(secret, 0, datetime.now(UTC))
    return secrets.model_copy(update={"verify_token": verify_token})


def _patched(view: SourceOut, patch: dict[str, JsonValue]) -> dict[str, Any]:
    """Return the document that the patch makes of what is shown."""
    shown = view.model_dump(mode="json", by_alias=True)
    document = {name: shown[name] for name in SourceBody.model_fields if name not in _SECRET}
    new = patch.get("verification")
    if isinstance(new, dict) and new.get("type") not in (None, document["verification"]["type"]):
        document["verification"] = {}
    result: dict[str, Any] = merged(document, patch)
    return result


def _view(platform: Platform, source: Source) -> SourceOut:
    secrets = sealed.unseal_source(platform.vault, source)
    current = secrets.current(datetime.now(UTC))
    return SourceOut(
        **source.model_dump(exclude={"tenant", "sealed", "verification"}),
        url=f"{platform.settings.public_url or ''}/in/{source.id}",
        verification=VerificationOut(**Verification.model_validate(source.verification).model_dump()),
        secrets=[SecretOut(**secret.model_dump(exclude={"value"})) for secret in current],
        has_verify_token=secrets.verify_token is not None,
    )
