"""The first delivery of somebody who has nothing yet: an event, a webhook of the built-in test receiver, an
occurrence."""

from fastapi import APIRouter
from starlette.responses import Response

from api.pages.calls import CallError
from api.pages.page import CurrentPage, Page, PageRoute
from webhooks.egress.test_receiver import HOST

router = APIRouter(include_in_schema=False, route_class=PageRoute)

EVENT = "OrderPlaced"
_SAMPLE = {"order": {"id": 4711, "total": 99.5}}
STEPS = ("event:add", "webhook:add", "occurrence:publish")
"""The permissions of the three steps."""


@router.post("/start")
async def start(page: CurrentPage) -> Response:
    """Do the three steps, and show the delivery. Its receiver fails twice, so that its retries can be seen."""
    await _provide_event(page)
    await page.api.post(
        "/v1/webhooks",
        {
            "name": "Test receiver",
            "description": "Built in. It fails twice, then it accepts. Delete it when you have a receiver of your own",
            "url": f"https://{HOST}/fail-twice",
            "event": EVENT,
            "allowedClientIdentifiers": [],
            "retry_policy": {"schedule": [2, 4, 8]},
        },
    )
    published = await page.api.post("/v1/occurrences", {"event": EVENT, "data": _SAMPLE})
    return page.go(f"/deliveries/{published['deliveries'][-1]['id']}")


async def _provide_event(page: Page) -> None:
    event = {"key": EVENT, "description": "An order was placed. An example", "sample": _SAMPLE}
    try:
        await page.api.post("/v1/events", event)
    except CallError as error:
        if error.status != 409:  # it exists already
            raise
