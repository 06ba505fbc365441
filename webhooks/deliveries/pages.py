"""Pages of a list that is read from Temporal's visibility and shows only some of its rows."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from temporalio.client import WorkflowExecution

from webhooks.deliveries.windows import Position

Item = TypeVar("Item")

_MAX_ROWS_READ = 500
"""Rows that one call reads. Then it returns the page as it is, with a cursor."""


async def page(
    rows: AsyncIterator[WorkflowExecution],
    after: Position | None,
    limit: int,
    items_of: Callable[[Sequence[WorkflowExecution]], Awaitable[Sequence[Item]]],
) -> tuple[list[Item], str | None]:
    """Return a page of up to `limit` items, and the cursor of the next page; None on the last page.

    `rows` begin after the position `after`. `items_of` returns what is shown of some rows, which may be less than one
    item for each."""
    items: list[Item] = []
    chunk: list[WorkflowExecution] = []
    seen = 0
    async for row in rows:
        if len(items) >= limit or seen >= _MAX_ROWS_READ:
            assert after  # noqa: S101  set by the rows that were read
            return items, after.cursor()
        chunk.append(row)
        if len(chunk) < limit - len(items):
            continue
        items += await items_of(chunk)
        seen, after, chunk = seen + len(chunk), Position.of(row), []
    items += await items_of(chunk)
    return items, None
