"""Temporal's tracing interceptor with our propagator. Imported only if tracing is on."""

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
    """The interceptor of a client and of its workers."""

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
        """Add the trace to activities that are scheduled during a replay. Temporal's interceptor leaves them without it
        because their span exists already; but after a restart, their next attempts would be outside the trace."""
        header = workflow.info().headers.get(HEADER)
        if header and HEADER not in input.headers:
            input.headers = {**input.headers, HEADER: header}
        return super().start_local_activity(input)
