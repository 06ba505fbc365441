"""Names with several addresses, some of which are dead: the next one is tried soon (RFC 8305)."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from ipaddress import ip_address

import pytest

from tests.support.name_server import NameServer
from tests.support.sockets import LOOPBACK, connections, dropping, listening, port_of, watching_connects
from webhooks import outcomes
from webhooks.egress import guard
from webhooks.egress.client import Answer, Egress
from webhooks.testing.receiver import Receiver


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    async with NameServer().serving() as names:
        yield names


@pytest.fixture
async def egress(names: NameServer) -> AsyncIterator[Egress]:
    egress = Egress(LOOPBACK, resolver=names.resolver())
    yield egress
    await egress.close()


async def send(egress: Egress, url: str, timeout: float = 30) -> Answer:
    return await egress.send("acme", "POST", url, {}, b"{}", timeout)


@pytest.mark.parametrize("dead", ["::1", "127.0.0.9", "127.0.0.9 127.0.0.8 ::1"])
async def test_an_address_that_drops_packets_costs_a_moment_only(
    egress: Egress, names: NameServer, receiver: Receiver, path: str, dead: str
) -> None:
    names.tell("several.test", [*dead.split(), "127.0.0.1"])
    async with AsyncExitStack() as stack:
        for address in dead.split():
            await stack.enter_async_context(dropping(address, receiver.port))
        started = time.monotonic()
        answer = await send(egress, f"http://several.test:{receiver.port}{path}")
        seconds = time.monotonic() - started

    assert answer.outcome == "delivered"
    assert seconds < 10  # of 30
    assert len(receiver.got(path)) == 1


async def test_ipv6_and_ipv4_take_turns(egress: Egress, names: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever family comes first, the other one comes second."""
    monkeypatch.setattr(guard, "_NEXT_ADDRESS_SECONDS", 0.01)
    names.tell("several.test", ["127.0.0.7", "127.0.0.8", "127.0.0.9", "::1"])
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(dropping("::1"))
        for n in (7, 8, 9):
            await stack.enter_async_context(dropping(f"127.0.0.{n}", port))
        with watching_connects() as connects:
            assert (await send(egress, f"http://several.test:{port}/", 1)).outcome == outcomes.TIMEOUT

    assert len(connects) == 4
    assert "::1" in [address[0] for address in connects[:2] if isinstance(address, tuple)]


async def test_a_name_with_many_dead_addresses_opens_few_sockets_and_the_rest_of_the_time_is_shared(
    egress: Egress, names: NameServer, receiver: Receiver, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a limit, a tenant's name could take this process's sockets. The one that works is in the last group."""
    monkeypatch.setattr(guard, "_MAX_CONCURRENT_CONNECTS", 2)
    monkeypatch.setattr(guard, "_NEXT_ADDRESS_SECONDS", 0.01)
    dead = [f"127.0.0.{n}" for n in range(2, 7)]
    order = [ip_address(address) for address in [*dead, "127.0.0.1"]]
    monkeypatch.setattr("webhooks.egress.resolver.Resolver.addresses", lambda *_: asyncio.sleep(0, order))
    async with AsyncExitStack() as stack:
        for address in dead:
            await stack.enter_async_context(dropping(address, receiver.port))
        with watching_connects() as connects:
            answer = await send(egress, f"http://several.test:{receiver.port}{path}", 3)

    assert answer.outcome == "delivered"
    assert connects[-1] == ("127.0.0.1", receiver.port)
    assert len(connects) == 6


async def test_addresses_that_refuse_cost_nothing_and_one_connection_is_left(egress: Egress, names: NameServer) -> None:
    names.tell("several.test", [f"127.0.0.{n}" for n in range(1, 12)])
    with listening() as server:
        answer = await send(egress, f"http://several.test:{port_of(server)}/", 1)
        assert answer.outcome == outcomes.TIMEOUT  # it never answers
        assert connections(server) == 1


async def test_if_all_refuse_the_connection_is_refused(egress: Egress, names: NameServer) -> None:
    names.tell("several.test", ["127.0.0.8", "127.0.0.9", "::1"])
    with listening() as server:
        answer = await send(egress, f"http://several.test:{port_of(server)}/", 5)

    assert answer == Answer(outcomes.CONNECTION_REFUSED, error="connection refused")
