"""What is kept of requests that were not stored is bounded in number and in time."""

import time

from webhooks.inbound.not_stored import KEPT_SECONDS, MAX_OF_SOURCE, MAX_SOURCES, LastNotStored, NotStored, Verdict


def refused(source: str, *, tenant: str = "t", kept_until: float | None = None) -> NotStored:
    until = time.monotonic() + KEPT_SECONDS if kept_until is None else kept_until
    return NotStored(tenant, source, "E", Verdict.REFUSED, "why", 401, kept_until=until)


def test_a_source_keeps_its_last_hundred() -> None:
    recent, all_of_them = LastNotStored(), [refused("a") for _ in range(MAX_OF_SOURCE + 7)]
    for one in all_of_them:
        recent.add(one)

    assert [*recent.of_tenant("t")] == all_of_them[7:]
    assert recent.find("t", all_of_them[0].id) is None
    assert recent.find("t", all_of_them[-1].id) == all_of_them[-1]


def test_the_source_that_was_quiet_longest_makes_room() -> None:
    recent = LastNotStored()
    for number in range(MAX_SOURCES):
        recent.add(refused(f"source-{number}"))
    recent.add(refused("source-0"))
    recent.add(refused("another"))
    sources = {one.source_id for one in recent.of_tenant("t")}

    assert len(sources) == MAX_SOURCES
    assert {"source-0", "another"} <= sources
    assert "source-1" not in sources


def test_what_is_older_than_an_hour_is_not_shown_and_no_tenant_sees_another_s() -> None:
    recent = LastNotStored()
    old, new, foreign = refused("a", kept_until=time.monotonic() - 1), refused("a"), refused("b", tenant="other")
    for one in (old, new, foreign):
        recent.add(one)

    assert [*recent.of_tenant("t")] == [new]
    assert recent.find("t", old.id) is None
    assert recent.find("t", foreign.id) is None
