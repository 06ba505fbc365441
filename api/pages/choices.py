"""What can be chosen in the filters of lists. A filter shows up to 100 values, and takes others by their name."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from api.pages.page import Page
from api.pages.shown import label

_MOST = 100


@dataclass(frozen=True)
class Choices:
    names: dict[str, str]
    """The values, each with the text that stands for it; an empty text: the value itself."""
    has_more: bool = False
    """Whether there are values that are not in `names`."""
    titles: dict[str, str] = field(default_factory=dict)
    """What else is said of a value, to a mouse that rests on it."""


async def events(page: Page, chosen: Sequence[str] = ()) -> Choices:
    """Return the events, and those that are chosen."""
    found, has_more = await _first(page, "/v1/events", "event:list")
    return Choices(dict.fromkeys([event["key"] for event in found], "") | dict.fromkeys(chosen, ""), has_more)


async def webhooks(page: Page, chosen: Sequence[str] = ()) -> Choices:
    """Return the names of the webhooks by id, and the ids of those that are chosen and not among them."""
    found, has_more = await _first(page, "/v1/webhooks", "webhook:list")
    names = {webhook["id"]: label(webhook) for webhook in found}
    urls = {webhook["id"]: webhook["url"] for webhook in found}
    return Choices(names | {id: names.get(id, "") for id in chosen}, has_more, urls)


def given(values: Sequence[str]) -> list[str] | None:
    """Return the values of a filter that are not empty; None if there are none."""
    return [value.strip() for value in values if value.strip()] or None


async def _first(page: Page, path: str, permission: str) -> tuple[list[Any], bool]:
    if not page.may(permission):
        return [], True
    found = await page.api.get(path, limit=_MOST)
    return found["items"], found["next_cursor"] is not None
