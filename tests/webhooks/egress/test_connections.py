"""Which pool a request gets. No connection is opened here."""

from typing import cast

import httpx

from webhooks.egress.connections import Pools
from webhooks.egress.guard import Guard
from webhooks.egress.tls import Contexts

URL = httpx.URL("https://a.example/path")


async def test_a_pool_is_of_one_tenant_and_one_origin() -> None:
    pools = Pools(cast("Guard", None), None, Contexts())
    pool = await pools.get("acme", URL)
    others = [
        await pools.get(tenant, httpx.URL(url))
        for tenant, url in (
            ("other", "https://a.example/path"),
            ("acme", "http://a.example/path"),
            ("acme", "https://b.example/path"),
            ("acme", "https://a.example:8443/path"),
        )
    ]

    assert await pools.get("acme", httpx.URL("https://a.example/another?a=b")) is pool
    assert len({id(one) for one in (pool, *others)}) == 5
    await pools.close()


async def test_a_retired_pool_is_replaced_once() -> None:
    """Many requests may fail on one pool, and each retires it."""
    pools = Pools(cast("Guard", None), None, Contexts())
    old = await pools.get("acme", URL)
    await pools.retire(old)
    new = await pools.get("acme", URL)
    await pools.retire(old)

    assert new is not old
    assert await pools.get("acme", URL) is new
    await pools.close()
