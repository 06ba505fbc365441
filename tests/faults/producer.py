"""A producer that does what README asks of one: what got no answer, or a 503, it publishes again with the same id."""

import asyncio
import contextlib
import hashlib
import itertools
import json
import random
import time

from tests.faults.ledger import Ledger, Tried
from tests.support.senders import STANDARD_SECRET, github
from webhooks.testing.platform_process import KEY, PlatformProcess

TEXT = "Grüße, 世界"
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
        request, expected = self._request(event, id)
        given_up = time.monotonic() + _PATIENCE_SECONDS
        for n in itertools.count():
            at, (status, pause) = time.monotonic(), await self._ask(request)
            self._ledger.append(Tried(id, at, status, hashlib.sha256(expected).hexdigest()))
            if status not in (0, 503) or at > given_up:
                return
            await asyncio.sleep(random.uniform(1, 1.2) * max(pause, min(_PAUSE_SECONDS * 1.5**n, _LONGEST_PAUSE)))

    def _request(self, event: str, id: str) -> tuple[bytes, bytes]:
        """The request, and the body that the receiver is to get."""
        document = {"id": id, "event": event, "occurred_at": OCCURRED_AT, "data": {"id": id, "text": TEXT}}
        body = json.dumps(document).encode()
        return http("/v1/occurrences", {"authorization": f"Bearer {KEY}"}, body), _compact(document)

    async def _ask(self, request: bytes) -> tuple[int, float]:
        """The answer's status, 0 if there was none, and its Retry-After in seconds."""
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(_ANSWER_SECONDS):
                reader, writer = await asyncio.open_connection("127.0.0.1", next(self._ports))
                with contextlib.closing(writer):
                    writer.write(request)
                    await writer.drain()
                    if random.random() < self._hangs_up:
                        await asyncio.sleep(random.uniform(0, 0.04))
                        return 0, 0.0
                    answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            status = int(answer.split(" ", 2)[1])
            retry_after = answer.partition("retry-after:")[2].partition("\r\n")[0]
            return status, float(retry_after or 0)
        return 0, 0.0


class Sender(Producer):
    """Sends as GitHub does, to a source, and again what was not answered: with the same id. The id of an occurrence is
    that of the source, a colon, and the sender's own."""

    def _request(self, event: str, id: str) -> tuple[bytes, bytes]:
        source, _, name = id.partition(":")
        document = {"id": name, "text": TEXT}
        body = json.dumps(document).encode()
        signed = github(STANDARD_SECRET, body) | {"x-github-delivery": name}
        return http(f"/in/{source}", signed, body), _compact({"id": id, "event": event, "data": document})

    async def _ask(self, request: bytes) -> tuple[int, float]:
        status, pause = await super()._ask(request)
        return 202 if status == 200 else status, pause


def http(path: str, headers: dict[str, str], body: bytes) -> bytes:
    """The bytes of a POST."""
    all_headers = {"content-type": "application/json", **headers, "content-length": str(len(body))}
    lines = [f"POST {path} HTTP/1.1", "host: localhost", "connection: close"]
    lines += [f"{name}: {value}" for name, value in all_headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _compact(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
