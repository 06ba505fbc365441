"""One fault under load: receiver and producer around a platform, the moments at which it was broken, the verdict."""

import asyncio
import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

from tests.faults.checker import Exposure, Verdict, check
from tests.faults.ledger import Arrived, Ledger, arrived, tried
from tests.faults.ledger_receiver import SECRET
from tests.faults.producer import Producer, Sender
from tests.faults.topology import Split
from tests.support.senders import STANDARD_SECRET
from webhooks.testing.child_process import ChildProcess
from webhooks.testing.platform_process import Json, PlatformProcess, free_port, until

RATE = 20
_SETTLE_SECONDS = 180
_QUIET_SECONDS = 2.0
_READS_AT_ONCE = 5


class Drill:
    """Everything it writes is in `folder`, for whoever looks into a failed one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.producer: Producer
        self._tries, self._arrivals = folder / "producer.ledger", folder / "receiver.ledger"
        self._port = free_port()
        self._exposures: list[Exposure] = []
        self._webhooks: dict[str, list[str]] = {}

    @contextlib.asynccontextmanager
    async def receiving(self) -> AsyncIterator["Drill"]:
        command = (sys.executable, "-m", "tests.faults.ledger_receiver", str(self._port), str(self._arrivals))
        receiver = ChildProcess(command, {"PATH": "/usr/bin"}, self.folder / "receiver.log")
        await receiver.spawn()
        try:
            await until(self._listens, timeout=30, what="the receiver", alive=receiver.assert_alive)
            yield self
        finally:
            await receiver.close()

    @contextlib.asynccontextmanager
    async def single(self, path: str = "") -> AsyncIterator[PlatformProcess]:
        """The platform as `make run` runs it; with this PATH, if it is not empty."""
        platform = PlatformProcess(self.folder / "platform", PATH=path or os.environ["PATH"])
        try:
            await platform.start()
            yield platform
        finally:
            await platform.close()

    @contextlib.asynccontextmanager
    async def split(self, *, apis: int = 1, workers: int = 1, data_dir: Path | None = None) -> AsyncIterator[Split]:
        split = Split(self.folder / "platform", apis=apis, workers=workers, data_dir=data_dir)
        try:
            await split.start()
            yield split
        finally:
            await split.close()

    @contextlib.asynccontextmanager
    async def load(self, apis: list[PlatformProcess], *, rate: float = RATE, hangs_up: float = 0) -> AsyncIterator[str]:
        """Publishes for as long as the block runs, and then until everything was accepted and delivered. The event's
        key; what else the block publishes with the producer counts as well."""
        ledger = Ledger(self._tries)
        self.producer = Producer(apis, ledger, hangs_up=hangs_up)
        event = await self.webhook(apis[0], "/", "load")
        feeding = asyncio.create_task(self.producer.feed(event, rate, "load"))
        try:
            yield event
        finally:
            feeding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feeding
        await self.producer.finish()
        ledger.close()
        await self._settle(apis[0])

    @contextlib.asynccontextmanager
    async def sent_to_a_source(self, api: PlatformProcess, *, rate: float = RATE) -> AsyncIterator[None]:
        """As `load`, by a sender whose webhooks the platform receives."""
        ledger = Ledger(self._tries)
        self.producer = Sender([api], ledger, hangs_up=0.1)
        event = await self.webhook(api, "/", "", template={"id": "{id}", "event": "{event}", "data": "{data}"})
        source = await api.post(
            "/v1/sources",
            {"name": "drill", "event": event, "verification": {"type": "github"}, "secret": STANDARD_SECRET},
        )
        self._webhooks[source["id"].partition("-")[0]] = self._webhooks.pop("")
        feeding = asyncio.create_task(self.producer.feed(event, rate, f"{source['id']}:load"))
        try:
            yield
        finally:
            feeding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feeding
        await self.producer.finish()
        ledger.close()
        await self._settle(api)

    async def webhook(
        self, api: PlatformProcess, path: str, prefix: str, *, count: int = 1, **event_fields: object
    ) -> str:
        """An event with its webhook, or several at one URL, for occurrences whose ids begin with the prefix."""
        event = await api.event(**event_fields)
        policy = {"initial_interval": 1, "backoff_coefficient": 1, "maximum_interval": 60}
        url = f"http://127.0.0.1:{self._port}{path}"
        self._webhooks[prefix] = [
            (await api.webhook(event, url, signing_secret=SECRET, retry_policy=policy))["id"] for _ in range(count)
        ]
        return event

    def delivery(self, id: str) -> str:
        """The only one of an occurrence."""
        [only] = self._deliveries(id)
        return only

    def _deliveries(self, id: str) -> set[str]:
        return {f"{id}~{webhook}" for webhook in self._webhooks[id.partition("-")[0]]}

    @contextlib.asynccontextmanager
    async def exposed(self, after: float = 0.2) -> AsyncIterator[None]:
        """Begins with a request in flight. From then until `after` seconds behind the block's end,
        what is on its way may have to be sent again."""
        await self.in_flight()
        start = time.monotonic()
        yield
        self._exposures.append(Exposure(start, time.monotonic() + after))

    async def in_flight(self) -> None:
        """Returns while the receiver holds a request, and will for a moment."""
        await until(self._holds, timeout=30, what="a request in flight")

    async def until_tried(self, occurrences: set[str]) -> None:
        """Returns when the receiver has answered a request of each."""
        ids = {delivery for id in occurrences for delivery in self._deliveries(id)}

        async def tried() -> bool:
            now = time.monotonic()
            return ids <= {one.id for one in self.arrived() if one.at + one.hold < now}

        await until(tried, timeout=60, what="a request of each delivery")

    async def until_arrived(self, id: str, number: int) -> None:
        """Returns when so many deliveries of an occurrence have arrived."""

        async def enough() -> bool:
            return len({one.id for one in self.arrived()} & self._deliveries(id)) >= number

        await until(enough, timeout=600, what=f"{number} deliveries of {id}")

    async def until_resent(self, deliveries: set[str], number: int) -> None:
        """Returns when so many of them were sent again."""

        async def enough() -> bool:
            return len(self.resent(deliveries)) >= number

        await until(enough, timeout=120, what=f"{number} sent again")

    def resent(self, deliveries: set[str]) -> set[str]:
        """Those that the receiver has got more than once."""
        times = Counter(one.id for one in self.arrived())
        return {id for id in deliveries if times[id] > 1}

    def arrived(self) -> list[Arrived]:
        return arrived(self._arrivals)

    async def verdict(self, api: PlatformProcess) -> Verdict:
        tries = tried(self._tries)
        ids = {one.id for one in tries}
        shown = await self._shown(api, {delivery for id in ids for delivery in self._deliveries(id)})
        webhooks_of = {id: self._webhooks[id.partition("-")[0]] for id in ids}
        return check(tries, self.arrived(), shown, self._exposures, webhooks_of)

    async def _holds(self) -> bool:
        now = time.monotonic()
        return any(one.at + one.hold - now > 0.25 for one in self.arrived())

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            return False
        writer.close()
        return True

    async def _settle(self, api: PlatformProcess) -> None:
        """Waits until the monitor shows an end of everything accepted, and then until nothing more arrives. What does
        not end in time is for the checker to say."""
        accepted = {one.id for one in tried(self._tries) if one.status == 202}
        open_ones = {delivery for id in accepted for delivery in self._deliveries(id)}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_SECONDS):
                while open_ones:
                    shown = await self._shown(api, open_ones)
                    open_ones -= {id for id, delivery in shown.items() if delivery["closed_at"]}
                    await asyncio.sleep(0.5)
        count = -1
        while count != len(self.arrived()):
            count = len(self.arrived())
            await asyncio.sleep(_QUIET_SECONDS)

    async def _shown(self, api: PlatformProcess, ids: set[str]) -> dict[str, Json]:
        """What the monitor shows of each; without those that it does not show."""
        gate, shown = asyncio.Semaphore(_READS_AT_ONCE), dict[str, Json]()

        async def read(id: str) -> None:
            async with gate:
                with contextlib.suppress(httpx.TransportError):
                    answer = await api.http.get(f"/v1/deliveries/{id}")
                    if answer.status_code == 200:
                        shown[id] = answer.json()

        await asyncio.gather(*(read(id) for id in ids))
        return shown
