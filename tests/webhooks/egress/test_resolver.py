"""Lookups against a name server on loopback, by c-ares itself."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator

import pytest

from tests.support.name_server import NameServer
from webhooks.egress import resolver as resolver_module
from webhooks.egress.resolver import NotResolvedError, Resolver

NOT_THERE = "the host name does not resolve"
NO_ANSWER = "the name server gave no answer in time"


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    async with NameServer().serving() as names:
        yield names


@pytest.fixture
async def resolver(names: NameServer) -> AsyncIterator[Resolver]:
    resolver = names.resolver()
    yield resolver
    await resolver.close()


async def look_up(resolver: Resolver, host: str, tenant: str = "acme") -> list[str]:
    return [str(address) for address in await resolver.addresses(tenant, host)]


async def why_not(resolver: Resolver, host: str, tenant: str = "acme") -> str:
    with pytest.raises(NotResolvedError) as caught:
        await resolver.addresses(tenant, host)
    return str(caught.value)


async def test_every_address_of_a_name_is_found(resolver: Resolver, names: NameServer) -> None:
    names.tell("many.test", ["192.0.2.1", "192.0.2.2", "2001:db8::1"])

    assert sorted(await look_up(resolver, "many.test")) == ["192.0.2.1", "192.0.2.2", "2001:db8::1"]


async def test_an_alias_is_followed(resolver: Resolver, names: NameServer) -> None:
    names.tell("inside.test", ["10.0.0.1"])
    names.alias("outside.test", "inside.test")

    assert await look_up(resolver, "outside.test") == ["10.0.0.1"]


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "::ffff:7f00:1", "127.0.0.1."])
async def test_a_literal_is_not_looked_up(resolver: Resolver, names: NameServer, host: str) -> None:
    assert await look_up(resolver, host) == [host.rstrip(".")]
    assert names.asked == {}


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "localhost."])
async def test_localhost_is_this_machine_whatever_the_name_server_says(
    resolver: Resolver, names: NameServer, host: str
) -> None:
    names.tell("localhost", ["192.0.2.1"])

    assert set(await look_up(resolver, host)) <= {"127.0.0.1", "::1"}
    assert names.asked == {}


@pytest.mark.parametrize("host", ["nowhere.test", f"{'a' * 64}.test", "a..b", "a b", "ü.test", "", "x" * 300])
async def test_a_name_that_is_not_there_says_so(resolver: Resolver, host: str) -> None:
    assert await why_not(resolver, host) == NOT_THERE


async def test_a_name_server_that_is_silent_is_not_waited_for_long(resolver: Resolver, names: NameServer) -> None:
    names.silent.add("silent.test")
    started = time.monotonic()

    assert await why_not(resolver, "silent.test") == NO_ANSWER
    assert 0.9 < time.monotonic() - started < 10


async def test_nobody_at_the_name_server_s_port_is_no_answer() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    resolver = Resolver(nameservers=[f"127.0.0.1:{port}"])

    assert await why_not(resolver, "any.test") == NO_ANSWER
    await resolver.close()


async def test_one_tenant_s_silent_names_hold_only_its_own(
    resolver: Resolver, names: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty lookups without an answer: one tenant's next waits, another's is done before it."""
    monkeypatch.setattr(resolver_module, "_MAX_CONCURRENT_LOOKUPS", 10)
    names.tell("fine.test", ["192.0.2.1"])
    names.silent |= {f"silent{n}.test" for n in range(50)}
    waiting = [asyncio.create_task(look_up(resolver, f"silent{n}.test")) for n in range(50)]
    await names.wait_for(10)
    own = asyncio.create_task(look_up(resolver, "fine.test"))

    assert await look_up(resolver, "fine.test", tenant="other") == ["192.0.2.1"]
    assert len(names.asked) == 11  # ten of the first tenant's fifty, and this one
    own.cancel()
    for task in waiting:
        task.cancel()
    await asyncio.gather(own, *waiting, return_exceptions=True)


async def test_who_waits_for_a_slot_joins_the_lookup_of_another_tenant(
    resolver: Resolver, names: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_module, "_MAX_CONCURRENT_LOOKUPS", 1)
    names.tell("fine.test", ["192.0.2.1"], ttl=60)
    names.silent.add("silent.test")
    slow = asyncio.create_task(look_up(resolver, "silent.test"))
    await names.wait_for(1)
    own = asyncio.create_task(look_up(resolver, "fine.test"))
    await asyncio.sleep(0)
    await look_up(resolver, "fine.test", tenant="other")
    slow.cancel()  # who asked is gone, and its lookup keeps the slot until it ends

    assert await own == ["192.0.2.1"]
    assert names.asked == {"silent.test": names.asked["silent.test"], "fine.test": 1}


async def test_many_who_ask_at_once_make_one_lookup(resolver: Resolver, names: NameServer) -> None:
    names.tell("one.test", ["192.0.2.1"], ["192.0.2.2"])
    found = await asyncio.gather(*(look_up(resolver, "one.test", tenant=f"tenant{n % 3}") for n in range(100)))

    assert found == [["192.0.2.1"]] * 100
    assert names.asked["one.test"] == 1


async def test_who_goes_away_does_not_end_the_lookup_of_others(resolver: Resolver, names: NameServer) -> None:
    names.tell("one.test", ["192.0.2.1"])
    first = asyncio.create_task(look_up(resolver, "one.test"))
    await asyncio.sleep(0)
    second = asyncio.create_task(look_up(resolver, "one.test"))
    await asyncio.sleep(0)
    first.cancel()

    assert await second == ["192.0.2.1"]
    assert names.asked["one.test"] == 1


async def test_an_answer_is_kept_for_as_long_as_it_says(resolver: Resolver, names: NameServer) -> None:
    names.tell("kept.test", ["192.0.2.1"], ["192.0.2.2"], ttl=3)
    names.tell("brief.test", ["192.0.2.1"], ["192.0.2.2"], ttl=1)
    names.tell("never.test", ["192.0.2.1"], ["192.0.2.2"], ttl=0)
    for name in ("kept.test", "brief.test", "never.test"):
        await look_up(resolver, name)
    assert await look_up(resolver, "kept.test") == ["192.0.2.1"]
    assert await look_up(resolver, "brief.test") == ["192.0.2.1"]
    assert await look_up(resolver, "never.test") == ["192.0.2.2"]
    await asyncio.sleep(1.1)

    assert await look_up(resolver, "kept.test") == ["192.0.2.1"]
    assert await look_up(resolver, "brief.test") == ["192.0.2.2"]


async def test_no_answer_is_kept_for_longer_than_the_bound(
    resolver: Resolver, names: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by c-ares either, which has a memory of its own."""
    monkeypatch.setattr(resolver_module, "_MAX_CACHE_SECONDS", 0.1)
    monkeypatch.setattr(resolver_module, "_CHANNEL_SECONDS", 0.1)
    names.tell("long.test", ["192.0.2.1"], ["192.0.2.2"], ttl=86_400)
    await look_up(resolver, "long.test")
    await asyncio.sleep(0.2)

    assert await look_up(resolver, "long.test") == ["192.0.2.2"]


async def test_a_failure_is_kept_for_a_moment_only(resolver: Resolver, names: NameServer) -> None:
    assert await why_not(resolver, "new.test") == NOT_THERE
    names.tell("new.test", ["192.0.2.1"])
    assert await why_not(resolver, "new.test") == NOT_THERE
    assert names.asked["new.test"] == 1
    await asyncio.sleep(1.1)

    assert await look_up(resolver, "new.test") == ["192.0.2.1"]


async def test_of_the_answers_a_bounded_number_is_kept(
    resolver: Resolver, names: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_module, "_MAX_CACHED_NAMES", 3)
    monkeypatch.setattr(resolver_module, "_CHANNEL_SECONDS", 0)
    for n in range(5):
        names.tell(f"{n}.example.test", ["192.0.2.1"], ttl=60)
        await look_up(resolver, f"{n}.example.test")
    for n in reversed(range(5)):
        await look_up(resolver, f"{n}.example.test")

    assert [names.asked[f"{n}.example.test"] for n in range(5)] == [2, 2, 1, 1, 1]


ON_UVLOOP = """
import asyncio, threading, uvloop
from webhooks.egress.resolver import NotResolvedError, Resolver

async def main():
    resolver = Resolver(nameservers=["127.0.0.1:%d"])
    found = await resolver.addresses("acme", "fine.test")
    waiting = asyncio.create_task(resolver.addresses("acme", "silent.test"))
    await asyncio.sleep(0.05)
    await resolver.close()
    await asyncio.wait([waiting])
    print(*found, waiting.cancelled())

uvloop.run(main())
"""


async def test_it_runs_on_uvloop_and_ends_with_a_lookup_under_way(names: NameServer) -> None:
    names.tell("fine.test", ["192.0.2.1"])
    names.silent.add("silent.test")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", ON_UVLOOP % names.port, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    async with asyncio.timeout(20):
        said, complained = await process.communicate()

    assert (said.decode().strip(), complained.decode(), process.returncode) == ("192.0.2.1 True", "", 0)
