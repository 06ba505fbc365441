from tests.support.clock import Clock
from webhooks.isolation.backlog import MAX_LOCAL, LocalBacklog


def test_accepted_and_not_begun_is_a_backlog(clock: Clock) -> None:
    backlog = LocalBacklog(clock)
    for n in range(MAX_LOCAL):
        assert not backlog.full()
        backlog.add(str(n))
    assert backlog.full()
    backlog.remove("7")
    assert not backlog.full()
    backlog.add("again")
    assert backlog.full()
    clock.now += 31

    assert not backlog.full(), "another process's worker has them"
