"""Each route is closed without a caller, without its permission, and open with exactly that."""

import re
from collections.abc import Iterator

import httpx

from tests.support.openapi_document import openapi_document
from webhooks.identity.permissions import PERMISSIONS
from webhooks.testing.platform_process import KEY, Json, PlatformProcess

WITHOUT_ROUTE = {"delivery:read_body"}
"""It opens fields of a delivery."""


def routes() -> Iterator[tuple[str, str, list[str]]]:
    for path, operations in openapi_document()["paths"].items():
        if path.startswith("/v1/"):
            for method, operation in operations.items():
                [requirement] = operation["security"]
                yield method.upper(), path, requirement["HTTPBearer"]


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


async def test_each_route_asks_for_its_permission(platform: PlatformProcess) -> None:
    wrong: list[str] = []
    async with httpx.AsyncClient(base_url=platform.http.base_url, timeout=30) as anyone:
        for method, path, [permission] in routes():
            where = re.sub(r"\{\w+\}", await platform.event() if "/events/" in path else "none", path)

            async def call(headers: Json, method: str = method, where: str = where) -> httpx.Response:
                return await anyone.request(method, where, json={}, headers=headers)

            nobody = [await call(headers) for headers in STRANGERS]
            others = await call(await key_with(platform, *PERMISSIONS - {permission}))
            exactly = await call(await key_with(platform, permission))
            if not all(
                (answer.status_code, answer.json()["status"]) == (401, 401)
                and answer.headers["content-type"] == "application/problem+json"
                and answer.headers["www-authenticate"] == "Bearer"
                for answer in nobody
            ):
                wrong.append(f"{method} {path} for nobody: {[answer.text for answer in nobody]}")
            if (
                others.status_code != 403
                or permission not in others.json()["detail"]
                or f'scope="{permission}"' not in others.headers["www-authenticate"]
            ):
                wrong.append(f"{method} {path} without {permission}: {others.status_code} {others.text}")
            if exactly.status_code in (401, 403, 500):
                wrong.append(f"{method} {path} with {permission}: {exactly.status_code} {exactly.text}")

    assert not wrong, "\n".join(wrong)
