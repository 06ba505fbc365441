"""An occurrence for more webhooks than deliveries are started before the answer."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import uuid4

import pytest

from tests.support.senders import STANDARD_SECRET, github
from webhooks.deliveries.fan_outs import MAX_RUNNING
from webhooks.publishing.publish import MAX_STARTED_AT_ONCE
from webhooks.testing.platform_process import Json, PlatformProcess, until
from webhooks.testing.receiver import Receiver

MANY = MAX_STARTED_AT_ONCE + 10


@dataclass
class Crowd:
    """Webhooks of one event, all at one URL."""

    platform: PlatformProcess
    receiver: Receiver
    event: str
    path: str
    ids: list[str]

    @classmethod
    async def gathered(cls, platform: PlatformProcess, receiver: Receiver) -> "Crowd":
        event, path = await platform.event(), f"/{uuid4().hex}"
        ids = [(await platform.webhook(event, receiver.url(path)))["id"] for _ in range(MANY)]
        return cls(platform, receiver, event, path, ids)

    def arrived(self, id: str) -> Counter[str]:
        """Return how often each delivery of an occurrence has arrived."""
        all_ids = (request.headers["webhook-id"] for request in self.receiver.got(self.path))
        return Counter(one for one in all_ids if one.partition("~")[0] == id)

    async def until_arrived(self, id: str, count: int) -> None:
        async def are_there() -> bool:
            return len(self.arrived(id)) >= count

        await until(are_there, timeout=90, what=f"{count} deliveries", shown=lambda: str(len(self.arrived(id))))

    async def until_started(self, id: str, count: int) -> Json:
        """Wait until an occurrence has so many deliveries, and return it."""
        shown: Json = {}

        async def are_started() -> bool:
            nonlocal shown
            shown = await self.platform.get(f"/v1/occurrences/{id}")
            return bool(shown["started"] == count)

        await until(are_started, timeout=90, what=f"{count} deliveries", shown=lambda: str(shown))
        return shown


@pytest.fixture(scope="module")
async def crowd(platform_on_sqlite: PlatformProcess, receiver: Receiver) -> Crowd:
    return await Crowd.gathered(platform_on_sqlite, receiver)


@pytest.fixture
async def slow(own: PlatformProcess, receiver: Receiver) -> AsyncIterator[Crowd]:
    """One whose platform starts a delivery in two seconds."""
    own.environment["WEBHOOKS_FAN_OUT_RATE"] = "0.5"
    await own.start()
    yield await Crowd.gathered(own, receiver)


async def test_each_webhook_gets_it_once_however_often_it_is_published(crowd: Crowd) -> None:
    """The answer says how many, and where they are listed."""
    id = f"once-{uuid4().hex}"
    answers = await asyncio.gather(*(crowd.platform.publish(crowd.event, {"n": 1}, id=id) for _ in range(5)))
    changed = {"event": crowd.event, "data": {"n": 2}, "id": id}
    problem = await crowd.platform.post("/v1/occurrences", changed, expect=409)
    shown = await crowd.until_started(id, MANY)
    await crowd.until_arrived(id, MANY)
    again = await crowd.platform.publish(crowd.event, {"n": 1}, id=id)
    await crowd.platform.post("/v1/occurrences", changed, expect=409)
    listed = await crowd.platform.http.get(answers[0]["deliveries_url"], params={"limit": 100})
    occurrences = await crowd.platform.get("/v1/occurrences", event=crowd.event, id=id, matched=True)

    assert (answers[0]["matched"], answers[0]["deliveries"]) == (MANY, [])
    assert all(answer == answers[0] for answer in (*answers, again))
    assert problem["errors"][0]["pointer"] == "/id"
    assert (shown["matched"], shown["deliveries"], shown["data"]) == (MANY, [], {"n": 1})
    assert {item["occurrence_id"] for item in listed.json()["items"]} == {id}
    assert len(listed.json()["items"]) == 100
    assert [(item["id"], item["started"]) for item in occurrences["items"]] == [(id, MANY)]
    assert occurrences["next_cursor"] is None
    assert crowd.arrived(id) == {f"{id}~{webhook}": 1 for webhook in crowd.ids}


@pytest.mark.thorough
async def test_a_webhook_that_is_new_gets_it_when_it_is_published_again(crowd: Crowd, path: str) -> None:
    id = f"again-{uuid4().hex}"
    await crowd.platform.publish(crowd.event, id=id)
    await crowd.until_arrived(id, MANY)
    new = await crowd.platform.webhook(crowd.event, crowd.receiver.url(path))
    again = await crowd.platform.publish(crowd.event, id=id)
    await crowd.receiver.wait_for(path, 1)
    shown = await crowd.until_started(id, MANY + 1)
    await crowd.platform.call("DELETE", f"/v1/webhooks/{new['id']}", expect=204)

    assert (again["matched"], shown["matched"]) == (MANY + 1, MANY + 1)
    assert set(crowd.arrived(id).values()) == {1}


@pytest.mark.thorough
async def test_a_message_of_another_system_comes_twice(crowd: Crowd) -> None:
    """The second one is a duplicate, while the deliveries of the first are started."""
    source = await crowd.platform.post(
        "/v1/sources",
        {"name": "many", "event": crowd.event, "verification": {"type": "github"}, "secret": STANDARD_SECRET},
    )
    body = b'{"n": 1}'
    headers = github(STANDARD_SECRET, body)
    for _ in range(2):
        answer = await crowd.platform.http.post(f"/in/{source['id']}", content=body, headers=headers)
        assert answer.status_code == 200, answer.text
    id = f"{source['id']}:{headers['x-github-delivery']}"
    await crowd.until_arrived(id, MANY)
    received = (await crowd.platform.get("/v1/received", source=source["id"]))["items"]
    verdicts = {item["verdict"]: item for item in received}

    assert verdicts.keys() == {"verified", "duplicate"}
    assert (verdicts["verified"]["id"], verdicts["verified"]["matched"]) == (id, MANY)
    assert verdicts["duplicate"]["occurrence_id"] == id
    assert set(crowd.arrived(id).values()) == {1}


async def test_other_content_for_fewer_webhooks_came_first(crowd: Crowd) -> None:
    """A webhook's delivery exists with other content: the occurrence is refused before anything is started."""
    id, bulk = f"fewer-{uuid4().hex}", {"bulk": True}
    only = await crowd.platform.webhook(crowd.event, crowd.receiver.url(crowd.path), **bulk)
    first = await crowd.platform.publish(crowd.event, {"n": 1}, id=id, **bulk)
    await crowd.until_started(id, 1)
    changed = {"event": crowd.event, "data": {"n": 2}, "id": id}
    await crowd.platform.post("/v1/occurrences", changed, expect=409)
    await crowd.platform.call("DELETE", f"/v1/webhooks/{only['id']}", expect=204)

    assert [item["webhook_id"] for item in first["deliveries"]] == [only["id"]]
    assert (await crowd.platform.get(f"/v1/occurrences/{id}"))["matched"] == 1


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_erased_while_the_deliveries_are_started(slow: Crowd) -> None:
    """Then no more are started. Its id can be published again. Only so many may be started at the same time."""
    id = "erased"
    await slow.platform.publish(slow.event, {"n": 1}, id=id)
    await slow.until_arrived(id, 2)
    shown = await slow.platform.get(f"/v1/occurrences/{id}")
    await slow.platform.call("DELETE", f"/v1/occurrences/{id}", expect=204)
    arrived = slow.arrived(id)
    await slow.platform.get(f"/v1/occurrences/{id}", expect=404)
    await slow.platform.call("DELETE", f"/v1/occurrences/{id}", expect=404)
    await slow.platform.publish(slow.event, {"n": 2}, id=id)
    await slow.until_arrived(id, len(arrived) + 1)  # of others, because these are started from the first one on

    assert shown["matched"] == MANY
    assert 0 < shown["started"] < MANY
    assert max(slow.arrived(id).values()) == 2

    async def refused() -> bool:
        body = {"event": slow.event, "data": {}}
        answers = [await slow.platform.http.post("/v1/occurrences", json=body) for _ in range(MAX_RUNNING)]
        return answers[-1].status_code == 503 and "retry-after" in answers[-1].headers

    await until(refused, timeout=60, what="a refusal")


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_killed_while_the_deliveries_are_started(own: PlatformProcess, receiver: Receiver) -> None:
    """The rest is started after the restart. Only what was on the wire arrives twice."""
    await own.start()
    crowd = await Crowd.gathered(own, receiver)
    await own.publish(crowd.event, id="killed")
    await crowd.until_arrived("killed", 30)
    await own.kill()
    before = crowd.arrived("killed")
    await own.start()
    await crowd.until_started("killed", MANY)
    for webhook in crowd.ids:
        await own.wait(f"killed~{webhook}", "delivered", timeout=60)
    after = crowd.arrived("killed")

    assert len(before) < MANY
    assert after.keys() == {f"killed~{webhook}" for webhook in crowd.ids}
    assert {id for id, count in after.items() if count > 1} <= before.keys()
    assert max(after.values()) <= 2
