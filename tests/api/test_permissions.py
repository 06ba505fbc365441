"""Each route is closed without a caller, without its permission, and open with exactly that."""

import re
from collections.abc import Iterator
from types import SimpleNamespace

import httpx
import pytest

from api.app import create_app
from webhooks.identity.permissions import PERMISSIONS
from webhooks.testing.platform_process import KEY, PlatformProcess

DOCUMENT = create_app(SimpleNamespace(why_failed=str)).openapi()  # type: ignore[arg-type]


WITHOUT_ROUTE = {"delivery:read_body"}
"""It opens fields of a delivery."""


def routes() -> Iterator[tuple[str, str, list[str]]]:
    for path, operations in DOCUMENT["paths"].items():
        if path.startswith("/v1/"):
            for method, operation in operations.items():
                [requirement] = operation["security"]
                yield method.upper(), path, requirement["HTTPBearer"]


ROUTES = [(method, path, scopes[0]) for method, path, scopes in routes()]


def test_each_route_declares_one_permission_and_each_permission_has_a_route() -> None:
    declared = [scopes for _, _, scopes in routes()]
    used = {scope for scopes in declared for scope in scopes}

    assert all(len(scopes) == 1 for scopes in declared)
    assert used <= PERMISSIONS
    assert PERMISSIONS - used == WITHOUT_ROUTE


async def key_with(platform: PlatformProcess, *permissions: str) -> dict[str, str]:
    """Return the header of a new key with these permissions."""
    made = await platform.post("/v1/api-keys", {"name": "walk", "permissions": sorted(permissions)})
    return {"authorization": f"Bearer {made['key']}"}


STRANGERS: list[dict[str, str]] = [
    {},
    *({"authorization": value} for value in ("Bearer wrong", "Bearer", "Basic dGVzdDp0ZXN0", KEY, f"Token {KEY}")),
]
"""Headers of requests without a valid key."""


@pytest.mark.parametrize(("method", "path", "permission"), ROUTES, ids=[f"{m} {p}" for m, p, _ in ROUTES])
async def test_a_route_asks_for_its_permission(
    platform: PlatformProcess, method: str, path: str, permission: str
) -> None:
    where = re.sub(r"\{\w+\}", await platform.event() if "/events/" in path else "none", path)
    anyone = httpx.AsyncClient(base_url=platform.http.base_url)
    async with anyone:
        nobody = [await anyone.request(method, where, json={}, headers=headers) for headers in STRANGERS]
        others = await anyone.request(
            method, where, json={}, headers=await key_with(platform, *PERMISSIONS - {permission})
        )
        exactly = await anyone.request(method, where, json={}, headers=await key_with(platform, permission))

    for answer in nobody:
        assert answer.status_code == answer.json()["status"] == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"] == "Bearer"
    assert others.status_code == 403
    assert permission in others.json()["detail"]
    assert f'scope="{permission}"' in others.headers["www-authenticate"]
    assert exactly.status_code not in (401, 403, 500)
