"""Which summaries are kept."""

from tests.support.clock import Clock
from webhooks.deliveries.summaries import Summaries


def test_a_summary_is_of_one_run_ends_and_is_forgotten() -> None:
    clock = Clock()
    kept: Summaries[str] = Summaries(clock, most=2)
    kept.keep("acme/a", "1", "first")
    kept.keep("acme/b", "1", "other")

    assert (kept.get("acme/a", "1"), kept.get("acme/a", "2"), kept.get("globex/a", "1")) == ("first", None, None)
    kept.keep("acme/c", "1", "third")
    assert (kept.get("acme/a", "1"), kept.get("acme/b", "1")) == ("first", None)
    kept.forget("acme/c")
    assert kept.get("acme/c", "1") is None
    clock.now += 300
    assert kept.get("acme/a", "1") is None
