"""A fault of ours is logged once, until what failed by it works."""

import logging

import pytest

from tests.support.clock import Clock
from webhooks.telemetry.internal_errors import InternalErrors


@pytest.fixture
def internal_errors(clock: Clock) -> InternalErrors:
    return InternalErrors(clock)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """And forgets it."""
    found = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return found


def test_one_of_a_kind_is_logged_with_its_trace(
    internal_errors: InternalErrors, caplog: pytest.LogCaptureFixture
) -> None:
    error = KeyError("x")
    for where in ("a", "b", "a"):
        internal_errors.report(error, where)
    [record] = caplog.records

    assert (record.levelno, record.getMessage()) == (logging.ERROR, "a failed and will be tried again: KeyError")
    assert record.exc_info
    assert record.exc_info[1] is error


def test_another_kind_is_logged_too(internal_errors: InternalErrors, caplog: pytest.LogCaptureFixture) -> None:
    internal_errors.report(KeyError("x"), "a")
    internal_errors.report(TypeError("x"), "a")
    assert len(said(caplog)) == 2

    internal_errors.resolved("a")
    assert said(caplog) == ["a works again after KeyError", "a works again after TypeError"]


def test_it_is_over_when_something_works_that_failed_by_it(
    internal_errors: InternalErrors, caplog: pytest.LogCaptureFixture
) -> None:
    for where in ("a", "b"):
        internal_errors.report(KeyError("x"), where)
    internal_errors.resolved("never failed")
    assert said(caplog) == ["a failed and will be tried again: KeyError"]

    internal_errors.resolved("b")
    internal_errors.resolved("a")
    assert said(caplog) == ["b works again after KeyError"]

    internal_errors.report(KeyError("x"), "a")
    assert said(caplog) == ["a failed and will be tried again: KeyError"]


def test_it_is_brought_to_mind_once_an_hour(
    internal_errors: InternalErrors, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    internal_errors.report(KeyError("x"), "a")
    clock.now = 3599
    internal_errors.report(KeyError("x"), "b")
    assert len(said(caplog)) == 1

    clock.now = 3600
    internal_errors.report(KeyError("x"), "b")
    internal_errors.report(KeyError("x"), "b")
    assert said(caplog) == ["b failed and will be tried again: KeyError"]

    internal_errors.resolved("a")
    assert said(caplog) == ["a works again after KeyError"]
