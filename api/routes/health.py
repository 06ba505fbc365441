"""Health checks: whether the process runs, and whether it can deliver."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.deps import CurrentPlatform
from api.protocol.problems import ProblemError, responses

router = APIRouter(prefix="/health", tags=["health"])


class Health(BaseModel):
    status: Literal["ok"] = "ok"


class Ready(Health):
    publications_waiting: int = Field(description="Publications that wait for room in this process")


@router.get("/live")
async def check_live() -> Health:
    """Answers 200 while the process runs."""
    return Health()


@router.get("/ready", responses=responses(503))
async def check_ready(platform: CurrentPlatform) -> Ready:
    """Answers 200 if the configuration database can be read, Temporal answers, and a worker runs; else 503."""
    if why := await platform.why_not_ready():
        raise ProblemError(503, why, headers={"Retry-After": "1"})
    return Ready(publications_waiting=platform.room.waiting())
