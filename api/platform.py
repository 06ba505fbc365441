"""What a request needs and the process holds: settings, the database, the connection to Temporal."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

from api.protocol.problems import temporal_unreachable
from webhooks.credentials.vault import Vault
from webhooks.deliveries.monitor import Deliveries
from webhooks.egress.client import Egress
from webhooks.isolation.backlog import Backlog
from webhooks.isolation.lanes import Lanes
from webhooks.sending.sender import Sender
from webhooks.settings import Settings
from webhooks.store import api_keys
from webhooks.store.api_keys import KeyRing
from webhooks.store.database import Database
from webhooks.store.postgresql import DatabaseAwayError
from webhooks.temporal.connection import describe_task_queue

_TESTS_AT_ONCE = 10
_CHECK_TIMEOUT = timedelta(seconds=2)


@dataclass
class Platform:
    """Built by the process; `client` and `worker` come once Temporal answers, which may be after the first request."""

    settings: Settings
    database: Database
    vault: Vault
    egress: Egress
    sender: Sender
    keys: KeyRing = field(init=False)
    lanes: Lanes = field(default_factory=Lanes)
    backlog: Backlog = field(default_factory=Backlog)
    test_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_TESTS_AT_ONCE))
    """Of all callers: they take the time that their receivers take."""
    client: Client | None = None
    worker: Worker | None = None

    def __post_init__(self) -> None:
        self.keys = KeyRing(self.database)

    @property
    def temporal(self) -> Client:
        """Raises ProblemError 503 while there is no connection."""
        if self.client is None:
            raise temporal_unreachable()
        return self.client

    @property
    def deliveries(self) -> Deliveries:
        return Deliveries(self.temporal, ui=self.settings.temporal_ui, task_queue=self.settings.task_queue)

    def overloaded(self) -> bool:
        """Whether as much is accepted and not begun as should be."""
        if self.settings.embedded_worker:
            return self.lanes.backlogged()
        return self.backlog.size >= self.settings.max_backlog

    async def why_not_ready(self) -> str | None:
        """What keeps deliveries from flowing, or None if nothing does."""
        if self.client is None:
            return "connecting to Temporal"
        try:
            if not await self.client.service_client.check_health(timeout=_CHECK_TIMEOUT):
                return "Temporal is not healthy"
            if self.settings.embedded_worker:
                if self.worker is None or not self.worker.is_running:
                    return "the worker does not run"
            elif not (await describe_task_queue(self.client, self.settings.task_queue)).pollers:
                return "no worker polls the task queue"
        except RPCError:
            return "Temporal is not reachable"
        try:
            async with self.database.read() as session:
                await api_keys.any_stored(session)
        except (SQLAlchemyError, DatabaseAwayError):
            return "the configuration database cannot be read"
        return None
