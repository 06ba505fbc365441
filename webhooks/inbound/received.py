"""The list of what was received: stored occurrences, and what this process has kept of the other requests."""

from collections.abc import Collection, Sequence
from datetime import datetime

from temporalio.client import Client

from webhooks.deliveries.occurrences import Occurrences, PublishedOccurrence
from webhooks.deliveries.windows import Position
from webhooks.inbound.not_stored import STORED, LastNotStored, NotStored, Verdict

Item = PublishedOccurrence | NotStored


class ReceivedRequests:
    """Lists and reads the requests to the sources of a tenant."""

    def __init__(self, client: Client, tenant: str, recent: LastNotStored) -> None:
        self._occurrences = Occurrences(client, tenant)
        self._tenant = tenant
        self._recent = recent

    async def get(self, id: str) -> Item | None:
        """Return a request by the id of its occurrence, or by that of a NotStored. None if there is none. Raises
        RPCError."""
        if kept := self._recent.find(self._tenant, id):
            return kept
        found = await self._occurrences.get(id)
        return found if found and found.occurrence.received else None

    async def list(
        self,
        *,
        source_ids: Sequence[str],
        events: Sequence[str],
        verdicts: Collection[Verdict],
        since: datetime | None,
        until: datetime | None,
        limit: int,
        cursor: str | None,
    ) -> tuple[list[Item], str | None]:
        """Return a page, newest first, and the cursor of the next one; None on the last page. No values mean all.
        Raises BadCursorError and RPCError."""
        after = Position.from_cursor(cursor) if cursor else None
        stored: Sequence[PublishedOccurrence] = []
        following = None
        if wanted := STORED.intersection(verdicts or STORED):
            stored, following = await self._occurrences.list(
                events=events,
                client_identifiers=(),
                matched=None,
                since=since,
                until=until,
                limit=limit,
                cursor=cursor,
                received=True,
                source_ids=source_ids,
                verified=None if wanted == STORED else Verdict.VERIFIED in wanted,
            )
        end = Position.from_cursor(following) if following else None
        kept = [
            request
            for request in self._recent.of_tenant(self._tenant)
            if (not source_ids or request.source_id in source_ids)
            and (not events or request.event in events)
            and (not verdicts or request.verdict in verdicts)
            and (since is None or request.at >= since)
            and (until is None or request.at < until)
            and (after is None or request.position < after)
            and (end is None or request.position > end)
        ]
        items: list[Item] = sorted([*stored, *kept], key=lambda item: item.position, reverse=True)
        if len(items) > limit:
            items = items[:limit]
            following = items[-1].position.cursor()
        return items, following
