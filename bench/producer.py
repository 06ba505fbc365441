"""A producer that uses little CPU time, because it runs on the cores that it measures."""

import asyncio
import json
import time
from collections import deque
from dataclasses import dataclass
from uuid import uuid4

from webhooks.testing.platform_process import PlatformProcess

ACCEPTED = 202
_PAUSE_SECONDS = 0.1
"""Wait after a refusal."""
_IDLE_SECONDS = 3.0
"""The server closes a connection that has been idle for longer."""
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Answered:
    """`at` is the monotonic second of the request, `seconds` how long the answer took."""

    status: int
    at: float
    seconds: float


class Producer:
    """Publishes over kept connections, and keeps the answers by occurrence id."""

    def __init__(self, platform: PlatformProcess) -> None:
        self._port = platform.port
        self._authorization = platform.http.headers["authorization"]
        self._idle: deque[tuple[float, Connection]] = deque()
        self.answers: dict[str, Answered] = {}

    def accepted(self) -> set[str]:
        return {id for id, answered in self.answers.items() if answered.status == ACCEPTED}

    async def publish(self, event: str, id: str) -> None:
        body = json.dumps({"id": id, "event": event, "data": {}}).encode()
        head = (
            f"POST /v1/occurrences HTTP/1.1\r\nhost: localhost\r\nauthorization: {self._authorization}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        at = time.monotonic()
        reader, writer = await self._connection(at)
        writer.write(head.encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(answer.partition("content-length:")[2].partition("\r\n")[0]))
        self.answers[id] = Answered(int(answer.split(" ", 2)[1]), at, time.monotonic() - at)
        self._idle.append((time.monotonic(), (reader, writer)))

    async def insist(self, event: str) -> str:
        """Publish, and repeat until it is accepted. Return the id."""
        await self.publish(event, id := uuid4().hex)
        while self.answers[id].status != ACCEPTED:
            await asyncio.sleep(_PAUSE_SECONDS)
            await self.publish(event, id)
        return id

    async def loop(self, event: str, publishers: int, seconds: float, *, pause: float = 0) -> None:
        """Publish with so many publishers, each of which waits for its answer and then publishes again (a closed loop),
        after `pause` seconds if it was refused."""
        end = time.monotonic() + seconds

        async def publish() -> None:
            while time.monotonic() < end:
                await self.publish(event, id := uuid4().hex)
                if pause and self.answers[id].status != ACCEPTED:
                    await asyncio.sleep(pause)

        await asyncio.gather(*(publish() for _ in range(publishers)))

    async def feed(self, event: str, rate: float, seconds: float, prefix: str) -> None:
        """Publish at a fixed rate (an open loop): do not wait for earlier answers."""
        start, publishing = time.monotonic(), []
        for n in range(int(rate * seconds)):
            await asyncio.sleep(start + n / rate - time.monotonic())
            publishing.append(asyncio.create_task(self.publish(event, f"{prefix}-{n}")))
        await asyncio.gather(*publishing)

    async def close(self) -> None:
        for _, (_, writer) in self._idle:
            writer.close()

    async def _connection(self, now: float) -> Connection:
        while self._idle:
            since, (reader, writer) = self._idle.pop()
            if now - since < _IDLE_SECONDS:
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self._port)
