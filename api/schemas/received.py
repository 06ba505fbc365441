"""Requests that were received from other systems."""

from datetime import datetime

from pydantic import BaseModel, Field, JsonValue

from api.schemas.occurrences import PublishedOut
from webhooks.inbound.not_stored import Verdict


class ReceivedOut(BaseModel):
    """A request to a source. One that was not stored (`refused`, `duplicate`, `challenge`) is kept for an hour, in the
    memory of the process that got it."""

    id: str = Field(description="The id of the occurrence, if it was stored")
    source_id: str
    event: str
    verdict: Verdict = Field(
        description="`verified`; `unverified`: the source asks for no proof; `refused`; `duplicate`: the message came "
        "before; `challenge`: the sender tested the URL"
    )
    reason: str | None = Field(description="Why it was not stored; null if it was")
    received_at: datetime
    address: str = Field(description="Where it came from")
    sender_id: str | None = Field(description="The sender's own id of the message")
    sender_type: str | None = Field(description="The sender's own type of the message")
    occurrence_id: str | None = Field(description="The occurrence that it became; of a duplicate, the first one's")
    deliveries: list[PublishedOut] = Field(description="Empty if more than 100 webhooks want it")
    matched: int = Field(description="How many webhooks want it")
    unmatched: str | None = Field(description="Why no webhook wanted it, if none did")
    readable: bool = Field(description="false: it cannot be decrypted any more")


class ReceivedDetail(ReceivedOut):
    headers: dict[str, str] = Field(description="Credentials are masked. Empty if it was not stored")
    query: dict[str, str]
    body: str | None = Field(description="The body as received, if it is text in UTF-8")
    body_base64: str | None = Field(description="The body as received, byte for byte; null if it was not stored")
    data: JsonValue = Field(description="What templates and filters see of the body")
