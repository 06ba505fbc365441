"""Receiving a request: verified, it becomes an occurrence of its source's event, once."""

import hashlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from webhooks.contracts import Occurrence, Received
from webhooks.credentials.source_secrets import SourceSecrets
from webhooks.credentials.vault import Vault
from webhooks.deliveries.visibility import Filter, found
from webhooks.ids import is_occurrence_id, uuid7
from webhooks.inbound import content, verification
from webhooks.inbound.verification import Head, Sender, SenderStyle, Verification
from webhooks.publishing.accept import Accepted, accept
from webhooks.publishing.publish import Publisher
from webhooks.store import sealed
from webhooks.store.database import Database
from webhooks.store.models import Source
from webhooks.temporal.names import CREATED_AT, OF_OCCURRENCES


@dataclass(frozen=True)
class Message:
    """A verified request. `challenge`: it is only a test of the URL, and wants this back."""

    occurrence: Occurrence
    challenge: str | None


class Receiver:
    """Verifies the requests of one source, and makes occurrences of them."""

    def __init__(self, vault: Vault, source: Source) -> None:
        """Raises CannotOpenError."""
        self.source = source
        self._verification = Verification.model_validate(source.verification)
        self._secrets: SourceSecrets = sealed.unseal_source(vault, source)

    def check_head(self, head: Head) -> None:
        """Check what the headers alone prove, before the body is read. Raises NotVerifiedError."""
        verification.check_head(self._verification, self._values(), head, time.time())

    def is_right_token(self, given: str) -> bool:
        """Return whether this is the source's verify token."""
        return verification.is_right_token(self._secrets.verify_token, given)

    def message(self, head: Head, body: bytes) -> Message:
        """Return what a request holds whose head was checked. Its occurrence has no id yet if the sender gave none.
        Raises NotVerifiedError."""
        verification.check_body(self._verification, self._values(), head, body)
        style = self._verification.type
        data, digits = content.data_of(head.headers.get("content-type", ""), body)
        sender = verification.sender_of(style, head, data)
        occurrence = Occurrence(
            id=self._id_of(sender.id) if sender.id else "",
            event=self._event_of(sender),
            client_identifier=self.source.client_identifier,
            occurred_at=datetime.now(UTC),
            data=data,
            digits=digits,
            received=Received(
                source_id=self.source.id,
                verified=style is not SenderStyle.NONE,
                sender_id=sender.id,
                sender_type=sender.type,
                address=head.address,
                headers=content.shown_headers(self._verification, head),
                query=content.shown_query(self._verification, head.query),
                body=content.packed(body),
            ),
        )
        return Message(occurrence, verification.challenge_of(style, data))

    async def store(
        self, publisher: Publisher, database: Database, message: Message, body: bytes
    ) -> tuple[Accepted, str]:
        """Store the occurrence of a message, and return what became of it and its id. If an earlier request brought the
        same message, only what is missing is stored. Raises what `accept` raises."""
        occurrence = message.occurrence
        if not occurrence.id:
            occurrence = occurrence.model_copy(update={"id": await self._id_by_body(publisher, body)})
        accepted = await accept(publisher, database, self.source.tenant, occurrence)
        return accepted, occurrence.id

    def _values(self) -> list[str]:
        return [secret.value for secret in self._secrets.current(datetime.now(UTC))]

    def _event_of(self, sender: Sender) -> str:
        return self.source.events_by_type.get(sender.type or "", self.source.event)

    def _id_of(self, name: str) -> str:
        """Return the occurrence's id for the sender's id of a message. No publisher's id looks like it by chance, and
        no other source's."""
        readable = f"{self.source.id}:{name}"
        if is_occurrence_id(readable):
            return readable
        return f"{self.source.id}:sha256-{hashlib.sha256(name.encode()).hexdigest()}"

    async def _id_by_body(self, publisher: Publisher, body: bytes) -> str:
        """Return an id that is the same for equal bodies that arrive within the source's window.

        The id holds the number of the window in which the first of them came, so that a process that is killed, or
        another one, finds it again."""
        window = self.source.duplicate_window
        if not window:
            return self._id_of(uuid7())
        now, digest = datetime.now(UTC), hashlib.sha256(body).hexdigest()[:48]
        number = int(now.timestamp()) // window
        this, last = (self._id_of(f"{digest}-{one}") for one in (number, number - 1))
        query = Filter(
            self.source.tenant, occurrence_ids=[last], workflow_types=OF_OCCURRENCES, without_fanned_out=True
        ).query()
        if query:
            async for row in found(publisher.client, query):
                if row.typed_search_attributes[CREATED_AT] > now - timedelta(seconds=window):
                    return last
        return this
