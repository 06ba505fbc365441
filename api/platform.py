"""What a request needs and the process holds: settings, the database, the connection to Temporal."""

from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

from api.protocol.problems import temporal_unreachable
from api.shares import Shares
from webhooks.credentials.vault import Vault
from webhooks.deliveries.jobs import Jobs
from webhooks.deliveries.monitor import Deliveries, DeliverySummary
from webhooks.deliveries.statistics import Statistics
from webhooks.deliveries.summaries import Summaries
from webhooks.deliveries.windows import FirstPages
from webhooks.disk import Disk
from webhooks.egress.client import Egress
from webhooks.identity.audit import Refusals
from webhooks.identity.caller import Caller
from webhooks.identity.identity_provider import IdentityProvider
from webhooks.identity.keyring import KeyRing
from webhooks.identity.rates import FailedAuthentications, PublishRates
from webhooks.identity.sessions import Sessions
from webhooks.identity.signing_keys import SigningKeys
from webhooks.identity.tokens import OwnTokens, Tokens
from webhooks.inbound.not_stored import LastNotStored
from webhooks.isolation.backlog import Backlog
from webhooks.isolation.delayed_starts import DelayedStarts
from webhooks.isolation.held_back import HeldBack
from webhooks.isolation.lanes import Lanes
from webhooks.isolation.waiting_room import WaitingRoom
from webhooks.publishing.publish import Publisher
from webhooks.sending.resources import Resources
from webhooks.sending.sender import Sender
from webhooks.settings import Settings
from webhooks.store import api_keys
from webhooks.store.database import Database
from webhooks.store.postgresql import DatabaseAwayError
from webhooks.temporal.connection import describe_task_queue, why_passing

_MAX_CONCURRENT_TESTS, _MAX_WAITING_TESTS = 5, 100
_CHECK_TIMEOUT = timedelta(seconds=2)


@dataclass
class Platform:
    """Built by the process. `publisher` and `worker` come once Temporal answers, which may be after the first request.

    `lanes` are those of the worker in this process; None if there is no such worker."""

    resources: Resources
    backlog: Backlog
    lanes: Lanes | None
    disk: Disk | None = None
    """That of the embedded Temporal server, if there is one."""
    keys: KeyRing = field(init=False)
    signing_keys: SigningKeys = field(init=False)
    own_tokens: OwnTokens = field(init=False)
    provider: IdentityProvider | None = field(init=False)
    tokens: Tokens = field(init=False)
    sessions: Sessions = field(init=False)
    room: WaitingRoom = field(init=False)
    """Where publications wait."""
    held_back: HeldBack = field(default_factory=HeldBack)
    test_slots: Shares = field(default_factory=lambda: Shares(_MAX_CONCURRENT_TESTS, _MAX_WAITING_TESTS))
    """Of each tenant and client: a test takes as long as its receiver takes."""
    statistics: Statistics = field(default_factory=Statistics)
    summaries: Summaries[DeliverySummary] = field(default_factory=Summaries)
    first_pages: FirstPages = field(default_factory=FirstPages)
    publish_rates: PublishRates = field(init=False)
    failed_authentications: FailedAuthentications = field(init=False)
    refusals: Refusals = field(init=False)
    refused_senders: FailedAuthentications = field(init=False)
    not_stored: LastNotStored = field(default_factory=LastNotStored)
    """Requests to sources that became no occurrence."""
    publisher: Publisher | None = None
    worker: Worker | None = None

    def __post_init__(self) -> None:
        self.keys = KeyRing(self.database)
        self.room = WaitingRoom(self.backlog, self.settings.publish_wait, self.settings.publish_queue)
        self.refusals = Refusals(self.database)
        self.publish_rates = PublishRates(self.settings.publish_rate)
        self.failed_authentications = FailedAuthentications(self.settings.max_failed_authentications)
        self.refused_senders = FailedAuthentications(self.settings.max_failed_authentications)
        self.signing_keys = SigningKeys(self.database, self.vault)
        self.own_tokens = OwnTokens(self.settings.token_issuer, self.signing_keys, self.keys)
        self.sessions = Sessions(self.database, self.keys)
        self.provider = IdentityProvider.of(self.settings, self.egress, self.keys)
        self.tokens = Tokens(self.own_tokens, *([self.provider] if self.provider else ()))

    @property
    def signs_in_with_provider(self) -> bool:
        return self.settings.oidc_client_id is not None

    async def key_caller(self, key: str) -> Caller | None:
        """Return whom an API key belongs to, or None if it is unknown or has expired."""
        caller = await self.keys.caller_of(key)
        return None if caller is None or caller.has_expired() else caller

    @property
    def settings(self) -> Settings:
        return self.resources.settings

    @property
    def database(self) -> Database:
        return self.resources.database

    @property
    def vault(self) -> Vault:
        return self.resources.vault

    @property
    def egress(self) -> Egress:
        return self.resources.egress

    @property
    def sender(self) -> Sender:
        return self.resources.sender

    @property
    def publishing(self) -> Publisher:
        """Raises ProblemError 503 while there is no connection to Temporal, or its disk cannot be written to."""
        if self.disk and self.disk.problem:
            raise temporal_unreachable(f"{self.disk.problem}; try again later")
        return self._connected

    @property
    def client(self) -> Client:
        """For reading. Raises ProblemError 503 while there is no connection to Temporal."""
        return self._connected.client

    @property
    def _connected(self) -> Publisher:
        if self.publisher is None:
            raise temporal_unreachable()
        return self.publisher

    def why_failed(self, error: RPCError) -> str:
        """Return why a call to Temporal has failed that may succeed soon: a full disk is the cause of all else."""
        return (self.disk and self.disk.problem) or why_passing(error)

    @property
    def deliveries(self) -> Deliveries:
        """Raises ProblemError 503 while there is no connection to Temporal."""
        return Deliveries(
            self.client,
            ui=self.settings.temporal_ui,
            task_queue=self.settings.task_queue,
            summaries=self.summaries,
            first_pages=self.first_pages,
        )

    @property
    def jobs(self) -> Jobs:
        """Raises ProblemError 503 while there is no connection to Temporal."""
        return Jobs(self.client, ui=self.settings.temporal_ui, task_queue=self.settings.task_queue)

    def publisher_of(self, client: Client) -> Publisher:
        """Return the publisher on this connection."""
        delayed_starts = DelayedStarts(self.lanes) if self.lanes else None
        return Publisher(client, self.settings.task_queue, self.settings.resend_window, self.backlog, delayed_starts)

    async def why_not_ready(self) -> str | None:
        """Return what keeps deliveries from flowing, or None."""
        if self.disk and self.disk.problem:
            return self.disk.problem
        if self.publisher is None:
            return "connecting to Temporal"
        client = self.publisher.client
        try:
            if not await client.service_client.check_health(timeout=_CHECK_TIMEOUT):
                return "Temporal is not healthy"
            if self.lanes:
                if self.worker is None or not self.worker.is_running:
                    return "the worker does not run"
            elif not (await describe_task_queue(client, self.settings.task_queue)).pollers:
                return "no worker polls the task queue"
        except RPCError:
            return "Temporal is not reachable"
        try:
            async with self.database.read() as session:
                await api_keys.any_stored(session)
        except (SQLAlchemyError, DatabaseAwayError):
            return "the configuration database cannot be read"
        return None

    def stop_waiting(self) -> None:
        """Answer all that wait, so that the process can end."""
        self.room.close()
        self.held_back.close()

    async def close(self) -> None:
        """Wait for what is being written, and end what is being fetched."""
        await self.keys.close()
        await self.refusals.close()
        if self.provider:
            await self.provider.close()
