"""An occurrence that matched no webhook, recorded so that "did the event occur?" has an answer."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from webhooks.contracts import UnmatchedOccurrence
    from webhooks.temporal.names import RECORD_OCCURRENCE


@workflow.defn(name=RECORD_OCCURRENCE)
class RecordOccurrence:
    @workflow.run
    async def run(self, recorded: UnmatchedOccurrence) -> None:
        """Complete immediately: the input and the search attributes are the record."""
