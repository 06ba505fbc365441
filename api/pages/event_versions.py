"""The versions of an event, and what changed from one to the next."""

import asyncio
import difflib
import itertools
from dataclasses import dataclass
from typing import Any, Literal

from api.pages.page import Page
from api.pages.shown import document

_MAX_LINES = 2_000
"""Of each document that is compared. Longer ones would take seconds."""


@dataclass(frozen=True)
class Line:
    kind: Literal["same", "added", "removed", "place"]
    text: str


@dataclass(frozen=True)
class Change:
    """What a version changed in the schema and in the template; None if it is too long to compare."""

    version: int
    schema: list[Line] | None
    template: list[Line] | None


async def versions_of(page: Page, key: str, chosen: int | None) -> tuple[list[Any], Change | None]:
    """Return the kept versions, newest first, and what the chosen one changed; without one, the newest. The oldest one
    that is kept has nothing to be compared with."""
    versions = (await page.api.get(f"/v1/events/{key}/versions", limit=100))["items"]
    for after, before in itertools.pairwise(versions):
        if chosen is None or after["version"] == chosen:
            return versions, await asyncio.to_thread(_change, before, after)
    return versions, None


def _change(before: Any, after: Any) -> Change:
    return Change(after["version"], _lines(before, after, "schema"), _lines(before, after, "template"))


def _lines(before: Any, after: Any, field: str) -> list[Line] | None:
    old, new = document(before[field]).splitlines(), document(after[field]).splitlines()
    if max(len(old), len(new)) > _MAX_LINES:
        return None
    found = list(difflib.unified_diff(old, new, lineterm=""))[2:]  # without the names of the two files
    kinds: dict[str, Literal["added", "removed", "place"]] = {"+": "added", "-": "removed", "@": "place"}
    return [Line(kinds.get(line[0], "same"), line) for line in found]
