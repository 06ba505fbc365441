"""A fault of ours is logged once, until what failed by it works."""

import logging

import pytest

from tests.support.clock import Clock
from webhooks.telemetry.internal_errors import InternalErrors


@pytest.fixture
def faults(clock: Clock) -> InternalErrors:
    return InternalErrors(clock)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """And forgets it."""
    found = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return found


def test_one_of_a_kind_is_logged_with_its_trace(faults: InternalErrors, caplog: pytest.LogCaptureFixture) -> None:
    error = KeyError("x")
    for where in ("a", "b", "a"):
        faults.happened(error, where)
    [record] = caplog.records

    assert (record.levelno, record.getMessage()) == (logging.ERROR, "a failed and will be tried again: KeyError")
    assert record.exc_info
    assert record.exc_info[1] is error


def test_another_kind_is_logged_too(faults: InternalErrors, caplog: pytest.LogCaptureFixture) -> None:
    faults.happened(KeyError("x"), "a")
    faults.happened(TypeError("x"), "a")
    assert len(said(caplog)) == 2

    faults.passed("a")
    assert said(caplog) == ["a works again after KeyError", "a works again after TypeError"]


def test_it_is_over_when_something_works_that_failed_by_it(
    faults: InternalErrors, caplog: pytest.LogCaptureFixture
) -> None:
    for where in ("a", "b"):
        faults.happened(KeyError("x"), where)
    faults.passed("never failed")
    assert said(caplog) == ["a failed and will be tried again: KeyError"]

    faults.passed("b")
    faults.passed("a")
    assert said(caplog) == ["b works again after KeyError"]

    faults.happened(KeyError("x"), "a")
    assert said(caplog) == ["a failed and will be tried again: KeyError"]


def test_it_is_brought_to_mind_once_an_hour(
    faults: InternalErrors, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    faults.happened(KeyError("x"), "a")
    clock.now = 3599
    faults.happened(KeyError("x"), "b")
    assert len(said(caplog)) == 1

    clock.now = 3600
    faults.happened(KeyError("x"), "b")
    faults.happened(KeyError("x"), "b")
    assert said(caplog) == ["b failed and will be tried again: KeyError"]

    faults.passed("a")
    assert said(caplog) == ["a works again after KeyError"]
