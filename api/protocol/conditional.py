"""Conditional requests: ETag and If-Match (RFC 9110, section 13) against lost updates."""

import hashlib
from typing import Annotated

from fastapi import Header, Response
from pydantic import BaseModel

from api.protocol.merge_patch import Model
from api.protocol.problems import ProblemError

IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", description="The ETag that you read: refused with 412 if somebody changed it since"),
]


def tagged(response: Response, view: Model) -> Model:
    """The view, with its ETag on the response."""
    response.headers["ETag"] = _etag(view)
    return view


def require_match(if_match: str | None, view: BaseModel) -> None:
    """Raises ProblemError 412 if the resource is not what the caller has seen."""
    if if_match is not None and not {"*", _etag(view)} & {tag.strip() for tag in if_match.split(",")}:
        raise ProblemError(412, "it has changed since you read it; look and try again")


def _etag(view: BaseModel) -> str:
    return f'"{hashlib.sha256(view.model_dump_json(by_alias=True).encode()).hexdigest()[:32]}"'
