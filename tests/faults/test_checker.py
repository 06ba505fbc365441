"""The judge of `make test-faults` finds what is wrong."""

import pytest

from tests.faults.checker import Exposure, check
from tests.faults.ledger import Arrived, Tried

TRIED = Tried("load-1", at=10, status=202, body="digest")
ARRIVED = Arrived("load-1~hook", at=11, status=200, hold=0.1, body="digest", verified=True)
SHOWN = {"status": "delivered", "attempts": [{"status_code": 200}]}
TIMED_OUT = {"status": "delivered", "attempts": [{"status_code": None}, {"status_code": 200}]}
RETRIED = {"status": "delivered", "attempts": [{"status_code": 503}, {"status_code": 200}]}


def again(**fields: object) -> Arrived:
    return Arrived(**{**vars(ARRIVED), **fields})


@pytest.mark.parametrize(
    ("tries", "arrivals", "shown", "said"),
    [
        ([TRIED], [ARRIVED], SHOWN, None),
        ([TRIED, Tried("load-1", 9, 0, "digest")], [ARRIVED], SHOWN, None),
        (
            [TRIED],
            [again(status=503), ARRIVED],
            RETRIED,
            None,
        ),
        ([TRIED], [again(at=19.9), again(at=30)], SHOWN, None),
        ([TRIED], [again(at=18.95), again(at=30)], SHOWN, None),
        ([TRIED], [again(at=19.9), again(at=30)], TIMED_OUT, None),
        ([TRIED], [again(at=15), again(at=30)], TIMED_OUT, "attempts [None, 200]"),
        ([TRIED], [again(at=15), again(at=30)], SHOWN, "no fault explains it"),
        ([TRIED], [again(at=19.9), again(at=30), again(at=31)], SHOWN, "no fault explains it"),
        ([TRIED], [], SHOWN, "received []"),
        ([TRIED], [again(status=503)], {**SHOWN, "status": "retrying"}, "retrying in the monitor"),
        ([TRIED], [ARRIVED], None, "not in the monitor"),
        ([TRIED], [ARRIVED], RETRIED, "attempts [503, 200]"),
        ([TRIED], [again(body="other")], SHOWN, "another body"),
        ([TRIED], [again(verified=False)], SHOWN, "wrong signature"),
        ([TRIED], [ARRIVED, again(id="load-2~hook")], SHOWN, "never published"),
        ([Tried("load-1", 9, 503, "digest")], [ARRIVED], SHOWN, "never accepted"),
        ([Tried("load-1", 9, 500, "digest"), TRIED], [ARRIVED], SHOWN, "answered 500"),
    ],
)
def test_the_checker_finds_what_is_wrong(
    tries: list[Tried], arrivals: list[Arrived], shown: dict[str, object] | None, said: str | None
) -> None:
    """A fault exposes what was on its way at second 20."""
    monitor = {} if shown is None else {"load-1~hook": shown}
    verdict = check(tries, arrivals, monitor, [Exposure(20, 20.2)], {"load-1": ["hook"]})

    assert [said in line for line in verdict.broken] == [True] if said else verdict.broken == ()
