"""Decrypting payloads for the Temporal Web UI and the `temporal` command: Temporal's codec server protocol."""

import json
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request, Response
from google.protobuf import json_format
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send
from temporalio.api.common.v1 import Payloads

from api.auth import needs
from api.deps import CurrentCaller, CurrentPlatform
from api.platform import Platform
from api.protocol.problems import RESPONSES, ProblemError, invalid, responses
from api.protocol.strict_json import StrictRoute
from webhooks.temporal.codec import EncryptionCodec, key_id

PREFIX = "/codec"
_MAX_KEYS = 200
"""Keys that the payloads of a call may name: each that is not in memory costs a query. A tenant gets one in 30 days."""
_PAYLOADS = {
    "type": "object",
    "properties": {"payloads": {"type": "array", "items": {"type": "object"}}},
    "description": "A `temporal.api.common.v1.Payloads` in protobuf's JSON",
}
_DOCUMENTED: dict[str, Any] = {"content": {"application/json": {"schema": _PAYLOADS}}}


class _CodecRoute(StrictRoute):
    max_body = 4 * 1024 * 1024
    """The Web UI sends the payloads of several events at a time."""


router = APIRouter(prefix=PREFIX, tags=["codec"], responses=RESPONSES, route_class=_CodecRoute)


@router.post(
    "/decode",
    dependencies=[needs("delivery:read_body")],
    response_class=Response,
    responses={200: {"description": "The same payloads, decrypted", **_DOCUMENTED}, **responses(413)},
    openapi_extra={"requestBody": {"required": True, **_DOCUMENTED}},
)
async def decode_payloads(
    request: Request,
    caller: CurrentCaller,
    platform: CurrentPlatform,
    _: Annotated[bool, Query(alias="preserveStorageRefs", description="The Web UI sends it; it has no effect")] = False,
) -> Response:
    """Decrypts what Temporal stores of your tenant, as Temporal's codec server protocol says. Other payloads are
    returned as they are: those that are not encrypted, those of other tenants, and those whose key was deleted."""
    if caller.client_identifier:
        raise ProblemError(403, "the caller sees one client only, and a payload does not say whose it is")
    payloads = Payloads()
    try:
        document = json.loads((await request.body()).decode())
        if not isinstance(document, dict):
            raise TypeError("not an object")
        json_format.ParseDict(document, payloads, ignore_unknown_fields=True)
    except (json_format.ParseError, ValueError, TypeError, RecursionError):  # their messages may repeat the input
        raise invalid("", "not the JSON of temporal.api.common.v1.Payloads") from None
    if len({key_id(payload) for payload in payloads.payloads}) > _MAX_KEYS:
        raise invalid("/payloads", f"they name more than {_MAX_KEYS} keys; send fewer at a time")
    codec = EncryptionCodec(platform.resources.payload_keys, encrypts=False)
    decoded = await codec.decode_readable(payloads.payloads, tenant=caller.tenant)
    return Response(json_format.MessageToJson(Payloads(payloads=decoded), indent=None), media_type="application/json")


class Cors:
    """Lets pages of the Temporal Web UI, and of no other origin, call the codec server from a browser."""

    def __init__(self, app: ASGIApp, platform: Platform) -> None:
        address = urlsplit(platform.settings.temporal_ui)
        self._app = app
        self._allowing = CORSMiddleware(
            app,
            allow_origins=[f"{address.scheme}://{address.netloc}"],
            allow_methods=["POST"],
            allow_headers=["content-type", "x-namespace", "authorization", "authorization-extras"],
            allow_credentials=True,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_codec = scope["type"] == "http" and scope["path"].startswith(f"{PREFIX}/")
        await (self._allowing if is_codec else self._app)(scope, receive, send)
