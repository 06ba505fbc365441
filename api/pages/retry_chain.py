"""The retry chain of a delivery as a picture: where each attempt, each wait and each resend is drawn. Pure.

A wait is drawn as wide as the logarithm of its length, so that seconds can be seen beside days."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from api.pages.shown import duration, short_outcome

_FULL = 980.0
"""The width that a short chain is stretched to, in pixels. A long one is wider, and its card scrolls."""
_EDGE, _NARROWEST = 46.0, 16.0
_CHARACTER = 7.0
"""The width of a character of a label."""
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


@dataclass(frozen=True)
class Bar:
    """A wait between two marks: `backoff`, `person` or `deferred`."""

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


@dataclass
class Chain:
    width: float = 0
    marks: list[Mark] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    flags: list[Flag] = field(default_factory=list)


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
        return {"person": f"waits for a resend, {text}", "deferred": f"held back, {text}"}.get(self.kind, text)


def chain(delivery: Mapping[str, Any], now: datetime) -> Chain:
    """Return the picture of a delivery as the API shows it."""
    attempts = delivery["attempts"]
    waits = [_between(before, after) for before, after in pairwise(attempts)]
    last = _after(delivery, now)
    if last:
        waits.append(last)
    is_next = bool(delivery["next_attempt_at"]) or (not attempts and not delivery["closed_at"])
    scale = max(_NARROWEST, (_FULL - 2 * _EDGE) / max(sum(wait.weight for wait in waits), 1e-9)) if waits else 0
    scale = min(scale, 240.0)
    positions = [_EDGE]
    for wait in waits:
        positions.append(positions[-1] + max(wait.weight * scale, _NARROWEST))
    drawn = Chain(width=max(positions[-1] + _EDGE, 320))
    _draw_marks(drawn, attempts, positions)
    _draw_bars(drawn, waits, positions)
    if is_next:
        x = positions[len(attempts)] if len(attempts) < len(positions) else positions[-1]
        drawn.marks.append(Mark(x, "next", len(attempts) + 1, "next", delivery["next_attempt_at"], True))
    return drawn


def _draw_marks(drawn: Chain, attempts: Sequence[Mapping[str, Any]], positions: Sequence[float]) -> None:
    free_below, free_above = 0.0, 0.0
    for index, attempt in enumerate(attempts):
        x, label = positions[index], short_outcome(attempt["outcome"])
        if attempt["status_code"]:
            label = str(attempt["status_code"])
        half = max(len(label), 8) * _CHARACTER / 2
        is_last = index == len(attempts) - 1
        labelled = x - half >= free_below and (is_last or x + half + _GAP <= positions[len(attempts) - 1] - half)
        labelled = labelled or is_last
        if labelled:
            free_below = x + half + _GAP
        kind = "good" if attempt["outcome"] == "delivered" else "bad"
        drawn.marks.append(Mark(x, kind, attempt["number"], label, attempt["started_at"], labelled))
        if attempt["trigger"] == "resend":
            text = f"resend by {_name(attempt)}" if attempt["requested_by"] else "resend by hand"
            half = len(text) * _CHARACTER / 2
            room = x - half >= free_above
            drawn.flags.append(Flag(x, text, room))
            if room:
                free_above = x + half + _GAP


def _draw_bars(drawn: Chain, waits: Sequence[_Wait], positions: Sequence[float]) -> None:
    for index, wait in enumerate(waits):
        x, width = positions[index], positions[index + 1] - positions[index]
        drawn.bars.append(Bar(x, width, wait.kind, wait.label, len(wait.label) * _CHARACTER <= width - 12))


def _between(before: Mapping[str, Any], after: Mapping[str, Any]) -> _Wait:
    seconds = (_time(after["started_at"]) - _time(before["started_at"])).total_seconds()
    seconds -= before["duration_ms"] / 1000
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
