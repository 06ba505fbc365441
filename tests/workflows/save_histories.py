"""Saves one history of each shape that a delivery can take: `python -m tests.workflows.save_histories`.

Run it when a shape is new. What is saved already stays as it is, and must replay: deliveries that began like it are
still running somewhere.
"""

import asyncio
import contextlib
import re
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from temporalio.client import WorkflowFailureError, WorkflowHistory

from tests.support.senders import STANDARD_SECRET, github
from tests.workflows.long_job import start_long_job
from webhooks.publishing.publish import MAX_STARTED_AT_ONCE
from webhooks.testing.platform_process import PlatformProcess, running, until
from webhooks.testing.receiver import Receiver, Reply, Told

HISTORIES = Path(__file__).parent / "histories"
CLEAR: dict[str, Any] = {"WEBHOOKS_ENCRYPT_PAYLOADS": "false"}
_NEVER: dict[str, object] = {"initial_interval": 3600}

Action = Callable[[PlatformProcess, Receiver, str, str], Awaitable[object]]


async def wait_failed(platform: PlatformProcess, _: Receiver, id: str, __: str) -> None:
    await platform.wait(id, "failed")


async def wait_failed_again(platform: PlatformProcess, _: Receiver, id: str, __: str) -> None:
    await platform.wait(id, lambda delivery: delivery["status"] == "failed" and len(delivery["attempts"]) > 1)


async def resend(platform: PlatformProcess, _: Receiver, id: str, __: str) -> None:
    await platform.wait(id, lambda delivery: bool(delivery["attempts"]))
    await platform.post(f"/v1/deliveries/{id}/resend", expect=202)


async def signal_on_the_wire(platform: PlatformProcess, receiver: Receiver, id: str, path: str) -> None:
    await receiver.wait_for(path, 1)
    await (await platform.temporal()).get_workflow_handle(f"default/{id}").signal("resend")


async def expire(platform: PlatformProcess, _: Receiver, id: str, __: str) -> None:
    await platform.wait(id, "expired")


async def resend_expired(platform: PlatformProcess, receiver: Receiver, id: str, path: str) -> None:
    await expire(platform, receiver, id, path)
    await resend(platform, receiver, id, path)
    await platform.wait(id, "delivered")


async def break_database(platform: PlatformProcess, _: Receiver, id: str, __: str) -> None:
    """Takes the configuration away during a backoff, and brings it back after the next attempt was deferred."""
    await platform.wait(id, "retrying")
    rename(platform, "webhooks", "away")
    await platform.wait(id, lambda delivery: "failed and will be tried again" in platform.log)
    rename(platform, "away", "webhooks")


def rename(platform: PlatformProcess, table: str, new: str) -> None:
    database = sqlite3.connect(platform.data_dir / "webhooks.db")
    database.execute(f"ALTER TABLE {table} RENAME TO {new}")
    database.close()


async def hold(seconds: float) -> None:
    await asyncio.sleep(seconds)


SHAPES: dict[str, tuple[list[Told], dict[str, object], list[Action]]] = {
    "first_try": ([200], {}, []),
    "retried": ([503, 503, 200], {}, []),
    "final": ([400], {}, [wait_failed]),
    "limit_reached": ([500], {"initial_interval": 0.1, "maximum_attempts": 3}, [wait_failed]),
    "resent_when_parked": ([400, 503, 200], {}, [wait_failed, resend]),
    "resent_by_somebody": ([400, 200], {}, [wait_failed, resend]),
    "resent_in_backoff": ([503, 200], _NEVER, [resend]),
    "resent_on_the_wire": ([Reply(503, before=lambda: hold(12)), 200], _NEVER, [signal_on_the_wire]),
    "slow": ([Reply(200, before=lambda: hold(12))], {}, []),
    "deferred": ([503, 200], {"initial_interval": 1}, [break_database]),
    "expired": ([400], {}, [expire]),
    "resent_when_expired": ([400, 200], {}, [resend_expired]),
    "reported": ([400], {}, [wait_failed]),
    "recovered": ([400, 400, 200], {}, [wait_failed, resend, wait_failed_again, resend]),
    "reported_when_expired": ([400], {}, [expire]),
    "recovered_when_expired": ([400, 200], {}, [resend_expired]),
}
JOBS = {"job_paused", "job_stopped", "resent_by_job", "replayed"}
FAN_OUTS = {"fan_out", "fan_out_canceled"}
OTHERS = {"job_continued", "no_match", "received", *FAN_OUTS}
SHORT_WINDOW = {"expired", "resent_when_expired", "reported_when_expired", "recovered_when_expired"}


async def save(platform: PlatformProcess, receiver: Receiver, name: str) -> None:
    answers, policy, actions = SHAPES[name]
    path = f"/{uuid4().hex}"
    event = await platform.event()
    policy = {"initial_interval": 0.2, "backoff_coefficient": 1, **policy}
    await platform.webhook(event, receiver.tell(path, answers), retry_policy=policy, timeout=30)
    id = await platform.delivery(await platform.publish(event))
    for action in actions:
        await action(platform, receiver, id, path)
    if answers[-1] == 200 or name == "slow":
        await platform.wait(id, "delivered", timeout=60)
    history = await (await platform.temporal()).get_workflow_handle(f"default/{id}").fetch_history()
    write(name, history)


async def save_no_match(platform: PlatformProcess) -> None:
    published = await platform.publish(await platform.event())
    handle = (await platform.temporal()).get_workflow_handle(f"default/{published['id']}")
    await handle.result()
    write("no_match", await handle.fetch_history())


async def save_received(platform: PlatformProcess, receiver: Receiver) -> None:
    event, path = await platform.event(), f"/{uuid4().hex}"
    await platform.webhook(event, receiver.url(path))
    made = {"name": "GitHub", "event": event, "verification": {"type": "github"}, "secret": STANDARD_SECRET}
    source = await platform.post("/v1/sources", made)
    body = b'{"n": 1}'
    async with httpx.AsyncClient(base_url=platform.http.base_url) as sender:
        answer = await sender.post(f"/in/{source['id']}", content=body, headers=github(STANDARD_SECRET, body))
    assert answer.status_code == 200, answer.text
    [request] = await receiver.wait_for(path, 1)
    id = request.headers["webhook-id"]
    await platform.wait(id, "delivered")
    write("received", await (await platform.temporal()).get_workflow_handle(f"default/{id}").fetch_history())


async def save_continued(platform: PlatformProcess, receiver: Receiver) -> None:
    """Saves the first run of a job that goes on in another one after each step."""
    event, path = await platform.event(), f"/{uuid4().hex}"
    await platform.webhook(event, receiver.tell(path, [400, 400, 200]))
    for _ in range(2):
        await wait_failed(platform, receiver, await platform.delivery(await platform.publish(event)), path)
    client = await platform.temporal()
    _, id = await start_long_job(client, event, rate=0.5, step_seconds=1, steps_per_run=1)
    await until_job(platform, id, "done")
    name = f"default/~job~{id}"
    runs = [run async for run in client.list_workflows(f"WorkflowId = '{name}'")]
    first = min(runs, key=lambda run: run.start_time)
    write("job_continued", await client.get_workflow_handle(name, run_id=first.run_id).fetch_history())


async def save_jobs(platform: PlatformProcess, receiver: Receiver) -> None:
    """Saves a job that was paused, resumed and ended by itself, a stopped one, and a delivery of each."""
    event, path, since = await platform.event(), f"/{uuid4().hex}", datetime.now(UTC).isoformat()
    url = receiver.tell(path, [400, 400, 200])
    webhook = await platform.webhook(event, url)
    ids = [await platform.delivery(await platform.publish(event)) for _ in range(2)]
    for id in ids:
        await wait_failed(platform, receiver, id, path)
    other = await platform.webhook(event, receiver.url(path))
    await asyncio.sleep(2)  # visibility follows
    resend = {"filter": {"webhook_id": [webhook["id"]]}, "rate": 0.2}
    job = (await platform.post("/v1/deliveries/resend", resend))["job"]["id"]
    await platform.wait(ids[0], "delivered")
    await platform.post(f"/v1/jobs/{job}/pause")
    await until_job(platform, job, "paused")
    await platform.post(f"/v1/jobs/{job}/resume")
    await until_job(platform, job, "done")
    replay = {"since": since, "rate": 0.2}
    stopped = (await platform.post(f"/v1/webhooks/{other['id']}/replay", replay))["job"]["id"]
    replayed = f"{ids[0].partition('~')[0]}~{other['id']}"
    await until_found(platform, replayed)
    await platform.post(f"/v1/jobs/{stopped}/stop")
    await until_job(platform, stopped, "stopped")
    await platform.wait(replayed, "delivered")
    saved = {"job_paused": f"~job~{job}", "job_stopped": f"~job~{stopped}", "resent_by_job": ids[0]}
    for name, id in (saved | {"replayed": replayed}).items():
        handle = (await platform.temporal()).get_workflow_handle(f"default/{id}")
        write(name, await handle.fetch_history())


async def save_fan_outs(platform: PlatformProcess, receiver: Receiver) -> None:
    """Saves the fan-out of an occurrence that ended by itself, and one that ended because it was cancelled."""
    event, path = await platform.event(), f"/{uuid4().hex}"
    for _ in range(MAX_STARTED_AT_ONCE + 1):
        await platform.webhook(event, receiver.url(path))
    client = await platform.temporal()
    for name in sorted(FAN_OUTS):
        published = await platform.publish(event)
        handle = client.get_workflow_handle(f"default/~fan-out~{published['id']}")
        if name == "fan_out_canceled":
            await receiver.wait_for(path, len(receiver.got(path)) + 1)
            await handle.cancel()
        with contextlib.suppress(WorkflowFailureError):
            await handle.result()
        write(name, await handle.fetch_history())


async def until_job(platform: PlatformProcess, id: str, state: str) -> None:
    async def is_so() -> bool:
        return bool((await platform.get(f"/v1/jobs/{id}"))["state"] == state)

    await until(is_so, timeout=60, what=f"a job that is {state}")


async def until_found(platform: PlatformProcess, id: str) -> None:
    async def is_so() -> bool:
        return (await platform.http.get(f"/v1/deliveries/{id}")).status_code == 200

    await until(is_so, timeout=30, what="a delivery")


def write(name: str, history: WorkflowHistory) -> None:
    text = re.sub(r'": "\d+@[^"]*"', '": "a worker"', history.to_json())  # process id and host name
    text = re.sub(r'"stackTrace": "(?:[^"\\]|\\.)*"', '"stackTrace": ""', text)  # paths of the machine
    (HISTORIES / f"{name}.json").write_text(text + "\n")
    print(name)  # noqa: T201


async def main() -> None:
    new = {*SHAPES, *JOBS, *OTHERS} - {file.stem for file in HISTORIES.glob("*.json")}
    with tempfile.TemporaryDirectory() as folder:
        async with Receiver().serving() as receiver:
            async with running(Path(folder) / "a", **CLEAR) as platform:
                for name in sorted(new - SHORT_WINDOW - JOBS - OTHERS):
                    await save(platform, receiver, name)
                if new & JOBS:
                    await save_jobs(platform, receiver)
                if "no_match" in new:
                    await save_no_match(platform)
                if new & FAN_OUTS:
                    await save_fan_outs(platform, receiver)
                if "received" in new:
                    await save_received(platform, receiver)
                if "job_continued" in new:
                    await save_continued(platform, receiver)
            async with running(Path(folder) / "b", WEBHOOKS_RESEND_WINDOW="1", **CLEAR) as platform:
                for name in sorted(new & SHORT_WINDOW):
                    await save(platform, receiver, name)


if __name__ == "__main__":
    asyncio.run(main())
