"""How we use Temporal: names, payloads, search attributes, the connection."""

import asyncio
import logging
import os
import secrets
import socket
from datetime import timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeTaskQueueResponse,
)
from temporalio.client import Client
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import CompositePayloadConverter, DataConverter
from temporalio.envconfig import ClientConfig
from temporalio.service import GrpcCompression, RPCError, RPCStatusCode

from webhooks.settings import Settings
from webhooks.telemetry import setup
from webhooks.temporal import namespace
from webhooks.temporal.namespace import NotReadyError

log = logging.getLogger(__name__)


_CHECK_TIMEOUT = timedelta(seconds=2)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.3, 10.0
_PASSING = (
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.CANCELLED,
)
_STARTING = (*_PASSING, RPCStatusCode.INTERNAL, RPCStatusCode.UNKNOWN)
_ENCODERS = tuple(PydanticPayloadConverter().converters.values())


class _PayloadConverter(CompositePayloadConverter):
    """Pydantic's, sharing its type adapters: Temporal makes a converter for each workflow run."""

    def __init__(self) -> None:
        super().__init__(*_ENCODERS)


DATA_CONVERTER = DataConverter(payload_converter_class=_PayloadConverter)


def is_passing(error: RPCError) -> bool:
    """Whether Temporal may serve the same call in a moment."""
    return error.status in _PASSING


async def describe_task_queue(client: Client, task_queue: str) -> DescribeTaskQueueResponse:
    """Who polls for workflow tasks, and how many wait; some seconds old, for Temporal keeps it that long. Raises
    RPCError."""
    return await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=task_queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
            report_stats=True,
        ),
        timeout=_CHECK_TIMEOUT,
    )


async def connect(settings: Settings) -> Client:
    """Connects by Temporal's own `TEMPORAL_*` variables and makes the namespace ready for us. Keeps trying while the
    server does not answer: ours needs a moment to start, another one may be away for longer.

    Raises NotReadyError for what trying again will not mend."""
    config = ClientConfig.load_client_connect_config(disable_file=True)
    config["target_host"] = settings.temporal_target
    config["namespace"] = settings.temporal_namespace
    # Never that of a process before this one, though it had the same number on the same host (isolation/takeover.py).
    identity = f"{os.getpid()}@{socket.gethostname()}#{secrets.token_hex(4)}"
    ours = settings.temporal_address is None
    runtime = setup.runtime(settings)
    pause = _FIRST_PAUSE
    while True:
        try:
            client = await Client.connect(
                **config,
                identity=identity,
                data_converter=DATA_CONVERTER,
                interceptors=setup.interceptors(),
                runtime=runtime,
                grpc_compression=GrpcCompression.NONE,  # costs both sides more time than a local network costs
            )
            await namespace.prepare(client, ours=ours)
            return client
        except RuntimeError as error:  # no connection
            reason: Exception = error
        except RPCError as error:
            if error.status not in _STARTING and not (ours and error.status is RPCStatusCode.NOT_FOUND):
                raise NotReadyError(f"Temporal at {settings.temporal_target}: {error}") from error
            reason = error
        if pause > 1:
            log.warning("Temporal at %s does not answer yet: %s", settings.temporal_target, reason)
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)
