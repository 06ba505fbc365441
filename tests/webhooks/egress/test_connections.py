"""Which pool a request gets, and which connection. No connection is opened here."""

import asyncio
from typing import cast

import httpcore
import pytest

from webhooks.egress import connections
from webhooks.egress.connections import Connection, Pool, Pools
from webhooks.egress.guard import Guard
from webhooks.egress.tls import Contexts


class Kept:
    """A connection that can be used again, until it is closed."""

    def __init__(self) -> None:
        self.open = True
        self.expired = False

    def is_available(self) -> bool:
        return self.open

    def has_expired(self) -> bool:
        return self.expired

    async def aclose(self) -> None:
        self.open = False

    _connection = None


def pool_of(*made: Kept) -> Pool:
    left = iter(made)
    return Pool(("acme", "", None), lambda: cast("Connection", next(left)))


async def test_a_pool_is_of_one_tenant_and_one_origin() -> None:
    pools = Pools(cast("Guard", None), None, Contexts())
    pool = await pools.get("acme", httpcore.URL("https://a.example/path"))
    others = [
        await pools.get(tenant, httpcore.URL(url))
        for tenant, url in (
            ("other", "https://a.example/path"),
            ("acme", "http://a.example/path"),
            ("acme", "https://b.example/path"),
            ("acme", "https://a.example:8443/path"),
        )
    ]

    assert await pools.get("acme", httpcore.URL("https://a.example/another?a=b")) is pool
    assert await pools.get("acme", httpcore.URL("https://a.example:443/path")) is pool
    assert len({id(one) for one in (pool, *others)}) == 5
    await pools.close()


async def test_the_connection_that_was_used_last_is_used_next() -> None:
    first, second = Kept(), Kept()
    pool = pool_of(first, second)
    taken = [await pool.take(), await pool.take()]
    for connection in taken:
        await pool.give_back(connection)

    assert [await pool.take(), await pool.take()] == [cast("Connection", one) for one in (second, first)]


async def test_one_that_has_expired_is_closed_and_not_lent() -> None:
    old, new = Kept(), Kept()
    pool = pool_of(old, new)
    await pool.give_back(await pool.take())
    old.expired = True

    assert await pool.take() is cast("Connection", new)
    assert not old.open


async def test_no_request_gets_a_kept_one_that_wants_a_new_one() -> None:
    kept, new = Kept(), Kept()
    pool = pool_of(kept, new)
    await pool.give_back(await pool.take())

    assert await pool.take(kept=False) is cast("Connection", new)
    assert await pool.take() is cast("Connection", kept)


async def test_a_closed_pool_keeps_nothing() -> None:
    idle, lent = Kept(), Kept()
    pool = pool_of(idle, lent)
    taken = [await pool.take(), await pool.take()]
    await pool.give_back(taken[0])
    await pool.close()
    assert not idle.open and lent.open

    await pool.give_back(taken[1])
    assert not lent.open


async def test_who_gives_up_waiting_takes_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_MAX_CONNECTIONS_PER_POOL", 1)
    pool = pool_of(Kept())
    taken = await pool.take()
    waiting = [asyncio.ensure_future(pool.take()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    waiting[2].cancel()
    await pool.give_back(taken)
    assert await waiting[1] is taken

    await pool.give_back(taken)
    assert await pool.take() is taken
