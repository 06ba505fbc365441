import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio.api.common.v1 import RetryPolicy as RetryPolicyProto
from temporalio.common import RetryPolicy

from webhooks import outcomes, retry
from webhooks.contracts import RetryRules

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STATUSES = range(100, 1000)
DEFAULTS = RetryRules()


@st.composite
def retry_rules(draw: st.DrawFn, schedules: bool = True) -> RetryRules:
    """Any policy that the API accepts: its maximum interval is no shorter than its initial one."""
    initial = draw(st.floats(0.1, 86_400))
    return RetryRules(
        initial_interval=initial,
        backoff_coefficient=draw(st.floats(1, 10)),
        maximum_interval=draw(st.floats(initial, 604_800)),
        maximum_attempts=draw(st.integers(1, 100)),
        schedule=tuple(draw(st.lists(st.floats(0.1, 604_800), max_size=9 if schedules else 0))),
    )


def waits(rules: RetryRules, attempts: Iterable[int]) -> list[float | None]:
    return [retry.backoff_seconds(rules, attempt, retry_after=None, spread=0) for attempt in attempts]


def test_only_2xx_is_delivered_and_every_other_status_names_itself() -> None:
    expected = {status: "delivered" if status in range(200, 300) else f"http_{status}" for status in STATUSES}

    assert expected == {status: outcomes.of_status(status) for status in STATUSES}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (DEFAULTS, [400, 410]),
        (RetryRules(non_retryable_statuses=(400, 404, 503)), [400, 404, 410, 503]),
        (RetryRules(non_retryable_statuses=()), [400, 410]),
        (RetryRules(only_5xx=True), [*range(100, 200), *range(300, 500), *range(600, 1000)]),
        (
            RetryRules(only_5xx=True, non_retryable_statuses=(400, 501)),
            [*range(100, 200), *range(300, 500), 501, *range(600, 1000)],
        ),
    ],
)
def test_which_statuses_are_final(rules: RetryRules, expected: list[int]) -> None:
    failures = {status: outcome for status in STATUSES if (outcome := outcomes.of_status(status)) != "delivered"}

    assert expected == [status for status, outcome in failures.items() if retry.is_final(outcome, rules)]


def test_what_was_never_sent_or_superseded_is_final_and_what_got_no_answer_is_not() -> None:
    expected = {
        "http_400", "http_422", "http_410", "superseded",
        "address_not_allowed", "webhook_deleted", "webhook_inactive", "not_rendered",
        "subscription_deleted", "subscription_inactive",
    }  # fmt: skip
    rules = RetryRules(non_retryable_statuses=(400, 422))
    unanswered = {*outcomes.RETRIED, outcomes.UNKNOWN}

    assert expected == set(retry.final_outcomes(rules))
    assert [outcome for outcome in expected if not retry.is_final(outcome, rules)] == []
    assert [outcome for outcome in unanswered if retry.is_final(outcome, rules)] == []


def test_a_policy_for_5xx_answers_retries_them_and_failing_token_endpoints() -> None:
    rules = RetryRules(only_5xx=True)
    unanswered = [*outcomes.RETRIED, outcomes.UNKNOWN]

    assert [outcome for outcome in unanswered if not retry.is_final(outcome, rules)] == [outcomes.OAUTH_FAILED]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        (" 5\t", 5.0),
        ("999999999", 999_999_999.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime((NOW + timedelta(hours=1)).astimezone(timezone(timedelta(hours=-5)))), 3600.0),
        (format_datetime(NOW, usegmt=True), None),
        (format_datetime(NOW - timedelta(seconds=1), usegmt=True), None),
        ("Wed, 21 Oct 1999 07:28:00 GMT", None),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
        ("Wed, 21 Oct 2099 07:28:00 +9999", None),
        ("Wed, 21 Oct 2099 07:28:00 +" + "9" * 20, None),
        ("Wed, 32 Oct 2099 07:28:00 GMT", None),
        ("1 Jan 0001 00:00:00 +2359", None),
        ("2099-01-01T00:00:00Z", None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("+5", None),
        ("1.5", None),
        ("1e3", None),
        ("1_000", None),
        ("0x10", None),
        ("120, 240", None),
        ("NaN", None),
        ("inf", None),
        ("٣", None),  # a digit to int(), none to RFC 9110
        ("9" * 5_000, None),  # more than int() converts
    ],
)
def test_retry_after_is_whole_seconds_or_a_future_http_date(header: str | None, expected: float | None) -> None:
    assert expected == retry.retry_after_seconds(header, NOW)


@given(
    st.text()
    | st.from_regex(r"[0-9+.eE-]{1,40}", fullmatch=True)
    | st.from_regex(r"\w{3}, \d{1,3} (Jan|Feb) \d{1,6} \d\d:\d\d:\d\d [+-]?\w{2,5}", fullmatch=True)
)
@settings(deadline=None)
def test_retry_after_never_raises_and_never_asks_for_less_than_nothing(header: str) -> None:
    seconds = retry.retry_after_seconds(header, NOW)

    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


def test_the_default_policy_waits_longer_each_time_until_its_maximum_and_gives_up_after_the_tenth() -> None:
    expected = [10, 40, 160, 640, 2_560, 10_240, 40_960, 43_200, 43_200, None, None, None]

    assert expected == waits(DEFAULTS, (*range(1, 11), 11, 99))


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ((5, 300, 1), [5, 300, 1, 1, 1, None]),  # the last one repeats
        ((7,), [7, 7, 7, 7, 7, None]),
        ((604_800,), [604_800] * 5 + [None]),  # not bounded by the maximum interval
        ((1, 2, 3, 4, 5, 6, 7), [1, 2, 3, 4, 5, None]),  # the attempts are what ends it
    ],
)
def test_a_schedule_s_waits_come_one_by_one(schedule: tuple[float, ...], expected: list[float | None]) -> None:
    assert expected == waits(RetryRules(schedule=schedule, maximum_attempts=6), range(1, 7))


@pytest.mark.parametrize(
    ("spread", "retry_after", "expected"),
    [(-1, None, 270), (1, None, 330), (0, 299.0, 300), (0, 400.0, 400), (0, 1e9, 1_000)],
)
def test_a_schedule_has_jitter_and_retry_after_too(spread: float, retry_after: float | None, expected: float) -> None:
    rules = RetryRules(schedule=(5, 300), maximum_interval=1_000)

    assert expected == pytest.approx(retry.backoff_seconds(rules, 2, retry_after=retry_after, spread=spread))


@pytest.mark.parametrize("retry_after", [None, 0.0, 1e9])
def test_a_policy_of_one_attempt_never_waits(retry_after: float | None) -> None:
    rules = RetryRules(maximum_attempts=1)

    assert retry.backoff_seconds(rules, 1, retry_after=retry_after, spread=1) is None


@pytest.mark.parametrize(
    ("attempt", "spread", "retry_after", "expected"),
    [
        (1, -1, None, 9),
        (1, 0.5, None, 10.5),
        (1, 1, None, 11),
        (3, -1, None, 90),  # the maximum interval is jittered as well
        (3, 1, None, 110),
        (1, 0, 0.0, 10),  # Retry-After lengthens a wait, and never shortens it
        (1, 0, 9.9, 10),
        (1, -1, 9.9, 9.9),
        (1, 0, 60.0, 60),
        (1, 1, 60.0, 60),
        (1, 0, 100.0, 100),
        (1, 0, 100.1, 100),  # bounded by the maximum interval
        (1, 1, 1e9, 100),
        (3, -1, 1e9, 100),
        (3, 1, 1e9, 110),
    ],
)
def test_a_wait_has_jitter_and_retry_after_as_its_bounded_lower_bound(
    attempt: int, spread: float, retry_after: float | None, expected: float
) -> None:
    rules = RetryRules(initial_interval=10, backoff_coefficient=4, maximum_interval=100)

    assert retry.backoff_seconds(rules, attempt, retry_after=retry_after, spread=spread) == pytest.approx(expected)


@given(retry_rules(schedules=False), st.data())
@settings(deadline=None)
def test_no_wait_leaves_the_policy_s_interval_by_more_than_the_jitter(rules: RetryRules, data: st.DataObject) -> None:
    attempt = data.draw(st.integers(1, 100))
    retry_after = data.draw(st.none() | st.floats(0, 1e12))
    wait = retry.backoff_seconds(rules, attempt, retry_after=retry_after, spread=data.draw(st.floats(-1, 1)))

    assert (wait is None) == (attempt >= rules.maximum_attempts)
    if wait is not None:
        assert rules.initial_interval * 0.9 * (1 - 1e-9) <= wait <= rules.maximum_interval * 1.1 * (1 + 1e-9)
        assert wait >= min(retry_after or 0, rules.maximum_interval)


@given(retry_rules(), st.data())
@settings(deadline=None)
def test_what_is_left_of_a_policy_waits_as_the_whole_one_would(rules: RetryRules, data: st.DataObject) -> None:
    made = data.draw(st.integers(0, rules.maximum_attempts - 1))
    left = retry.remaining(rules, made)
    expected = waits(rules, range(made + 1, rules.maximum_attempts + 1))

    assert expected[-1] is None
    assert expected[:-1] == pytest.approx(waits(left, range(1, rules.maximum_attempts - made)), rel=1e-9)
    assert waits(left, [rules.maximum_attempts - made]) == [None]


@given(retry_rules(), st.integers(0, 200))
@settings(deadline=None)
def test_what_is_left_of_a_policy_is_one_that_temporal_takes_and_allows_an_attempt(
    rules: RetryRules, made: int
) -> None:
    left = retry.remaining(rules, made)
    proto = RetryPolicyProto()
    RetryPolicy(
        initial_interval=timedelta(seconds=left.initial_interval),
        backoff_coefficient=left.backoff_coefficient,
        maximum_interval=timedelta(seconds=left.maximum_interval),
        maximum_attempts=left.maximum_attempts,
        non_retryable_error_types=retry.final_outcomes(left),
    ).apply_to_proto(proto)  # raises for a policy that makes no sense

    assert proto.maximum_attempts == max(1, rules.maximum_attempts - made)
    assert left.initial_interval <= left.maximum_interval


def test_what_is_left_of_a_policy_says_the_same_of_every_answer() -> None:
    left = retry.remaining(RetryRules(non_retryable_statuses=(400, 503), only_5xx=True), 3)
    final = [status for status in (302, 400, 404, 429, 500, 503) if retry.is_final(outcomes.of_status(status), left)]

    assert final == [302, 400, 404, 429, 503]
