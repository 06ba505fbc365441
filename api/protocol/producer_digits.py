"""The digits of numbers in a request's `data`, as the producer wrote them."""

from typing import Annotated

from fastapi import Depends, Request
from pydantic import JsonValue

from webhooks.json_numbers import digits_in


async def _digits_of_data(request: Request) -> JsonValue:
    """Return the digits that models do not keep, as `Occurrence.digits` has them."""
    body = await request.json() if await request.body() else None
    return digits_in(body.get("data")) if isinstance(body, dict) else None


DigitsOfData = Annotated[JsonValue, Depends(_digits_of_data)]
