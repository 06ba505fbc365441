"""The yardstick: a workflow that does nothing, the least that Temporal can do durably."""

from temporalio import workflow


@workflow.defn
class EmptyWorkflow:
    @workflow.run
    async def run(self) -> None:
        """Complete immediately."""
