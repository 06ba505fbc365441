"""What Temporal stores shows no data, stays readable for the monitor, and can be made unreadable."""

import asyncio
import base64
import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from tests.platform.test_backup import run
from tests.support.decrypting import client_of
from tests.workflows.replaying import replay_all
from webhooks.testing.platform_process import Json, PlatformProcess, running, until
from webhooks.testing.receiver import Receiver, Reply

DATA, HEADER, ANSWER, ERROR = "canary-data-7301", "canary-header-7302", "canary-answer-7303", "canary-reason-7304"
FIRST = {"maximum_attempts": 1}


async def failed_and_resent(platform: PlatformProcess, receiver: Receiver, path: str, word: str) -> str:
    """Deliver in four attempts: one is retried, one fails for good, one is resent and fails, one is resent. Each shows
    the canaries."""
    event = await platform.event()
    body = f"{ANSWER} {word}".encode()
    answers = [Reply(503, body), Reply(400, body), Reply(400, body), Reply(200, body)]
    url = receiver.tell(f"{path}?{ERROR}", answers)
    receiver.tell(path, answers)
    headers = {"X-Shown": HEADER}
    await platform.webhook(event, url, headers=headers)
    id = await platform.delivery(await platform.publish(event, {"text": f"{DATA} {word}"}, owner_id=f"{word}-owner"))
    for attempts in (2, 3):
        await platform.wait(id, lambda shown, n=attempts: shown["status"] == "failed" and len(shown["attempts"]) == n)  # type: ignore[misc]
        await platform.post(f"/v1/deliveries/{id}/resend", expect=202)
    delivered = await platform.wait(id, "delivered")
    assert [attempt["response_body"] for attempt in delivered["attempts"]] == [body.decode()] * 4
    return id


def in_files(folder: Path, *words: str) -> set[str]:
    """Which words the files of the Temporal server hold, as text or in base64."""
    found = set()
    for path in sorted(folder.glob("temporal.*")):
        content = path.read_bytes()
        for word in words:
            shifted = [base64.b64encode(b"." * n + word.encode())[4 * (n > 0) : -4] for n in range(3)]
            if any(form in content for form in (word.encode(), word.encode().hex().encode(), *shifted)):
                found.add(word)
    return found


WORDS = (DATA, HEADER, ANSWER, ERROR)


@pytest.mark.thorough
async def test_what_was_stored_in_clear_is_shown_after_encryption_is_switched_on(
    tmp_path: Path, receiver: Receiver, path: str
) -> None:
    """While it is off, the search in the files finds what it looks for."""
    async with running(tmp_path / "clear", WEBHOOKS_ENCRYPT_PAYLOADS="false") as platform:
        old = await failed_and_resent(platform, receiver, f"{path}-old", "old")
        before = await platform.get(f"/v1/deliveries/{old}")
        assert in_files(platform.data_dir, *WORDS) == {*WORDS}
        assert (await platform.get(f"/v1/occurrences/{before['occurrence_id']}"))["data"] == {"text": f"{DATA} old"}
        event = await platform.event()
        receiver.tell(f"{path}-waits", [400, 200])
        await platform.webhook(event, receiver.url(f"{path}-waits"))
        waits = await platform.delivery(await platform.publish(event))
        await platform.wait(waits, "failed")
        ports = (platform.port, platform.temporal_port, platform.ui_port)
    async with running(tmp_path / "clear", ports=ports) as platform:
        assert await platform.get(f"/v1/deliveries/{old}") == before
        await platform.post(f"/v1/deliveries/{waits}/resend", expect=202)  # clear first, encrypted from here
        await platform.wait(waits, "delivered")
        await platform.post(f"/v1/deliveries/{old}/resend", {"force": True}, expect=202)
        await platform.wait(old, lambda shown: len(shown["attempts"]) == 5)
        assert await replay_all(await client_of(platform)) > 0


@pytest.mark.thorough
async def test_nothing_of_a_delivery_is_readable_in_the_files_of_temporal(
    tmp_path: Path, receiver: Receiver, path: str
) -> None:
    async with running(tmp_path / "encrypted") as platform:
        unmatched = await platform.publish(await platform.event(), {"text": DATA})
        new = await failed_and_resent(platform, receiver, f"{path}-new", "new")
        await until_checkpointed(platform)
        assert in_files(platform.data_dir, *WORDS, "new-owner") == set()
        assert in_files(platform.data_dir, new) == {new}
        seen = await platform.get(f"/v1/deliveries/{new}")
        assert DATA in seen["request"]["body"]
        assert seen["readable"]
        assert (await platform.get(f"/v1/occurrences/{unmatched['id']}"))["data"] == {"text": DATA}
        assert await replay_all(await client_of(platform)) > 0
        await forget(platform, new, unmatched["id"])


async def until_checkpointed(platform: PlatformProcess) -> None:
    """Copy the write-ahead log into the file, so that both are looked through as they are after a while."""

    def checkpoint() -> None:
        with closing(sqlite3.connect(platform.data_dir / "temporal.db", timeout=10)) as temporal:
            temporal.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    await asyncio.to_thread(checkpoint)


async def forget(platform: PlatformProcess, delivery: str, occurrence: str) -> None:
    """Delete the tenant's keys: the monitor says that it cannot read, and goes on with what is new."""
    await run("webhooks.store.new_payload_key", "--forget", of=platform)
    shown: Json = {}

    async def unreadable() -> bool:
        nonlocal shown
        shown = await platform.get(f"/v1/deliveries/{delivery}")
        return not shown["readable"]

    await until(unreadable, timeout=45, what="an unreadable delivery")
    listed = (await platform.get("/v1/deliveries"))["items"]
    occurrences = (await platform.get("/v1/occurrences"))["items"]
    unmatched = await platform.get(f"/v1/occurrences/{occurrence}")
    problem = await platform.post(f"/v1/deliveries/{delivery}/resend", {"force": True}, expect=409)
    again = {"event": shown["event"], "id": shown["occurrence_id"], "data": {"text": DATA}}
    conflict = await platform.post("/v1/occurrences", again, expect=409)

    assert (shown["id"], shown["status"], shown["request"], shown["url"]) == (delivery, "delivered", None, "")
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["http_503", "http_400", "http_400"]
    assert {attempt["response_body"] for attempt in shown["attempts"]} == {None}
    assert [item["readable"] for item in listed] == [False]
    assert [item["readable"] for item in occurrences] == [False, False]
    assert (unmatched["data"], unmatched["readable"], unmatched["unmatched"]) == (None, False, "")
    assert "can no longer be decrypted" in problem["detail"]
    assert "can no longer be decrypted" in conflict["detail"]
    new = await platform.publish(await platform.event(), {"text": DATA}, id=f"after-{uuid4().hex}")
    assert (await platform.get(f"/v1/occurrences/{new['id']}"))["readable"]
    assert "Traceback" not in platform.log
