"""Starting the deliveries of an occurrence that many webhooks get."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.fan_outs import FanOutActivities
    from webhooks.contracts import FanOut, FanOutProgress
    from webhooks.temporal.names import FAN_OUT_OCCURRENCE

_LONGEST = timedelta(days=30)
"""It takes as long as the platform has no room."""
_HEARTBEAT_TIMEOUT = timedelta(seconds=20)
"""After a crash, another worker goes on this much later."""


@workflow.defn(name=FAN_OUT_OCCURRENCE)
class FanOutOccurrence:
    """Started in place of the deliveries, so that an occurrence is accepted with one write, however many get it."""

    @workflow.run
    async def run(self, fan_out: FanOut) -> FanOutProgress:
        """Return when every delivery is stored. A cancellation ends it after the start in hand."""
        progress: FanOutProgress = await workflow.execute_activity_method(
            FanOutActivities.start_deliveries,
            fan_out,
            start_to_close_timeout=_LONGEST,
            heartbeat_timeout=_HEARTBEAT_TIMEOUT,
            retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=1)),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=f"{len(fan_out.webhook_ids)} webhooks",
        )
        return progress
