"""Which summaries are kept."""

from tests.support.clock import Clock
from webhooks.deliveries.summaries import Summaries


def test_a_summary_is_of_one_run_ends_and_is_forgotten() -> None:
    clock = Clock()
    kept: Summaries[str] = Summaries(clock, most=2)
    kept.keep("acme/a", "1", "first", 300, closed=True, since=0)
    kept.keep("acme/b", "1", "other", 300, closed=True, since=0)

    assert kept.get("acme/a", "1", closed=True) == "first"
    assert kept.get("acme/a", "2", closed=True) is None
    assert kept.get("globex/a", "1", closed=True) is None
    kept.keep("acme/c", "1", "third", 300, closed=True, since=0)
    assert (kept.get("acme/a", "1", closed=True), kept.get("acme/b", "1", closed=True)) == ("first", None)
    kept.forget("acme/c")
    assert kept.get("acme/c", "1", closed=True) is None
    clock.now += 300
    assert kept.get("acme/a", "1", closed=True) is None


def test_the_summary_of_an_open_run_ends_with_the_run() -> None:
    kept: Summaries[str] = Summaries(Clock())
    kept.keep("acme/a", "1", "waits", 5, closed=False, since=0)
    kept.keep("acme/b", "1", "delivered", 5, closed=True, since=0)

    assert kept.get("acme/a", "1", closed=False) == "waits"
    assert kept.get("acme/a", "1", closed=True) is None  # the row says that it has closed
    assert kept.get("acme/b", "1", closed=False) == "delivered"  # the row does not know it yet


def test_what_was_read_before_the_delivery_changed_is_not_kept() -> None:
    kept: Summaries[str] = Summaries(Clock())
    since = kept.changes
    kept.forget("acme/a")
    kept.keep("acme/a", "1", "waits", 5, closed=False, since=since)
    kept.keep("acme/b", "1", "waits", 5, closed=False, since=kept.changes)

    assert kept.get("acme/a", "1", closed=False) is None
    assert kept.get("acme/b", "1", closed=False) == "waits"
