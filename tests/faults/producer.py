"""A producer that does what README asks of one: what got no answer, or a 503, it publishes again with the same id."""

import asyncio
import contextlib
import hashlib
import itertools
import json
import random
import time

from tests.faults.ledger import Ledger, Tried
from webhooks.testing.platform_process import KEY, PlatformProcess

OCCURRED_AT = "2026-01-10T10:30:00Z"
_ANSWER_SECONDS = 15.0
_PATIENCE_SECONDS = 120.0
_PAUSE_SECONDS, _LONGEST_PAUSE = 0.5, 5.0
"""After no answer; a 503 says itself how long. Whoever is refused again and again comes less and less often."""


class Producer:
    """Publishes to each API in turn, and writes down every answer."""

    def __init__(self, apis: list[PlatformProcess], ledger: Ledger, *, hangs_up: float = 0) -> None:
        """`hangs_up` is the share of calls whose answer it does not wait for."""
        self._ports = itertools.cycle([api.port for api in apis])
        self._ledger = ledger
        self._hangs_up = hangs_up
        self._publishing: set[asyncio.Task[None]] = set()

    async def feed(self, event: str, rate: float, prefix: str) -> None:
        """Open loop, until cancelled: each is published when its time has come, whatever became of the last one."""
        start = time.monotonic()
        for n in itertools.count():
            await asyncio.sleep(start + n / rate - time.monotonic())
            self.begin(event, f"{prefix}-{n}")

    def begin(self, event: str, id: str) -> None:
        task = asyncio.create_task(self.publish(event, id))
        self._publishing.add(task)

    async def finish(self) -> None:
        """Returns once everything begun was accepted, or given up."""
        await asyncio.gather(*self._publishing)
        self._publishing.clear()

    async def publish(self, event: str, id: str) -> None:
        """Until there is an answer other than 503."""
        data = {"id": id, "text": "Grüße, 世界"}
        body = json.dumps({"id": id, "event": event, "occurred_at": OCCURRED_AT, "data": data}).encode()
        expected = json.dumps(json.loads(body), ensure_ascii=False, separators=(",", ":")).encode()
        given_up = time.monotonic() + _PATIENCE_SECONDS
        for n in itertools.count():
            at, (status, pause) = time.monotonic(), await self._ask(body)
            self._ledger.append(Tried(id, at, status, hashlib.sha256(expected).hexdigest()))
            if status not in (0, 503) or at > given_up:
                return
            await asyncio.sleep(random.uniform(1, 1.2) * max(pause, min(_PAUSE_SECONDS * 1.5**n, _LONGEST_PAUSE)))

    async def _ask(self, body: bytes) -> tuple[int, float]:
        """The answer's status, 0 if there was none, and its Retry-After in seconds."""
        head = (
            f"POST /v1/occurrences HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(_ANSWER_SECONDS):
                reader, writer = await asyncio.open_connection("127.0.0.1", next(self._ports))
                with contextlib.closing(writer):
                    writer.write(head.encode() + body)
                    await writer.drain()
                    if random.random() < self._hangs_up:
                        await asyncio.sleep(random.uniform(0, 0.04))
                        return 0, 0.0
                    answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            status = int(answer.split(" ", 2)[1])
            retry_after = answer.partition("retry-after:")[2].partition("\r\n")[0]
            return status, float(retry_after or 0)
        return 0, 0.0
