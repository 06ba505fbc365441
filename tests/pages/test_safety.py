"""What holds for every page: a sign-in, this site's own requests only, no foreign scripts, nothing kept by caches."""

import contextlib
import re
from collections.abc import AsyncIterator

import httpx
import pytest

from api.app import PAGES
from api.pages.page import PageRoute
from webhooks.testing.platform_process import KEY, PlatformProcess

ROUTES = sorted(
    (method, route.path)
    for pages in PAGES
    for route in pages.router.routes
    if isinstance(route, PageRoute)
    for method in route.methods or ()
)
SAME = {"sec-fetch-site": "same-origin"}


def some(path: str) -> str:
    """Return the path with an id that nothing has."""
    return re.sub(r"\{\w+\}", "none~00000000-0000-7000-8000-000000000000", path)


@contextlib.asynccontextmanager
async def signed_in(platform: PlatformProcess, key: str = KEY) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=platform.http.base_url, timeout=30) as browser:
        answer = await browser.post("/sign-in", data={"key": key}, headers=SAME)
        assert answer.status_code == 303
        yield browser


def test_there_are_pages_to_be_tested() -> None:
    assert ("GET", "/sent") in ROUTES
    assert ("POST", "/sent/resend") in ROUTES


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_page_needs_a_sign_in_and_takes_requests_of_its_own_site_only(
    platform: PlatformProcess, method: str, path: str
) -> None:
    async with httpx.AsyncClient(base_url=platform.http.base_url) as stranger:
        nobody = await stranger.request(method, some(path), headers=SAME)
        part = await stranger.request(method, some(path), headers=SAME | {"hx-request": "true"})
    async with signed_in(platform) as browser:
        shown = await browser.request(method, some(path), headers=SAME) if method == "GET" else None
        foreign = await browser.request(
            method, some(path), headers={"sec-fetch-site": "cross-site", "origin": "https://evil.example"}
        )

    assert nobody.status_code == 303
    assert nobody.headers["location"].startswith("/sign-in?next=%2F")
    assert part.status_code == 401
    assert part.headers["hx-redirect"] == "/sign-in"
    if method == "GET":
        assert shown is not None
        assert shown.status_code < 500
        policies = shown.headers.get_list("content-security-policy")
        assert any("default-src 'none'; script-src 'self'; style-src 'self'" in policy for policy in policies)
        assert "unsafe" not in "".join(policies)
        assert shown.headers["cache-control"] == "no-store"
        tags = re.findall(r"<[^>]*>", re.sub(r'"[^"]*"', '""', shown.text))
        assert not [tag for tag in tags if re.search(r"<script(?! src=)|<style|\son\w+=|\sstyle=", tag)]
        assert "javascript:" not in shown.text
    else:
        assert foreign.status_code == 403
        assert "another site" in foreign.json()["detail"]


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if route[0] == "GET"])
async def test_who_may_nothing_sees_a_page_that_says_so(platform: PlatformProcess, method: str, path: str) -> None:
    made = await platform.post("/v1/api-keys", {"name": "nothing", "permissions": ["token:add"]})

    async with signed_in(platform, made["key"]) as browser:
        answer = await browser.request(method, some(path), headers=SAME)

    assert answer.status_code in (200, 303, 403, 404)
    assert answer.headers["content-type"].startswith("text/html") or answer.status_code == 303
    if answer.status_code == 403:
        assert "needs the permission" in answer.text


async def test_a_form_that_is_too_large_or_odd_is_refused(platform: PlatformProcess) -> None:
    async with signed_in(platform) as browser:
        large = await browser.post("/sent/resend", content=b"id=" + b"x" * 1_100_000, headers=SAME)
        many = await browser.post("/sent/resend", content=b"&".join([b"id=1"] * 1_100), headers=SAME)
        odd = await browser.post("/sent/resend", content=b"\xff\xfe=%ff&id=%00", headers=SAME)

    assert large.status_code == 413
    assert many.status_code == 422
    assert odd.status_code in (200, 404)
    assert "evil" not in odd.text


async def test_files_of_the_pages_are_served_and_no_others(platform: PlatformProcess) -> None:
    async with httpx.AsyncClient(base_url=platform.http.base_url) as stranger:
        style = await stranger.get("/static/monitor.css")
        others = [
            (await stranger.get(f"/static/{name}")).status_code
            for name in ("page.py", "..%2Fpage.py", "%2e%2e/page.py", "htmx.LICENSE", "")
        ]

    assert style.status_code == 200
    assert style.headers["content-type"].startswith("text/css")
    assert set(others) == {404}
