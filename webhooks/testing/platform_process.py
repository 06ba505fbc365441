"""The platform as a process of its own (`python -m api`), used over HTTP by tests, the demo and the benchmark."""

import asyncio
import contextlib
import copy
import itertools
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from webhooks.testing.child_process import ChildProcess

KEY = "test-administrator-key"
Json = dict[str, Any]
_REPEAT = re.compile(r'"id": "([^"]+)"')
"""What a 503 asks to publish again with."""


class PlatformProcess(ChildProcess):
    """Starts, stops and kills a platform. Its data remain in `data_dir`. When it is killed, its Temporal server ends as
    well."""

    def __init__(
        self, data_dir: Path, *, key: str = KEY, ports: tuple[int, int, int] | None = None, **environment: str
    ) -> None:
        """`ports` are those of the API, Temporal and Temporal's Web UI; free ones by default. `environment` sets
        variables of the platform; an empty one is not set."""
        self.data_dir = data_dir
        self.port, self.temporal_port, self.ui_port = ports or (free_port(), free_port(), free_port())
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("WEBHOOKS_", "TEMPORAL_", "OTEL_"))
        }
        ours = {
            **kept,
            "WEBHOOKS_BOOTSTRAP_KEY": key,
            "WEBHOOKS_DATA_DIR": str(data_dir),
            "WEBHOOKS_PORT": str(self.port),
            "WEBHOOKS_TEMPORAL_PORT": str(self.temporal_port),
            "WEBHOOKS_TEMPORAL_UI_PORT": str(self.ui_port),
            "WEBHOOKS_EGRESS_ALLOW": "127.0.0.0/8",
            "WEBHOOKS_MAX_FAILED_AUTHENTICATIONS": "1000000",
            **environment,
        }
        set_ones = {name: value for name, value in ours.items() if value}
        super().__init__((sys.executable, "-m", "api"), set_ones, data_dir / "platform.log")
        self.http = self._client(key)

    @contextlib.asynccontextmanager
    async def called_with(self, key: str) -> AsyncIterator["PlatformProcess"]:
        """Yield the same platform, called with another API key."""
        other = copy.copy(self)
        async with self._client(key) as other.http:
            yield other

    def _client(self, key: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"authorization": f"Bearer {key}"},
            timeout=30,
            # Less than the server's 5 s: it may close an idle connection just when the next request is sent.
            limits=httpx.Limits(keepalive_expiry=2),
        )

    @property
    def key(self) -> str:
        """The API key that it is called with."""
        return self.http.headers["authorization"].removeprefix("Bearer ")

    @property
    def temporal_pid(self) -> int:
        """The process id of its own Temporal server."""
        found = self._children("start-dev")
        assert found, f"{self.pid} runs no Temporal server"
        return found[0]

    @property
    def serving_pids(self) -> list[int]:
        """The process ids of those that serve: its own, or with WEBHOOKS_PROCESSES those of its children."""
        return self._children("api.child") or [self.pid]

    def _children(self, argument: str) -> list[int]:
        """Return the process ids of its children that have this argument."""
        found = []
        for child in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            with contextlib.suppress(FileNotFoundError):  # it has just ended
                if argument in Path(f"/proc/{child}/cmdline").read_text().split("\0"):
                    found.append(int(child))
        return found

    def worker(self, name: str = "worker") -> ChildProcess:
        """Return a worker process for this platform. It is not started yet."""
        environment = {"TEMPORAL_ADDRESS": f"127.0.0.1:{self.temporal_port}", **self.environment}
        return ChildProcess((sys.executable, "worker.py"), environment, self.data_dir / f"{name}.log")

    async def start(self, *, ready: bool = True) -> None:
        """Start the platform, and wait until it is ready; without `ready`, until its API answers. Raises AssertionError
        if its port is in use: another process would answer in its place."""
        assert free_port(self.port) == self.port, f"port {self.port} is in use"
        await self.spawn()
        answers = self.is_ready if ready else self.lives
        await until(answers, timeout=60, what="the platform", alive=self.assert_alive)

    async def lives(self) -> bool:
        return await self._get_status("/health/live") == 200

    async def is_ready(self) -> bool:
        return await self._get_status("/health/ready") == 200

    async def refuses(self) -> bool:
        """Return whether its port takes no more connections."""
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except ConnectionError:
            return True
        writer.close()
        return False

    async def close(self) -> None:
        await self.http.aclose()
        await super().close()

    async def temporal(self) -> Client:
        return await Client.connect(f"127.0.0.1:{self.temporal_port}", data_converter=pydantic_data_converter)

    async def post(self, path: str, body: object = None, *, expect: int | None = None) -> Json:
        return await self.call("POST", path, body, expect=expect)

    async def get(self, path: str, *, expect: int = 200, **query: object) -> Json:
        return await self.call("GET", path, expect=expect, **query)

    async def call(
        self, method: str, path: str, body: object = None, *, expect: int | None = None, **query: Any
    ) -> Json:
        """Send a request and return the JSON of its answer. Raises AssertionError if the status is not `expect`;
        without one, if it is not a success."""
        answer = await self.http.request(method, path, json=body, params=query)
        assert answer.status_code == expect if expect else answer.is_success, f"{answer.status_code} {answer.text}"
        result: Json = answer.json() if answer.content else {}
        return result

    async def event(self, **fields: object) -> str:
        """Create an event, and return its key."""
        created = await self.post("/v1/events", {"key": f"Event-{uuid4().hex}", **fields})
        return str(created["key"])

    async def webhook(self, event: str, url: str, **fields: object) -> Json:
        """Create a webhook for an event, and return it. It retries fast enough for a test."""
        policy = {"initial_interval": 0.2, "backoff_coefficient": 1, "maximum_interval": 60, "maximum_attempts": 10}
        body = {"url": url, "event": event, "allowedClientIdentifiers": [], "retry_policy": policy, **fields}
        return await self.post("/v1/webhooks", body, expect=201)

    async def publish(self, event: str, data: object = None, **fields: object) -> Json:
        """Publish as a producer should: try again, with the same id, if the platform or Temporal is overloaded."""
        body = {"event": event, "data": data or {"n": 1}, **fields}
        while (answer := await self.http.post("/v1/occurrences", json=body)).status_code == 503:
            detail = answer.json()["detail"]
            assert detail.startswith(("too much at once", "Temporal did not answer in time")), detail
            if named := _REPEAT.search(detail):
                body["id"] = named[1]
            await asyncio.sleep(0.1)
        assert answer.status_code == 202, f"{answer.status_code} {answer.text}"
        published: Json = answer.json()
        return published

    async def delivery(self, published: Json) -> str:
        """Return the id of the only delivery of an occurrence."""
        [only] = published["deliveries"]
        return str(only["id"])

    async def wait(self, delivery_id: str, done: Callable[[Json], bool] | str, timeout: float = 30) -> Json:
        """Return the delivery when it is `done`: a status or a condition. Raises AssertionError after `timeout`
        seconds."""
        latest: Json = {}

        async def is_done() -> bool:
            nonlocal latest
            latest = await self.get(f"/v1/deliveries/{delivery_id}")
            return bool(latest["status"] == done if isinstance(done, str) else done(latest))

        await until(is_done, timeout=timeout, what=f"delivery {done}", shown=lambda: str(latest))
        return latest

    async def _get_status(self, path: str) -> int:
        try:
            return (await self.http.get(path)).status_code
        except httpx.TransportError:
            return 0


@contextlib.asynccontextmanager
async def running(
    data_dir: Path, *, key: str = KEY, ports: tuple[int, int, int] | None = None, **environment: str
) -> AsyncIterator[PlatformProcess]:
    platform = PlatformProcess(data_dir, key=key, ports=ports, **environment)
    try:
        await platform.start()
        yield platform
        assert await platform.stop() == 0
    finally:
        await platform.close()


async def until(
    holds: Callable[[], Awaitable[bool]],
    *,
    timeout: float,
    what: str,
    shown: Callable[[], str] = str,
    alive: Callable[[], None] = lambda: None,
) -> None:
    """Wait until `holds` returns true. Raises AssertionError after `timeout` seconds; its message names `what` and
    holds the text that `shown` returns. `alive` may raise to end the wait early."""
    deadline = asyncio.get_running_loop().time() + timeout
    while not await holds():
        alive()
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not come within {timeout} s: {shown()}"
        await asyncio.sleep(0.05)


_SLICE = 20
_PORTS = itertools.cycle(range(10_000 + os.getpid() % 1_100 * _SLICE, 10_000 + (os.getpid() % 1_100 + 1) * _SLICE))
"""A process that starts servers takes their ports from a slice of its own. The kernel takes ports of outgoing
connections above these (from 32768), so nobody else takes one before its server listens."""


def free_port(wanted: int = 0) -> int:
    """Return the port `wanted` if it is free, or else any free port."""
    candidates = (wanted, *itertools.islice(_PORTS, _SLICE)) if wanted else itertools.islice(_PORTS, _SLICE)
    for port in candidates:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise OSError(f"no free port among {_SLICE}")
