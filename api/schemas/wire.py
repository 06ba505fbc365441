"""How a request and its response went over the wire: of an attempt, and of a test."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from webhooks.contracts import Attempt

_HEADERS = "at most 50 and 8,192 characters; what is longer than 1,024 is cut off and ends with `…`. Secrets are masked"


class TimingOut(BaseModel):
    """Milliseconds that each part of an attempt took. A part that did not happen is null; of a failed attempt, the last
    part is the one that failed."""

    dns: float | None = Field(None, description="Looking up the host's addresses; null if the URL holds an address")
    connect: float | None = Field(
        None, description="Opening the connection, also through a proxy; null on a connection that was kept open"
    )
    tls: float | None = Field(None, description="The TLS handshake")
    wait: float | None = Field(None, description="From sending the request to the first byte of the response")
    read: float | None = Field(None, description="From there to the end of the body, as far as it was read")


class HeaderOut(BaseModel):
    name: str
    value: str


RequestHeaders = Annotated[list[HeaderOut] | None, Field(description=f"As sent, {_HEADERS}")]
ResponseHeaders = Annotated[list[HeaderOut] | None, Field(description=f"In their order, {_HEADERS}")]


def wire(attempt: Attempt) -> dict[str, Any]:
    """Return the timing and the headers of an attempt. All are None if no request was made."""
    if attempt.details is None:
        return {"timing": None, "request_headers": None, "response_headers": None}
    return {
        "timing": attempt.details.timing,
        "request_headers": _headers(attempt.details.request_headers),
        "response_headers": _headers(attempt.details.response_headers) if attempt.status_code else None,
    }


def _headers(lines: str) -> list[dict[str, str]]:
    """Return the headers of the lines `name: value`."""
    parts = (line.partition(": ") for line in lines.split("\n") if line)
    return [{"name": name, "value": value} for name, _, value in parts]
