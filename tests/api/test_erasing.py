"""Erasing an occurrence: its deliveries with all their runs and bodies leave Temporal."""

import asyncio

import pytest
from temporalio.service import RPCError

from webhooks.testing.platform_process import Json, PlatformProcess, until
from webhooks.testing.receiver import Receiver, Reply


async def rows(platform: PlatformProcess, occurrence_id: str) -> list[str]:
    client = await platform.temporal()
    return [row.id async for row in client.list_workflows(f"OccurrenceId = '{occurrence_id}'")]


async def visible(platform: PlatformProcess, published: Json) -> None:
    async def listed() -> bool:
        return len(await rows(platform, published["id"])) >= max(len(published["deliveries"]), 1)

    await until(listed, timeout=15, what="the deliveries in visibility")


async def test_every_delivery_and_run_is_gone(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    """One was delivered twice, one awaits a resend, one is in a backoff, and one is on the wire."""
    event, released = await platform.event(), asyncio.Event()
    await platform.webhook(event, receiver.url(f"{path}-delivered"))
    await platform.webhook(event, receiver.tell(f"{path}-failed", [400]))
    slow = {"initial_interval": 3600}
    await platform.webhook(event, receiver.tell(f"{path}-backoff", [503]), retry_policy=slow)
    receiver.tell(f"{path}-wire", [Reply(200, before=released.wait)])
    await platform.webhook(event, receiver.url(f"{path}-wire"), timeout=30)
    published, kept = await platform.publish(event), await platform.publish(event)
    ids = [item["id"] for item in published["deliveries"]]
    for id, status in zip(ids[:3], ("delivered", "failed", "retrying"), strict=True):
        await platform.wait(id, status)
    await platform.post(f"/v1/deliveries/{ids[0]}/resend", {"force": True}, expect=202)
    await receiver.wait_for(f"{path}-delivered", 3)
    await platform.wait(ids[0], lambda shown: len(shown["attempts"]) == 2 and shown["closed_at"])
    await receiver.wait_for(f"{path}-wire", 2)
    await visible(platform, published)
    runs = {(row.id, row.run_id) async for row in (await platform.temporal()).list_workflows(
        f"OccurrenceId = '{published['id']}'")}  # fmt: skip
    assert len(runs) == 5
    await platform.call("DELETE", f"/v1/occurrences/{published['id']}", expect=204)
    client = await platform.temporal()
    for id, run in runs:
        with pytest.raises(RPCError, match="not found"):
            await client.get_workflow_handle(id, run_id=run).fetch_history()
    for id in ids:
        await platform.get(f"/v1/deliveries/{id}", expect=404)
        await platform.post(f"/v1/deliveries/{id}/resend", expect=404)
    await platform.get(f"/v1/occurrences/{published['id']}", expect=404)
    await platform.call("DELETE", f"/v1/occurrences/{published['id']}", expect=404)
    released.set()

    assert len((await platform.get(f"/v1/occurrences/{kept['id']}"))["deliveries"]) == 4
    await platform.wait(kept["deliveries"][3]["id"], "delivered")
    assert len(receiver.got(f"{path}-wire")) == 2
    again = await platform.publish(event, {"n": 2}, id=published["id"])  # the id is free again
    await platform.wait(again["deliveries"][0]["id"], "delivered")


async def test_an_occurrence_that_no_webhook_wanted_is_erased(platform: PlatformProcess) -> None:
    published = await platform.publish(await platform.event())
    await platform.call("DELETE", f"/v1/occurrences/{published['id']}", expect=204)
    await platform.get(f"/v1/occurrences/{published['id']}", expect=404)

    await platform.call("DELETE", f"/v1/occurrences/{published['id']}", expect=404)


@pytest.mark.parametrize("id", ["never-published", "not%20an%20id", "a~b"])
async def test_what_was_never_published_is_not_there(platform: PlatformProcess, id: str) -> None:
    problem = await platform.call("DELETE", f"/v1/occurrences/{id}", expect=404)

    assert problem["detail"] == "no such occurrence"
