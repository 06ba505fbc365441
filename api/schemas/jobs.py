"""Jobs: what is done to many deliveries."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.deps import MAX_VALUES, Term
from api.schemas.common import EXAMPLE_WEBHOOK, Body, Moment
from webhooks.contracts import JobKind, JobState
from webhooks.deliveries.jobs import JobView
from webhooks.deliveries.status import DeliveryStatus

Values = Annotated[
    list[Term], Field(default_factory=list, max_length=MAX_VALUES, description="Any one of the values; none: all")
]
Statuses = Annotated[
    list[Annotated[DeliveryStatus, Field(strict=False)]], Field(default_factory=list, max_length=MAX_VALUES)
]
Rate = Annotated[
    float | None,
    Field(gt=0, le=1_000, description="Deliveries per second at most; null: WEBHOOKS_JOB_RATE, which all jobs share"),
]
DryRun = Annotated[bool, Field(description="Only count")]


class DeliveryFilter(Body):
    """The filter of GET /v1/deliveries, with lists, and `last_attempt_since`."""

    webhook_id: Values
    event: Values
    occurrence_id: Values
    client_identifier: Values
    status: Statuses
    outcome: Values
    since: Moment | None = None
    until: Moment | None = Field(None, description="null: now")
    last_attempt_since: Moment | None = Field(None, description="Whose last attempt was made since then")


class ResendManyIn(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "filter": {"webhook_id": [EXAMPLE_WEBHOOK], "since": "2026-01-10T09:40:00Z"},
                    "dry_run": True,
                }
            ]
        }
    )

    filter: DeliveryFilter = Field(
        description="Without `status`: what failed or expired, and with `force` all that ended"
    )
    dry_run: DryRun = False
    force: bool = Field(False, description="Resend also what was delivered")
    rate: Rate = None


class CancelManyIn(Body):
    filter: DeliveryFilter = Field(description="Without `status`: what is pending or retrying")
    dry_run: DryRun = False
    rate: Rate = None


class ReplayIn(Body):
    since: Moment | None = Field(None, description="Occurrences that were published from then on")
    until: Moment | None = Field(None, description="null: now")
    occurrence_id: Values
    only_missing: bool = Field(
        True, description="false: of what the webhook has a delivery of, resend what failed or expired"
    )
    dry_run: DryRun = False
    rate: Rate = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.since is None and not self.occurrence_id:
            raise ValueError("since must be given, or occurrence_id")
        if self.since is not None and self.until is not None and self.until <= self.since:
            raise ValueError("until must be after since")
        return self


class CountOut(BaseModel):
    count: int
    exact: bool = Field(description="false: there may be fewer, as only reading each of them would tell")


class JobOut(BaseModel):
    id: str
    kind: JobKind
    state: JobState
    filter: DeliveryFilter
    force: bool
    only_missing: bool
    requested_by: str | None = Field(description="Who started it; null for a client's users if the tenant did")
    created_at: datetime
    ended_at: datetime | None
    found: int | None = Field(description="What it looks at; null until it is counted")
    seen: int = Field(description="What it has looked at")
    done: int = Field(description="What it has resent, started or given up. May miss some before a crash")
    skipped: dict[str, int] = Field(description="What it left as it is, by reason")
    rate: float | None = Field(description="What it has looked at per second, without pauses")
    expected_end: datetime | None = Field(description="If it goes on at this rate")
    temporal_url: str | None = Field(description="null for those who have nothing to do with Temporal")


class JobStarted(BaseModel):
    """With `dry_run` the count, otherwise the job."""

    dry_run: CountOut | None = None
    job: JobOut | None = None


def job_out(view: JobView, *, to_client: bool) -> JobOut:
    """Return the job as it is shown; `to_client`: to a client's own users."""
    selection, progress = view.job.selection, view.progress
    rate = view.rate
    return JobOut(
        id=view.job.id,
        kind=view.job.kind,
        state=view.state,
        filter=DeliveryFilter.model_construct(
            webhook_id=list(selection.webhook_ids),
            event=list(selection.events),
            occurrence_id=list(selection.occurrence_ids),
            client_identifier=list(selection.client_identifiers),
            status=[DeliveryStatus(status) for status in selection.statuses],
            outcome=list(selection.outcomes),
            since=selection.since,
            until=selection.until,
            last_attempt_since=selection.last_attempt_since,
        ),
        force=view.job.force,
        only_missing=view.job.only_missing,
        requested_by=None if to_client else view.job.requested_by,
        created_at=view.job.started_at,
        ended_at=view.ended_at,
        found=progress.found,
        seen=progress.seen,
        done=progress.done,
        skipped=progress.skipped,
        rate=rate and round(rate, 2),
        expected_end=view.expected_end,
        temporal_url=None if to_client else view.temporal_url,
    )
