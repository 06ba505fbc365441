"""The drawn retry chain: in order, without labels over labels, for one attempt and for a hundred over days."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from api.pages.retry_chain import NARROW, WIDE, Chain, chain

BEGAN = datetime(2026, 1, 10, 10, 30, tzinfo=UTC)


def delivery(
    *waits: float, status: str = "failed", resends: tuple[int, ...] = (), outcome: str = "http_503", **fields: Any
) -> dict[str, Any]:
    """A delivery of which attempt n + 1 comes `waits[n]` seconds after attempt n."""
    at, attempts = BEGAN, []
    for number, wait in enumerate([0, *waits], start=1):
        at += timedelta(seconds=wait)
        is_last = number > len(waits)
        by_hand = number + 1 in resends
        attempts.append(
            {
                "number": number,
                "outcome": "delivered" if is_last and status == "delivered" else outcome,
                "status_code": 200 if is_last and status == "delivered" else 503 if outcome == "http_503" else None,
                "trigger": "resend" if number in resends else "event" if number == 1 else "retry",
                "requested_by": "a person with a long name (key:1)" if number in resends else None,
                "started_at": at.isoformat(),
                "duration_ms": 31.0,
                "backoff": None if is_last or by_hand else waits[number - 1],
            }
        )
    given = {"status": status, "attempts": attempts, "next_attempt_at": None, "waiting_for": None, "closed_at": None}
    return given | fields


def drawn(shown: dict[str, Any], after: float = 600, full: float = WIDE) -> Chain:
    return chain(shown, datetime.fromisoformat(shown["attempts"][-1]["started_at"]) + timedelta(seconds=after), full)


SHAPES = {
    "one": delivery(status="delivered", closed_at="2026-01-10T10:30:00Z"),
    "failed": delivery(10, 40, 160),
    "a resend": delivery(10, 400, 5, resends=(3,), status="delivered"),
    "many resends": delivery(*[1.0] * 30, resends=tuple(range(2, 32))),
    "a hundred over days": delivery(*(min(10 * 4**n, 43_200) for n in range(99))),
    "long labels": delivery(1, 1, resends=(2, 3), outcome="connection_reset"),
    "many and a next": delivery(
        *[1.0] * 60, status="retrying", waiting_for="backoff", next_attempt_at="2026-01-10T10:31:01Z"
    ),
    "next": delivery(10, status="retrying", waiting_for="backoff", next_attempt_at="2026-01-10T10:31:00Z"),
}


@pytest.mark.parametrize("full", [WIDE, NARROW])
@pytest.mark.parametrize("shape", SHAPES)
def test_marks_and_bars_are_in_order_and_inside(shape: str, full: float) -> None:
    picture = drawn(SHAPES[shape], full=full)

    assert all(after.x - before.x >= 16 for before, after in pairwise(picture.marks))
    assert all(0 < mark.x < picture.width for mark in picture.marks)
    assert all(bar.width > 0 and bar.x + bar.width < picture.width for bar in picture.bars)
    assert picture.width < 110 * 200


@pytest.mark.parametrize("full", [WIDE, NARROW])
@pytest.mark.parametrize("shape", SHAPES)
def test_labels_do_not_cover_each_other(shape: str, full: float) -> None:
    picture = drawn(SHAPES[shape], full=full)
    below = [(mark.label_x, max(len(mark.label), 8)) for mark in picture.marks if mark.labelled]
    above = [(flag.label_x, len(flag.label)) for flag in picture.flags if flag.labelled]

    for labels in (below, above):
        assert all(x + 3.5 * size <= y - 3.5 * other for (x, size), (y, other) in pairwise(labels))
        assert all(x - 3.5 * size >= 0 and x + 3.5 * size <= picture.width for x, size in labels)
    assert picture.marks[-1 - (picture.marks[-1].kind == "next")].labelled


def test_a_failed_one_waits_for_a_person() -> None:
    picture = drawn(SHAPES["failed"], after=468)

    assert [bar.kind for bar in picture.bars] == ["backoff"] * 3 + ["person"]
    assert [bar.label for bar in picture.bars] == ["10 s", "40 s", "2 min 40 s", "waits for a resend, 7 min 48 s"]
    assert [mark.kind for mark in picture.marks] == ["bad"] * 4


def test_a_resend_ends_the_wait_for_a_person() -> None:
    picture = drawn(SHAPES["a resend"])

    assert [bar.kind for bar in picture.bars] == ["backoff", "person", "backoff"]
    assert [flag.label for flag in picture.flags] == ["resend by a person with a long na…"]
    assert picture.flags[0].x == picture.marks[2].x
    assert picture.marks[-1].kind == "good"


def test_the_next_attempt_is_drawn() -> None:
    picture = drawn(SHAPES["next"])

    assert [mark.kind for mark in picture.marks] == ["bad", "bad", "next"]
    assert picture.bars[-1].kind == "backoff"


def test_a_longer_wait_is_wider() -> None:
    widths = [bar.width for bar in drawn(delivery(1, 60, 3_600, 86_400, status="delivered")).bars]

    assert widths == sorted(widths)
    assert widths[-1] < 10 * widths[0]


def test_after_a_success_nobody_is_waited_for() -> None:
    again = delivery(400, resends=(2,), status="delivered")
    again["attempts"][0] |= {"outcome": "delivered", "status_code": 200}

    assert [(bar.kind, bar.label) for bar in drawn(again).bars] == [("idle", "delivered, 6 min 40 s")]


def test_a_chain_over_days_shows_days() -> None:
    assert drawn(SHAPES["a hundred over days"]).shows_days
    assert not drawn(SHAPES["failed"]).shows_days
