"""Lists ask Temporal seldom, and still show what is true."""

from collections import Counter
from typing import Any

from temporalio.client import Client

from tests.support.decrypting import client_of
from webhooks.deliveries.monitor import Deliveries, DeliverySummary
from webhooks.deliveries.status import DeliveryStatus
from webhooks.deliveries.visibility import Filter
from webhooks.testing.platform_process import PlatformProcess, until
from webhooks.testing.receiver import Receiver

_MANY = 60
"""More than a page."""


class Calls:
    """Counts the calls of a client to the real server."""

    NAMES = ("list_workflow_executions", "count_workflow_executions", "get_workflow_execution_history")

    def __init__(self, client: Client) -> None:
        self.of: Counter[str] = Counter()
        for name in self.NAMES:
            setattr(client.workflow_service, name, self._counted(name, getattr(client.workflow_service, name)))

    def _counted(self, name: str, call: Any) -> Any:
        async def counted(*arguments: Any, **options: Any) -> Any:
            self.of[name] += 1
            return await call(*arguments, **options)

        return counted

    def since(self) -> list[int]:
        """Return how many lists, counts and histories were asked for since the last time."""
        counts, self.of = [self.of[name] for name in self.NAMES], Counter()
        return counts


async def test_a_page_that_is_read_again_asks_for_what_has_changed(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    client = await client_of(platform)
    calls = Calls(client)
    deliveries = Deliveries(client, ui="", task_queue="webhooks")
    event = await platform.event()
    filter = Filter("default", events=[event])
    url = receiver.tell(path, [200] * _MANY + [503])
    await platform.webhook(event, url, retry_policy={"initial_interval": 3600})
    for n in range(_MANY):
        await platform.publish(event, {"n": n})
    await receiver.wait_for(path, _MANY)

    async def page() -> list[DeliverySummary]:
        return (await deliveries.list(filter, limit=50, cursor=None))[0]

    async def all_delivered() -> bool:
        shown = await page()
        return len(shown) == 50 and {each.status for each in shown} == {DeliveryStatus.DELIVERED}

    await until(all_delivered, timeout=30, what="all are delivered")
    before = await page()
    await page()
    calls.since()

    assert await page() == before
    assert calls.since() == [0, 1, 0]

    failing = await platform.delivery(await platform.publish(event))
    await platform.wait(failing, "retrying")
    assert (await page())[0].id == failing
    assert calls.since() == [1, 1, 1]
    await until(lambda: _is(page, failing, DeliveryStatus.RETRYING), timeout=15, what="it waits")
    calls.since()
    assert [each.id for each in await page()] == [failing, *(each.id for each in before[:-1])]
    lists, counts, histories = calls.since()
    assert (lists, histories) <= (1, 1)
    assert counts == 1

    receiver.tell(path, [200])
    assert await deliveries.resend("default", failing, force=False, requested_by="somebody")
    await platform.wait(failing, "delivered")
    await until(lambda: _is(page, failing, DeliveryStatus.DELIVERED), timeout=15, what="it is delivered")
    assert await deliveries.resend("default", before[0].id, force=True, requested_by="somebody")
    await receiver.wait_for(path, _MANY + 3)

    async def sent_twice() -> bool:
        return [each.attempt_count for each in (await page())[:3]] == [2, 2, 1]

    await until(sent_twice, timeout=15, what="the other run is shown, in the place of the first")
    assert len({each.id for each in await page()}) == 50


async def _is(page: Any, id: str, status: DeliveryStatus) -> bool:
    newest = (await page())[0]
    return bool(newest.id == id and newest.status is status)
