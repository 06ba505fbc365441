"""Reading a request's body, up to a size and within a time."""

import asyncio

from fastapi import Request
from starlette.requests import ClientDisconnect

from api.protocol.problems import ProblemError

_MAX_BODY_SECONDS = 30.0


async def bounded_body(request: Request, max_bytes: int, seconds: float = _MAX_BODY_SECONDS) -> bytes:
    """Return the body as it arrives. Raises ProblemError 400, 408 and 413."""
    chunks = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                chunks += chunk
                if len(chunks) > max_bytes:
                    raise ProblemError(413, f"the body is larger than {max_bytes // 1024} KiB")
    except TimeoutError:
        detail = f"the body did not arrive within {seconds:g} s"
        raise ProblemError(408, detail, headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise ProblemError(400, "the connection was closed before the end of the body") from None
    return bytes(chunks)
