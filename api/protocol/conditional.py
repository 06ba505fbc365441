"""Conditional requests (RFC 9110, section 13): ETag and If-Match prevent lost updates."""

import hashlib
from typing import Annotated

from fastapi import Header, Response
from pydantic import BaseModel

from api.protocol.merge_patch import Model
from api.protocol.problems import ProblemError

IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", description="The ETag that you read. 412 if the resource has changed since"),
]


def tagged(response: Response, view: Model) -> Model:
    """Return the view, and set its ETag on the response."""
    response.headers["ETag"] = _etag(view)
    return view


def require_match(if_match: str | None, view: BaseModel) -> None:
    """Raise ProblemError 412 if the resource is not in the state that the caller has seen."""
    if if_match is not None and not {"*", _etag(view)} & {tag.strip() for tag in if_match.split(",")}:
        raise ProblemError(412, "the resource has changed since you read it; read it again and retry")


def _etag(view: BaseModel) -> str:
    return f'"{hashlib.sha256(view.model_dump_json(by_alias=True).encode()).hexdigest()[:32]}"'
