"""`/in/{source}`: where senders send their webhooks. An answer tells a sender nothing that it need not know: the reason
of a refusal is in `GET /v1/received`."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from fastapi import APIRouter, Request, Response
from temporalio.service import RPCError

from api import admission, rates
from api.auth import address_of
from api.platform import Platform
from api.protocol.bounded_body import bounded_body
from api.protocol.problems import ProblemError, temporal_unreachable, too_much_at_once
from webhooks.credentials.vault import CannotOpenError
from webhooks.deliveries.fan_outs import TooManyFanOutsError
from webhooks.deliveries.start import OccurrenceConflictError
from webhooks.identity.caller import Caller
from webhooks.inbound.content import MAX_BODY_BYTES
from webhooks.inbound.not_stored import NotStored, Verdict
from webhooks.inbound.receiving import Message, Receiver
from webhooks.inbound.verification import Head, NotVerifiedError
from webhooks.isolation.delayed_starts import TooManyDelayedError
from webhooks.publishing.accept import NotAcceptedError
from webhooks.store import sources as stored_sources
from webhooks.store.models import Source
from webhooks.telemetry import metrics
from webhooks.temporal.connection import is_passing

router = APIRouter(include_in_schema=False)

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_MAX_INSIDE = 64
"""Requests of one source at a time: slow bodies to one source must not keep out the others."""
_BODY_SECONDS = 10.0
_SUSPENDED = {"Retry-After": "60"}
_CHALLENGE = re.compile(r"[\x21-\x7e]{1,512}")
_inside: Counter[str] = Counter()


@router.post("/in/{source}")
async def receive(source: str, request: Request) -> Response:
    """Store a webhook as an occurrence. 200 means that it is stored durably, or was before."""
    platform, address = request.app.state.platform, address_of(request)
    found, suspended = await _find(platform, source, address)
    head = Head({**request.headers}, {**request.query_params}, address)
    arrival = _Arrival(platform, found, head)
    if not found.active:
        raise arrival.refused(404, "the source is inactive")
    if suspended:
        raise arrival.refused(503, "the tenant is suspended", "not available; try again later", headers=_SUSPENDED)
    if int(head.headers.get("content-length", "0")) > MAX_BODY_BYTES:
        raise arrival.refused(413, _TOO_LARGE, _TOO_LARGE)
    with _one_inside(arrival):
        return await _receive(request, arrival)


@router.get("/in/{source}")
async def confirm(source: str, request: Request) -> Response:
    """Answer Meta's registration of the URL: `hub.challenge`, if `hub.verify_token` is right."""
    platform, address = request.app.state.platform, address_of(request)
    found, _ = await _find(platform, source, address)
    query = request.query_params
    challenge = query.get("hub.challenge", "")
    arrival = _Arrival(platform, found, Head({**request.headers}, {}, address))
    if not found.active or query.get("hub.mode") != "subscribe":
        raise arrival.refused(404, "a GET that registers nothing")
    if not arrival.receiver().is_right_token(query.get("hub.verify_token", "")):
        raise arrival.refused(403, "the verify token is wrong, or the source has none", counts=True)
    if not _CHALLENGE.fullmatch(challenge):
        raise arrival.refused(422, "hub.challenge is missing, or not printable")
    return arrival.challenged(challenge)


_TOO_LARGE = f"the body is larger than {MAX_BODY_BYTES // 1024} KiB"
_DETAILS = {401: "not verified", 403: "not verified", 404: "no such path", 422: "not accepted"}
"""What a sender is told."""


class _Arrival:
    """A request to a source that exists."""

    def __init__(self, platform: Platform, source: Source, head: Head) -> None:
        self.platform = platform
        self.source = source
        self.head = head

    def receiver(self) -> Receiver:
        """Raises ProblemError 503."""
        try:
            return Receiver(self.platform.vault, self.source)
        except CannotOpenError as error:
            raise self.refused(503, str(error), "not available; try again later", headers=_SUSPENDED) from None

    def refused(
        self,
        status: int,
        reason: str,
        detail: str = "",
        *,
        counts: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> ProblemError:
        """Keep a refusal in memory, and return the problem to answer with. `counts`: too many of them from one address
        are refused before anything else is done."""
        if counts:
            self.platform.refused_senders.add(self.head.address, self.source.id)
        self._keep(Verdict.REFUSED, reason, status)
        return ProblemError(status, detail or _DETAILS[status], headers=headers)

    def challenged(self, challenge: str) -> Response:
        self._keep(Verdict.CHALLENGE, "the sender tested the URL", 200)
        return Response(challenge, media_type="text/plain")

    def repeated(self, occurrence_id: str) -> None:
        self._keep(Verdict.DUPLICATE, "the message came before", 200, occurrence_id)

    def _keep(self, verdict: Verdict, reason: str, status: int, occurrence_id: str | None = None) -> None:
        metrics.received(verdict)
        self.platform.not_stored.add(
            NotStored(
                tenant=self.source.tenant,
                source_id=self.source.id,
                event=self.source.event,
                verdict=verdict,
                reason=reason,
                status=status,
                address=self.head.address,
                occurrence_id=occurrence_id,
            )
        )


async def _find(platform: Platform, id: str, address: str) -> tuple[Source, bool]:
    """Return the source, and whether its tenant is suspended. Raises ProblemError 404, and 429 for an address that was
    refused too often."""
    for scope in (id, ""):
        if seconds := platform.refused_senders.exceeded(address, scope):
            metrics.received(Verdict.REFUSED)
            raise ProblemError(429, "too many refused requests", headers={"Retry-After": str(math.ceil(seconds))})
    found = None
    if _ID.fullmatch(id):
        async with platform.database.read() as session:
            found = await stored_sources.find_for_request(session, id)
    if found is None:
        metrics.received(Verdict.REFUSED)
        platform.refused_senders.add(address)
        raise ProblemError(404, _DETAILS[404])
    return found


async def _receive(request: Request, arrival: _Arrival) -> Response:
    receiver = arrival.receiver()
    try:
        receiver.check_head(arrival.head)
        body = await bounded_body(request, MAX_BODY_BYTES, _BODY_SECONDS)
        message = receiver.message(arrival.head, body)
    except NotVerifiedError as error:
        raise arrival.refused(401, str(error), counts=True) from None
    except ProblemError as problem:
        raise arrival.refused(problem.status, problem.detail, problem.detail, headers=problem.headers) from None
    if message.challenge:
        return arrival.challenged(message.challenge)
    await _limit(arrival)
    await _store(request, arrival, receiver, message, body)
    return Response()


async def _limit(arrival: _Arrival) -> None:
    """Count the request as a publication of the tenant. Raises ProblemError 429."""
    caller = Caller(arrival.source.tenant, frozenset(), f"source:{arrival.source.id}", arrival.source.name)
    try:
        await rates.take(arrival.platform, caller)
    except ProblemError as problem:
        raise arrival.refused(429, problem.detail, "too many requests", headers={"Retry-After": "1"}) from None


async def _store(request: Request, arrival: _Arrival, receiver: Receiver, message: Message, body: bytes) -> None:
    """Raises ProblemError."""
    platform, source = arrival.platform, arrival.source
    publisher = platform.publishing
    try:
        async with admission.place(request, source.tenant, f"source:{source.id}"):
            accepted, id = await receiver.store(publisher, platform.database, message, body)
    except NotAcceptedError as error:
        raise arrival.refused(422, "; ".join([str(error), *(f"{at}: {why}" for at, why in error.errors)])) from None
    except OccurrenceConflictError as error:
        raise arrival.refused(422, str(error)) from None
    except (TooManyDelayedError, TooManyFanOutsError):
        metrics.occurrence(metrics.REFUSED)
        raise too_much_at_once() from None
    except RPCError as error:
        if not is_passing(error):
            raise
        raise temporal_unreachable("not available; try again") from None
    if accepted.new:
        verified = message.occurrence.received and message.occurrence.received.verified
        metrics.received(Verdict.VERIFIED if verified else Verdict.UNVERIFIED)
    else:
        arrival.repeated(id)


@contextmanager
def _one_inside(arrival: _Arrival) -> Iterator[None]:
    id = arrival.source.id
    if _inside[id] >= _MAX_INSIDE:
        raise arrival.refused(503, "too many requests at a time", "too much at once", headers={"Retry-After": "1"})
    _inside[id] += 1
    try:
        yield
    finally:
        _inside[id] -= 1
        if not _inside[id]:
            del _inside[id]
