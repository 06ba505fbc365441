"""How often somebody may call."""

import pytest

from tests.support.clock import Clock
from webhooks.identity.caller import Caller
from webhooks.identity.rates import FailedAuthentications, PublishRates, Quota, TooManyPublicationsError


def caller(tenant: str = "t", key: str = "k", rate: int | None = None) -> Caller:
    return Caller(tenant, frozenset(), f"key:{key}", "n", key_id=key, publish_rate=rate)


async def test_without_a_limit_nothing_is_counted() -> None:
    assert await PublishRates(None).take(caller()) == []


async def test_a_tenant_has_a_limit_of_its_own() -> None:
    rates = PublishRates(1_000)
    left = [await rates.take(caller(key=key)) for key in "ab"]
    [other] = await rates.take(caller("u"))

    assert [quota.remaining for [quota] in left] == [999, 998]
    assert other == Quota("tenant", 1_000, 999)


async def test_a_key_has_a_limit_below_its_tenant_s() -> None:
    rates = PublishRates(1_000)
    quotas = await rates.take(caller(rate=1))
    with pytest.raises(TooManyPublicationsError, match="the key may publish 1 occurrences per second") as refused:
        await rates.take(caller(rate=1))
    [left] = await rates.take(caller(key="l"))

    assert quotas == [Quota("key", 1, 0), Quota("tenant", 1_000, 999)]
    assert refused.value.quota == Quota("key", 1, 0)
    assert left.remaining == 998, "what is refused does not count for the tenant"


def test_failures_of_an_address_are_refused_until_its_minute_ends(clock: Clock) -> None:
    failures = FailedAuthentications(2, clock)
    found = [failures.add("192.0.2.1") for _ in range(3)]
    other = failures.add("192.0.2.2")
    clock.now += 59
    late = failures.add("192.0.2.1")
    clock.now += 1

    assert found == [None, None, 60]
    assert other is None
    assert late == 1
    assert failures.add("192.0.2.1") is None


def test_a_network_of_ipv6_counts_as_one_address(clock: Clock) -> None:
    failures = FailedAuthentications(1, clock)

    assert [failures.add("2001:db8::1"), failures.add("2001:db8::2"), failures.add("2001:db8:0:1::1")] == [
        None,
        60,
        None,
    ]


def test_each_scope_counts_for_itself(clock: Clock) -> None:
    """A sender that is refused at one source may send to another one."""
    failures = FailedAuthentications(1, clock)
    for _ in range(2):
        failures.add("192.0.2.1", "source-1 ")

    assert failures.exceeded("192.0.2.1", "source-1 ") == 60
    assert failures.exceeded("192.0.2.1", "source-2 ") is None
    assert failures.exceeded("192.0.2.1") is None


def test_the_memory_for_addresses_is_bounded(clock: Clock) -> None:
    failures = FailedAuthentications(1, clock)
    for n in range(20_000):
        failures.add(f"10.0.{n // 256}.{n % 256}")

    assert len(failures._counts) == 10_000
