"""Answers for who calls too often: 429, with when to call again."""

import math
from collections.abc import Mapping, Sequence

from fastapi import Request

from api.auth import address_of
from api.platform import Platform
from api.protocol.problems import ProblemError
from webhooks.identity.caller import Caller
from webhooks.identity.rates import WINDOW_SECONDS, Quota, TooManyPublicationsError
from webhooks.telemetry import metrics

_PUBLISHES = "occurrence:publish"


async def limit(request: Request, permission: str) -> Mapping[str, str]:
    """Count a publication, and return the headers that say what is left (draft-ietf-httpapi-ratelimit-headers). Raises
    ProblemError 429."""
    if permission != _PUBLISHES:
        return {}
    return await take(request.app.state.platform, request.state.caller)


async def take(platform: Platform, caller: Caller) -> Mapping[str, str]:
    """Count a publication of this caller, and return the headers that say what is left. Raises ProblemError 429."""
    try:
        return _headers(await platform.publish_rates.take(caller))
    except TooManyPublicationsError as error:
        metrics.occurrence(metrics.LIMITED)
        headers = {"Retry-After": str(WINDOW_SECONDS), **_headers([error.quota])}
        raise ProblemError(429, f"{error}; nothing was published", headers=headers) from None


def slowed(request: Request, problem: ProblemError) -> ProblemError:
    """Return the problem to answer with, and count it if it is a failed authentication: of too many from one address,
    the further ones are a 429. Valid keys are never refused by this."""
    if problem.status != 401:
        return problem
    platform: Platform = request.app.state.platform
    given = "authorization" in request.headers
    seconds = platform.failed_authentications.add(address_of(request)) if given else None
    metrics.failed_authentication(metrics.SLOWED if seconds else metrics.INVALID if given else metrics.MISSING)
    if seconds is None:
        return problem
    retry_after = str(math.ceil(seconds))
    detail = "too many requests without a valid API key from this address"
    return ProblemError(429, detail, headers={"Retry-After": retry_after})


def _headers(quotas: Sequence[Quota]) -> dict[str, str]:
    if not quotas:
        return {}
    policies = ", ".join(f'"{quota.name}";q={quota.limit};w={WINDOW_SECONDS}' for quota in quotas)
    left = ", ".join(f'"{quota.name}";r={quota.remaining};t={WINDOW_SECONDS}' for quota in quotas)
    return {"RateLimit-Policy": policies, "RateLimit": left}
