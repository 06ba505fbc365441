"""The connection to Temporal."""

import asyncio
import logging
import os
import re
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
from temporalio.common import HeaderCodecBehavior
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import CompositePayloadConverter, DataConverter
from temporalio.envconfig import ClientConfig
from temporalio.service import GrpcCompression, RPCError, RPCStatusCode

from webhooks.settings import Settings
from webhooks.telemetry import setup
from webhooks.temporal import namespace
from webhooks.temporal.codec import PayloadKeys, encrypting
from webhooks.temporal.namespace import NotReadyError

log = logging.getLogger(__name__)

_DESCRIBE_TIMEOUT = timedelta(seconds=2)
_FIRST_RECONNECT_SECONDS = 0.3
_MAX_RECONNECT_SECONDS = 10.0
_RECONNECT_FACTOR = 1.5
"""The pause between two tries to connect: the first, the longest, and how it grows."""
_WARN_AFTER_PAUSE_SECONDS = 1.0
"""Shorter pauses are not logged: our own server needs a moment to start."""
_TEMPORARY = {
    RPCStatusCode.UNAVAILABLE: "Temporal is not reachable",
    RPCStatusCode.CANCELLED: "Temporal did not answer in time",  # the SDK's own deadline
    RPCStatusCode.DEADLINE_EXCEEDED: "Temporal did not answer in time",
    RPCStatusCode.RESOURCE_EXHAUSTED: "Temporal takes no more calls for now",
}
"""Status of errors that may pass, and what a caller is told."""
_STARTING = (*_TEMPORARY, RPCStatusCode.INTERNAL, RPCStatusCode.UNKNOWN)
"""Status of errors of a server that is starting."""
_RUST_MESSAGE = re.compile(r'message: "([^"]+)"')
_RUST_TLS = re.compile(r"tls|certificate|InvalidCertificate|UnknownIssuer", re.IGNORECASE)
_ENCODERS = tuple(PydanticPayloadConverter().converters.values())


class _PayloadConverter(CompositePayloadConverter):
    """Pydantic's converter, with its type adapters shared: Temporal makes a converter for each workflow run."""

    def __init__(self) -> None:
        super().__init__(*_ENCODERS)


DATA_CONVERTER = DataConverter(payload_converter_class=_PayloadConverter)
"""Without encryption."""


def is_passing(error: RPCError) -> bool:
    """Return whether the same call may succeed soon."""
    return error.status in _TEMPORARY


def why_passing(error: RPCError) -> str:
    """Return what a caller is told of an error that may pass."""
    return _TEMPORARY[error.status]


async def describe_task_queue(client: Client, task_queue: str) -> DescribeTaskQueueResponse:
    """Return the pollers of a task queue and how many workflow tasks wait in it. Temporal caches this for some seconds.
    Raises RPCError."""
    return await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=task_queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
            report_stats=True,
        ),
        timeout=_DESCRIBE_TIMEOUT,
    )


async def connect(settings: Settings, keys: PayloadKeys) -> Client:
    """Connect with Temporal's own `TEMPORAL_*` variables, and prepare the namespace. Try again as long as the server
    does not answer: ours needs a moment to start, and another one may be down for longer. `keys` encrypt what Temporal
    stores, if the settings say so, and decrypt it.

    Raises NotReadyError for errors that a retry does not solve."""
    config = ClientConfig.load_client_connect_config(disable_file=True)
    config["target_host"] = settings.temporal_target
    config["namespace"] = settings.temporal_namespace
    # Unique, even if an earlier process had the same id on the same host: isolation/takeover.py relies on it.
    identity = f"{os.getpid()}@{socket.gethostname()}#{secrets.token_hex(4)}"
    ours = settings.temporal_address is None
    advice = "" if ours else "; is TEMPORAL_ADDRESS right?"
    runtime = setup.runtime(settings)
    pause = _FIRST_RECONNECT_SECONDS
    while True:
        try:
            client = await Client.connect(
                **config,
                identity=identity,
                data_converter=encrypting(DATA_CONVERTER, keys, encrypts=settings.encrypt_payloads),
                header_codec_behavior=HeaderCodecBehavior.CODEC,
                interceptors=setup.interceptors(),
                runtime=runtime,
                grpc_compression=GrpcCompression.NONE,  # takes more time than it saves on a local network
            )
            await namespace.prepare(client, ours=ours)
            return client
        except RuntimeError as error:  # no connection
            reason = _why_no_connection(error)
        except ValueError as error:  # no address
            raise NotReadyError(f"TEMPORAL_ADDRESS {settings.temporal_target}: {error}") from None
        except RPCError as error:
            if error.status not in _STARTING and not (ours and error.status is RPCStatusCode.NOT_FOUND):
                raise NotReadyError(f"Temporal at {settings.temporal_target}: {error}") from error
            reason = str(error)
        if pause > _WARN_AFTER_PAUSE_SECONDS:
            log.warning("Temporal at %s does not answer yet: %s%s", settings.temporal_target, reason, advice)
        await asyncio.sleep(pause)
        pause = min(pause * _RECONNECT_FACTOR, _MAX_RECONNECT_SECONDS)


def _why_no_connection(error: Exception) -> str:
    """Return the cause in an error of the SDK, which is Rust's description of a nested value."""
    text = str(error)
    if "dns error" in text:
        return "its host name does not resolve"
    if cause := _RUST_MESSAGE.search(text):
        return cause[1].lower()
    return "the TLS handshake failed" if _RUST_TLS.search(text) else "no connection"
