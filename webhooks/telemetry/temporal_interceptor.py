"""Temporal's own tracing, as we need it. Imported only where tracing is on."""

from temporalio import workflow
from temporalio.contrib.opentelemetry import TracingInterceptor, TracingWorkflowInboundInterceptor
from temporalio.worker import (
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from webhooks.telemetry.traces import HEADER, PROPAGATOR


class Interceptor(TracingInterceptor):
    """Of a client, and so of its workers."""

    def __init__(self) -> None:
        super().__init__()
        self.header_key = HEADER
        self.text_map_propagator = PROPAGATOR

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[TracingWorkflowInboundInterceptor]:
        super().workflow_interceptor_class(input)
        return _Workflow


class _Workflow(TracingWorkflowInboundInterceptor):
    def __init__(self, next: WorkflowInboundInterceptor) -> None:
        super().__init__(next)
        self.header_key = HEADER
        self.text_map_propagator = PROPAGATOR

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))


class _Outbound(WorkflowOutboundInterceptor):
    def start_local_activity(self, input: StartLocalActivityInput) -> workflow.ActivityHandle[object]:
        """What is scheduled while a history is replayed gets no header from Temporal's interceptor, for its span was
        made before. But attempts of it may come yet: after a restart they would have left the trace."""
        header = workflow.info().headers.get(HEADER)
        if header and HEADER not in input.headers:
            input.headers = {**input.headers, HEADER: header}
        return super().start_local_activity(input)
