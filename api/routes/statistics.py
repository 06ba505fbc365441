"""How many deliveries succeeded and failed, by time."""

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter
from temporalio.service import RPCError

from api.auth import needs
from api.deps import CurrentCaller, CurrentPlatform, Terms, Time
from api.platform import Platform
from api.protocol.problems import RESPONSES, invalid
from api.protocol.strict_json import StrictRoute
from api.schemas.statistics import AwaitingResendOut, BarOut, Span, StatisticsOut
from api.visible import visible
from webhooks.deliveries.statistics import Numbers, Result, Window
from webhooks.deliveries.visibility import Filter

router = APIRouter(prefix="/v1/statistics", tags=["statistics"], responses=RESPONSES, route_class=StrictRoute)

SPANS = {
    Span.HOUR: timedelta(hours=1),
    Span.DAY: timedelta(days=1),
    Span.WEEK: timedelta(days=7),
    Span.MONTH: timedelta(days=30),
}
_LONGEST = timedelta(days=90)


@router.get("", dependencies=[needs("delivery:list")])
async def get_statistics(
    caller: CurrentCaller,
    platform: CurrentPlatform,
    window: Span = Span.DAY,
    since: Time = None,
    until: Time = None,
    webhook_id: Terms = None,
    event: Terms = None,
    occurrence_id: Terms = None,
    client_identifier: Terms = None,
) -> StatisticsOut:
    """Counts deliveries by the time when they were accepted: those of the last hours (`window`), or from `since` to
    `until`, at most 90 days. A bar is half an hour; of more than a day, it is longer. Figures are up to 7 seconds old;
    of more than 200 deliveries, what was accepted more than an hour ago is counted once a minute."""
    asked = _window(window, since, until)
    seen = await visible(platform.database, caller, webhook_id, client_identifier)
    if seen is None:
        result = Result(Numbers(), asked.empty_bars(), datetime.now(UTC))
    else:
        result = await counted(
            platform, seen.filter(caller.tenant, events=event or (), occurrence_ids=occurrence_id or ()), asked
        )
    return StatisticsOut(since=asked.since, until=until or result.as_of, **figures(result))


@router.get("/awaiting-resend", dependencies=[needs("delivery:list")])
async def get_awaiting_resend(caller: CurrentCaller, platform: CurrentPlatform) -> AwaitingResendOut:
    """Counts the deliveries that failed and wait for a resend. Up to 2 seconds old; of more than 200, up to
    10 seconds."""
    seen = await visible(platform.database, caller, None, None)
    if seen is None:
        return AwaitingResendOut(awaiting_resend=0)
    if platform.publisher is None:
        return AwaitingResendOut(awaiting_resend=None)
    try:
        number = await platform.statistics.awaiting_resend(platform.publisher.client, seen.filter(caller.tenant))
    except RPCError:
        number = None
    return AwaitingResendOut(awaiting_resend=number)


async def counted(platform: Platform, filter: Filter, window: Window) -> Result:
    """Count deliveries. The result is unknown while Temporal does not answer."""
    if platform.publisher is None:
        return window.unknown()
    try:
        return await platform.statistics.count(platform.publisher.client, filter, window)
    except RPCError:
        return window.unknown()


def figures(result: Result) -> dict[str, object]:
    """Return the fields that every answer with figures has."""
    numbers = result.numbers
    return {
        "delivered": numbers and numbers.delivered,
        "failed": numbers and numbers.failed,
        "waiting": numbers and numbers.waiting,
        "success_rate": numbers and numbers.success_rate,
        "bars": [
            BarOut(
                at=bar.at,
                delivered=bar.numbers and bar.numbers.delivered,
                failed=bar.numbers and bar.numbers.failed,
            )
            for bar in result.bars
        ],
        "as_of": result.as_of,
    }


def _window(span: Span, since: datetime | None, until: datetime | None) -> Window:
    """Return the window that was asked for. Raises ProblemError 422."""
    if since is None and until is None:
        return Window.last(SPANS[span])
    end = until or datetime.now(UTC)
    begin = since or end - SPANS[span]
    if not begin < end:
        raise invalid("since", "must be before `until`, and in the past")
    if end - begin > _LONGEST:
        raise invalid("since", "must be at most 90 days before `until`")
    return Window.of(begin, until)
