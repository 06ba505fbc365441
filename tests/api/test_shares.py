"""Tests of webhooks: nobody's hanging receiver takes the turn of others."""

import asyncio

import pytest

from api.protocol.problems import ProblemError
from api.shares import Shares
from tests.support.tenants import new_tenant
from webhooks.testing.platform_process import PlatformProcess
from webhooks.testing.receiver import Receiver, Reply


async def test_a_tenant_whose_receiver_hangs_takes_no_turn_of_another_one(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    gate = asyncio.Event()
    event = await platform.event()
    webhook = await platform.webhook(event, receiver.tell(path, [Reply(200, before=gate.wait)] * 12), timeout=30)
    hanging = [asyncio.create_task(platform.post(f"/v1/webhooks/{webhook['id']}/test", {})) for _ in range(12)]
    await receiver.wait_for(path, 5)
    async with new_tenant(platform) as (_, other):
        event = await other.event()
        healthy = await other.webhook(event, receiver.url(f"{path}-healthy"))
        [tested] = (await other.post(f"/v1/webhooks/{healthy['id']}/test", {}))["items"]

    assert tested["outcome"] == "delivered"
    assert len(receiver.got(path)) == 5
    gate.set()
    await asyncio.gather(*hanging)
    assert len(receiver.got(path)) == 12


async def test_who_has_too_many_waiting_is_refused_and_forgotten_afterwards() -> None:
    shares, gate = Shares(1, 2), asyncio.Event()

    async def use(user: str) -> None:
        async with shares.one(user):
            await gate.wait()

    using = [asyncio.create_task(use("a")) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(ProblemError) as refused:
        await use("a")
    other = asyncio.create_task(use("b"))
    gate.set()
    await asyncio.gather(*using, other)

    assert refused.value.status == 503
    assert shares._slots == {}
