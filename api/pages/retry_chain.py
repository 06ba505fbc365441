"""The retry chain of a delivery as a picture: where each attempt, each wait and each resend is drawn. Pure.

A wait is drawn as wide as the logarithm of its length, so that seconds can be seen beside days."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from api.pages.shown import duration, short_outcome
from webhooks.outcomes import DELIVERED

WIDE, NARROW = 980.0, 326.0
"""The widths that a short chain is stretched to, in pixels: beside the navigation, and on a telephone. A long one is
wider, and its card scrolls."""
_EDGE, _NARROWEST = 46.0, 16.0
_CHARACTER = 7.0
"""The width of a character of a label."""
_LONGEST_WITHOUT_DAYS = 20 * 3600
"""Seconds of a whole chain."""
_TIME_CHARACTERS = 8
_GAP = 10.0
"""Between two labels."""


@dataclass(frozen=True)
class Mark:
    """An attempt, or the one that comes next (`next`)."""

    x: float
    kind: str
    number: int
    label: str
    at: str | None
    labelled: bool
    """Whether there is room for its label."""
    label_x: float
    """The middle of its label, which stays inside the picture."""


@dataclass(frozen=True)
class Bar:
    """A wait between two marks: `backoff`, `person`, `deferred`, or `idle` after a success."""

    x: float
    width: float
    kind: str
    label: str
    labelled: bool


@dataclass(frozen=True)
class Flag:
    """A resend: who asked for it, above the attempt that it made."""

    x: float
    label: str
    labelled: bool
    label_x: float


@dataclass
class Chain:
    width: float = 0
    marks: list[Mark] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    flags: list[Flag] = field(default_factory=list)
    shows_days: bool = False
    """Whether it is so long that times of day alone do not tell it."""


@dataclass(frozen=True)
class _Wait:
    kind: str
    seconds: float

    @property
    def weight(self) -> float:
        return 1 + 2.2 * math.log10(1 + max(self.seconds, 0))

    @property
    def label(self) -> str:
        text = duration(self.seconds * 1000)
        words = {"person": "waits for a resend", "deferred": "held back", "idle": "delivered"}
        return f"{words[self.kind]}, {text}" if self.kind in words else text


def chain(delivery: Mapping[str, Any], now: datetime, full: float = WIDE) -> Chain:
    """Return the picture of a delivery as the API shows it. `full`: the width that a short one is stretched to."""
    attempts = delivery["attempts"]
    waits = [_between(before, after) for before, after in pairwise(attempts)]
    last = _after(delivery, now)
    if last:
        waits.append(last)
    is_next = bool(delivery["next_attempt_at"]) or (not attempts and not delivery["closed_at"])
    scale = max(_NARROWEST, (full - 2 * _EDGE) / max(sum(wait.weight for wait in waits), 1e-9)) if waits else 0
    scale = min(scale, 240.0)
    positions = [_EDGE]
    for wait in waits:
        positions.append(positions[-1] + max(wait.weight * scale, _NARROWEST))
    drawn = Chain(width=max(positions[-1] + _EDGE, 260))
    drawn.shows_days = sum(wait.seconds for wait in waits) > _LONGEST_WITHOUT_DAYS
    _draw_marks(drawn, attempts, positions)
    _draw_bars(drawn, waits, positions)
    if is_next:
        x = positions[len(attempts)] if len(attempts) < len(positions) else positions[-1]
        _draw_next(drawn, x, len(attempts) + 1, delivery["next_attempt_at"])
    return drawn


def _draw_marks(drawn: Chain, attempts: Sequence[Mapping[str, Any]], positions: Sequence[float]) -> None:
    free_below, free_above = 0.0, 0.0
    before_last = drawn.width
    if attempts:
        before_last = _place(drawn, positions[len(attempts) - 1], _label(attempts[-1]))[0] - _GAP
    for index, attempt in enumerate(attempts):
        x, label = positions[index], _label(attempt)
        start, end = _place(drawn, x, label)
        labelled = index == len(attempts) - 1 or (start >= free_below and end <= before_last)
        if labelled:
            free_below = end + _GAP
        kind = "good" if attempt["outcome"] == "delivered" else "bad"
        middle = (start + end) / 2
        drawn.marks.append(Mark(x, kind, attempt["number"], label, attempt["started_at"], labelled, middle))
        if attempt["trigger"] == "resend":
            text = f"resend by {_name(attempt)}" if attempt["requested_by"] else "resend by hand"
            start, end = _place(drawn, x, text)
            room = start >= free_above
            drawn.flags.append(Flag(x, text, room, (start + end) / 2))
            if room:
                free_above = end + _GAP


def _draw_next(drawn: Chain, x: float, number: int, at: str | None) -> None:
    start, end = _place(drawn, x, "next")
    taken = [_place(drawn, mark.x, mark.label)[1] for mark in drawn.marks if mark.labelled]
    drawn.marks.append(Mark(x, "next", number, "next", at, start >= max(taken, default=0.0), (start + end) / 2))


def _place(drawn: Chain, x: float, label: str) -> tuple[float, float]:
    """Return where the label of a mark begins and ends: around the mark, but inside the picture. A time is below it."""
    half = max(len(label), _TIME_CHARACTERS) * _CHARACTER / 2
    middle = min(max(x, half), drawn.width - half)
    return middle - half, middle + half


def _label(attempt: Mapping[str, Any]) -> str:
    return str(attempt["status_code"] or short_outcome(attempt["outcome"]))


def _draw_bars(drawn: Chain, waits: Sequence[_Wait], positions: Sequence[float]) -> None:
    for index, wait in enumerate(waits):
        x, width = positions[index], positions[index + 1] - positions[index]
        drawn.bars.append(Bar(x, width, wait.kind, wait.label, len(wait.label) * _CHARACTER <= width - 12))


def _between(before: Mapping[str, Any], after: Mapping[str, Any]) -> _Wait:
    seconds = (_time(after["started_at"]) - _time(before["started_at"])).total_seconds()
    seconds -= before["duration_ms"] / 1000
    if before["outcome"] == DELIVERED:
        return _Wait("idle", seconds)
    if after["trigger"] == "resend" and not before["backoff"]:
        return _Wait("person", seconds)
    held_back = before["backoff"] and seconds > before["backoff"] + 60
    return _Wait("deferred" if held_back else "backoff", seconds)


def _after(delivery: Mapping[str, Any], now: datetime) -> _Wait | None:
    """Return the wait after the last attempt, if there is one."""
    if not delivery["attempts"]:
        return None
    last = delivery["attempts"][-1]
    ended = _time(last["started_at"])
    if delivery["status"] == "failed":
        return _Wait("person", (now - ended).total_seconds())
    if delivery["next_attempt_at"]:
        kind = "backoff" if delivery["waiting_for"] in ("backoff", None) else "deferred"
        return _Wait(kind, (_time(delivery["next_attempt_at"]) - ended).total_seconds())
    return None


def _name(attempt: Mapping[str, Any]) -> str:
    name = str(attempt["requested_by"]).partition(" (")[0]
    return name if len(name) <= 24 else f"{name[:23]}…"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
