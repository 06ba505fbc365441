"""Jobs: resend, replay or give up many deliveries, and see, pause and stop what does it."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from http import HTTPStatus

from fastapi import APIRouter, Request

from api.auth import needs, record_as
from api.deps import CurrentCaller, CurrentPlatform, Cursor, Limit
from api.platform import Platform
from api.protocol.idempotency import Repeatable
from api.protocol.problems import RESPONSES, ProblemError, invalid, require_found, responses
from api.protocol.strict_json import StrictRoute
from api.routes.webhooks.resource import find
from api.schemas.common import Page
from api.schemas.jobs import CancelManyIn, CountOut, DeliveryFilter, JobOut, JobStarted, ReplayIn, ResendManyIn, job_out
from webhooks.contracts import Job, JobKind, Selection
from webhooks.deliveries import jobs as stored_jobs
from webhooks.deliveries.bulk import RESENDABLE, WAITING
from webhooks.deliveries.jobs import JobView, TooManyJobsError
from webhooks.deliveries.selection import Count, count
from webhooks.deliveries.status import DeliveryStatus
from webhooks.deliveries.visibility import can_be_queried
from webhooks.identity.caller import Caller
from webhooks.ids import is_uuid, uuid7
from webhooks.publishing.replay import Replays
from webhooks.store import webhooks as stored_webhooks
from webhooks.store.idempotency import KEPT


class StartingRoute(StrictRoute):
    """Takes an `Idempotency-Key`: a call that is repeated starts no other job."""

    repeatable_status = HTTPStatus.ACCEPTED


router = APIRouter(prefix="/v1", tags=["jobs"], responses=RESPONSES, route_class=StrictRoute)
starting = APIRouter(prefix="/v1", tags=["jobs"], responses=RESPONSES, route_class=StartingRoute)

_NO_CLIENT_WEBHOOK = "none"
"""No webhook has this id."""


@starting.post("/deliveries/resend", dependencies=[needs("delivery:resend")], status_code=202, responses=responses(409))
async def resend_deliveries(
    request: Request, body: ResendManyIn, caller: CurrentCaller, platform: CurrentPlatform
) -> JobStarted:
    """Starts a job that resends all deliveries that the filter finds, oldest first. Each is sent once by the job, and
    not if it was sent since the job began. With `dry_run` it only counts them."""
    chosen = body.filter.status or [*RESENDABLE, *([DeliveryStatus.DELIVERED] if body.force else [])]
    if DeliveryStatus.PENDING in chosen:
        raise invalid("/filter/status", "what is pending is sent without a resend")
    if DeliveryStatus.DELIVERED in chosen and not body.force:
        raise invalid("/filter/status", 'what was delivered is sent again only with "force": true')
    found = _selection(await _narrowed(platform, caller, body.filter), chosen)
    job = _job(platform, caller, request, JobKind.RESEND, found, rate=body.rate, force=body.force)
    return await _start(platform, caller, request, job, dry_run=body.dry_run)


@starting.post("/deliveries/cancel", dependencies=[needs("delivery:cancel")], status_code=202, responses=responses(409))
async def cancel_deliveries(
    request: Request, body: CancelManyIn, caller: CurrentCaller, platform: CurrentPlatform
) -> JobStarted:
    """Starts a job that gives up all deliveries that the filter finds and that have not ended, oldest first. An attempt
    in progress is waited for, for some seconds. With `dry_run` it only counts them."""
    chosen = body.filter.status or WAITING
    if not {*chosen} <= {*WAITING, DeliveryStatus.FAILED}:
        raise invalid("/filter/status", "only what is pending, retrying or failed can be given up")
    found = _selection(await _narrowed(platform, caller, body.filter), chosen)
    job = _job(platform, caller, request, JobKind.CANCEL, found, rate=body.rate)
    return await _start(platform, caller, request, job, dry_run=body.dry_run)


@starting.post(
    "/webhooks/{id}/replay", dependencies=[needs("delivery:resend")], status_code=202, responses=responses(404, 409)
)
async def replay_webhook(
    id: str, request: Request, body: ReplayIn, caller: CurrentCaller, platform: CurrentPlatform
) -> JobStarted:
    """Starts a job that sends the webhook what it has missed, oldest first: occurrences that were published between
    `since` and `until`, or those that `occurrence_id` names, also while the webhook was inactive, not subscribed or not
    yet created. Its subscriptions of now decide what it gets. With `dry_run` it only counts them."""
    async with platform.database.read() as session:
        webhook, subscribed = await find(session, caller, id)
    if not webhook.active:
        raise ProblemError(409, "the webhook is inactive: activate it first")
    events = [event for _, event in subscribed]
    if not events:
        raise ProblemError(409, "the webhook has no event: subscribe it first")
    replayed = Selection(
        webhook_ids=(id,),
        events=tuple(events),
        occurrence_ids=tuple(body.occurrence_id),
        client_identifiers=_clients(caller, webhook.client_identifier),
        statuses=_values(RESENDABLE),
        since=body.since,
        until=_until(body.until),
    )
    job = _job(platform, caller, request, JobKind.REPLAY, replayed, rate=body.rate, only_missing=body.only_missing)
    return await _start(platform, caller, request, job, dry_run=body.dry_run)


@router.get("/jobs", dependencies=[needs("job:list")])
async def list_jobs(
    caller: CurrentCaller, platform: CurrentPlatform, limit: Limit = 50, cursor: Cursor = None
) -> Page[JobOut]:
    """Lists jobs, newest first. A new job appears after a short delay, and the progress of a running one is some
    minutes old; reading it by its id shows it as it is."""
    found, next_cursor = await platform.jobs.list(
        caller.tenant, client_identifier=caller.client_identifier, limit=limit, cursor=cursor
    )
    return Page(items=[_shown(caller, view) for view in found], next_cursor=next_cursor)


@router.get("/jobs/{id}", dependencies=[needs("job:list")], responses=responses(404))
async def get_job(id: str, caller: CurrentCaller, platform: CurrentPlatform) -> JobOut:
    """Returns a job and how far it has come."""
    return _shown(caller, await _find(platform, caller, id))


@router.post("/jobs/{id}/stop", dependencies=[needs("job:stop")], status_code=202, responses=responses(404, 409))
async def stop_job(id: str, request: Request, caller: CurrentCaller, platform: CurrentPlatform) -> JobOut:
    """Ends a job after the delivery that it has in hand. What it has sent stays sent. It cannot go on."""
    return await _ask(platform, caller, request, id, stored_jobs.Request.STOP)


@router.post("/jobs/{id}/pause", dependencies=[needs("job:stop")], status_code=202, responses=responses(404, 409))
async def pause_job(id: str, request: Request, caller: CurrentCaller, platform: CurrentPlatform) -> JobOut:
    """Lets a job wait, after the delivery that it has in hand, until it is resumed or stopped."""
    return await _ask(platform, caller, request, id, stored_jobs.Request.PAUSE)


@router.post("/jobs/{id}/resume", dependencies=[needs("job:stop")], status_code=202, responses=responses(404, 409))
async def resume_job(id: str, request: Request, caller: CurrentCaller, platform: CurrentPlatform) -> JobOut:
    """Lets a paused job go on where it was."""
    return await _ask(platform, caller, request, id, stored_jobs.Request.RESUME)


async def _narrowed(platform: Platform, caller: Caller, filter: DeliveryFilter) -> DeliveryFilter:
    """Return the filter as it is for the caller: a client's users reach what belongs to this client's webhooks."""
    if caller.client_identifier is None:
        return filter
    async with platform.database.read() as session:
        own = await stored_webhooks.ids_of_client(session, caller.tenant, caller.client_identifier)
    chosen = [id for id in own if not filter.webhook_id or id in filter.webhook_id]
    clients = {"webhook_id": chosen or [_NO_CLIENT_WEBHOOK], "client_identifier": [caller.client_identifier]}
    return filter.model_copy(update=clients)


def _clients(caller: Caller, owner: str | None) -> tuple[str, ...]:
    """Return the client whose occurrences a replay to a webhook of this `owner` looks at; none: all. The webhook would
    get no others, and a client's users must not learn how many there are."""
    return (owner,) if owner and (caller.client_identifier or can_be_queried(owner)) else ()


def _selection(filter: DeliveryFilter, statuses: Iterable[DeliveryStatus]) -> Selection:
    return Selection(
        webhook_ids=tuple(filter.webhook_id),
        events=tuple(filter.event),
        occurrence_ids=tuple(filter.occurrence_id),
        client_identifiers=tuple(filter.client_identifier),
        statuses=_values(statuses),
        outcomes=tuple(filter.outcome),
        since=filter.since,
        until=_until(filter.until),
        last_attempt_since=filter.last_attempt_since,
    )


def _values(statuses: Iterable[DeliveryStatus]) -> tuple[str, ...]:
    return tuple(status.value for status in statuses)


def _until(given: datetime | None) -> datetime:
    """Return the end of the time that a job is about. It is fixed when the job starts, so that the job ends."""
    now = datetime.now(UTC)
    return min(given or now, now)


def _job(
    platform: Platform,
    caller: Caller,
    request: Request,
    kind: JobKind,
    selection: Selection,
    *,
    rate: float | None,
    force: bool = False,
    only_missing: bool = True,
) -> Job:
    id = _ids(request)[-1]
    return Job(
        id=id,
        tenant=caller.tenant,
        kind=kind,
        selection=selection,
        force=force,
        only_missing=only_missing,
        rate=min(rate or platform.settings.job_rate, platform.settings.job_rate),
        requested_by=f"{caller.name} ({caller.actor}), job {id}",
        client_identifier=caller.client_identifier,
        started_at=datetime.now(UTC),
    )


async def _start(platform: Platform, caller: Caller, request: Request, job: Job, *, dry_run: bool) -> JobStarted:
    if dry_run:
        record_as(request, None)
        found = await _count(platform, job)
        return JobStarted(dry_run=CountOut(count=found.count, exact=found.exact))
    started = await _started_before(platform, caller, request)
    if started is None:
        try:
            await platform.jobs.start(job)
        except TooManyJobsError as error:
            raise ProblemError(409, f"{error}; wait for one, or stop one") from None
        started = await _find(platform, caller, job.id)
    chosen = job.selection.model_dump(mode="json", exclude_defaults=True)
    record_as(request, "job.start", started.job.id, {"kind": job.kind.value, "filter": chosen})
    return JobStarted(job=_shown(caller, started))


def _ids(request: Request) -> list[str]:
    """Return the ids that the call's job can have, that of a new job last. With an `Idempotency-Key`, there is one for
    each period for which an answer is kept, so that the same key can start another job later."""
    call: Repeatable | None = request.state.repeatable
    period = int(time.time() // KEPT.total_seconds())
    return [call.id(period - 1), call.id(period)] if call else [uuid7()]


async def _started_before(platform: Platform, caller: Caller, request: Request) -> JobView | None:
    """Return the job that the same call has started, if the process was killed before it had answered."""
    if request.state.repeatable is None:
        return None
    views = [await platform.jobs.get(caller.tenant, id) for id in _ids(request)]
    oldest = datetime.now(UTC) - KEPT
    return next((view for view in views if view and view.job.started_at > oldest), None)


async def _count(platform: Platform, job: Job) -> Count:
    if job.kind is JobKind.REPLAY and job.selection.occurrence_ids:
        return await Replays(platform.publishing, platform.database).count(job)
    return await count(platform.client, platform.deliveries, job)


async def _find(platform: Platform, caller: Caller, id: str) -> JobView:
    """Return a job that the caller may see. Raises ProblemError 404."""
    view = await platform.jobs.get(caller.tenant, id) if is_uuid(id) else None
    return require_found("job", view if view and caller.sees(view.job.client_identifier) else None)


async def _ask(platform: Platform, caller: Caller, request: Request, id: str, what: stored_jobs.Request) -> JobOut:
    view = await _find(platform, caller, id)
    if view.ended_at or not await platform.jobs.ask(caller.tenant, id, what):
        raise ProblemError(409, "the job has ended")
    record_as(request, f"job.{what}", id)
    return _shown(caller, await _find(platform, caller, id))


def _shown(caller: Caller, view: JobView) -> JobOut:
    return job_out(view, to_client=caller.client_identifier is not None)
