"""Deliveries in figures: how many succeeded, and how fast receivers answered."""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field

from webhooks.contracts import Trigger
from webhooks.isolation.lane import State


class Span(StrEnum):
    """How far back a window reaches. It begins with a bar, so it is up to one bar longer."""

    HOUR = "1h"
    DAY = "24h"
    WEEK = "7d"
    MONTH = "30d"


class BarOut(BaseModel):
    at: datetime = Field(description="When the bar begins: it counts deliveries that were accepted from then on")
    delivered: int | None = Field(description="null: not known")
    failed: int | None = Field(description="null: not known")


class _Figures(BaseModel):
    """Figures are null while Temporal does not answer."""

    delivered: int | None
    failed: int | None = Field(description="Ended without being delivered, or waits for a resend")
    waiting: int | None = Field(description="Has not ended, and further attempts follow by themselves")
    success_rate: float | None = Field(
        description="From 0 to 1: the part of `delivered` in `delivered` and `failed`. null if there is none",
        examples=[0.998],
    )
    bars: list[BarOut] = Field(description="Oldest first")
    as_of: datetime


class StatisticsOut(_Figures):
    since: datetime
    until: datetime


class AwaitingResendOut(BaseModel):
    awaiting_resend: int | None = Field(description="null while Temporal does not answer")


class HealthOut(_Figures):
    webhook_id: str
    window: Span
    total: int | None
    p50_ms: float | None = Field(description="Half of the sample's attempts took no longer than this")
    p95_ms: float | None = Field(description="95 % of the sample's attempts took no longer than this")
    sample: int = Field(description="How many attempts the times are of: the last ones of the newest deliveries")
    state: State | None = Field(description="Of the circuit, as `/traffic` shows it. null: not known here")
    failing_since: datetime | None = Field(description="As in the webhook")


class RecentRequestOut(BaseModel):
    delivery_id: str
    event: str
    occurrence_id: str
    attempt: int = Field(description="Its number in the delivery", examples=[1])
    trigger: Trigger
    outcome: str = Field(examples=["http_503"])
    status_code: int | None
    duration_ms: float
    at: datetime
