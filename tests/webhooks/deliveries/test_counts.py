"""The number of deliveries that wait for a person, as metrics show it."""

from types import SimpleNamespace
from typing import Any, cast

from opentelemetry.metrics import CallbackOptions
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from webhooks.deliveries.counts import AwaitingResend


class _Temporal:
    """Answers counts with the given results in turn."""

    def __init__(self, *results: int | RPCError) -> None:
        self.results = list(results)
        self.queries: list[str] = []

    async def count_workflows(self, query: str, **_: Any) -> SimpleNamespace:
        self.queries.append(query)
        result = self.results.pop(0)
        if isinstance(result, RPCError):
            raise result
        return SimpleNamespace(count=result)


async def test_the_number_is_unknown_while_temporal_does_not_answer() -> None:
    """Unknown, not 0: an alert must not end because Temporal is away."""
    temporal = _Temporal(3, RPCError("away", RPCStatusCode.UNAVAILABLE, b""), 0)
    awaiting_resend = AwaitingResend(cast("Client", temporal))
    shown = []
    for _ in range(4):
        shown.append([observation.value for observation in awaiting_resend.observe(CallbackOptions())])
        if temporal.results:
            await awaiting_resend.update()

    assert shown == [[], [3], [], [0]]
    assert "DeliveryStatus = 'failed'" in temporal.queries[0]
