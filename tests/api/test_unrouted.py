"""What no route takes: other methods, slashes at the end, unknown paths."""

import re
from typing import Any

import pytest

from webhooks.testing.platform_process import PlatformProcess


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/v1/events", "GET, POST"),
        ("/v1/events/none", "DELETE, GET, PATCH, PUT"),
        ("/v1/events/import", "POST"),
        ("/v1/events/none/versions", "GET"),
        ("/v1/webhooks/none/rotate-secret", "POST"),
        ("/v1/subscriptions/none", "DELETE, GET, PATCH"),
        ("/health/live", "GET"),
    ],
)
@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PROPFIND"])
async def test_a_method_that_a_path_does_not_have(
    platform: PlatformProcess, path: str, allow: str, method: str
) -> None:
    answer = await platform.http.request(method, path)

    assert answer.status_code == 405
    assert answer.headers["allow"] == allow
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == f"this path has no such method; use {allow}"


async def test_every_405_names_the_documented_methods(platform: PlatformProcess) -> None:
    paths = (await platform.get("/openapi.json"))["paths"]
    patterns = {path: re.compile(re.sub(r"\{\w+\}", "[^/{}]+", path)) for path in paths}
    for path, item in paths.items():
        documented = {method.upper() for method in item}
        also = [other for other, pattern in patterns.items() if other != path and pattern.fullmatch(path)]
        elsewhere = {method.upper() for other in also for method in paths[other]}  # those of /v1/events/{key}
        for method in {"PUT", "PATCH", "DELETE", "POST", "GET"} - documented:
            if method not in elsewhere:
                answer = await platform.http.request(method, path.format(key="none", id="none", name="none"))

                assert answer.status_code == 405, f"{method} {path}"
                assert set(answer.headers["allow"].split(", ")) == documented, f"{method} {path}"


async def test_the_last_part_of_a_fixed_path_is_no_event(platform: PlatformProcess) -> None:
    detail = "import cannot be a key: /v1/events/import imports a catalogue"
    calls: list[tuple[str, str, Any, str]] = [
        ("POST", "/v1/events", {"key": "import"}, "/key"),
        ("PUT", "/v1/events/import", {}, ""),
        ("POST", "/v1/events/import", {"events": [{"key": "import"}]}, "/events/0"),
    ]
    for method, path, body, pointer in calls:
        problem = await platform.call(method, path, body, expect=422)

        assert problem["errors"] == [{"pointer": pointer, "detail": detail}]
    for method in ("GET", "DELETE"):
        assert (await platform.http.request(method, "/v1/events/import")).status_code == 404


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
@pytest.mark.parametrize(
    "path", ["/v1/events/", "/v1/events/none/", "/v1/occurrences/", "/v1/deliveries//", "/health/ready/"]
)
async def test_a_slash_at_the_end_is_called_so(platform: PlatformProcess, method: str, path: str) -> None:
    answer = await platform.http.request(method, path, json={})

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    if method != "HEAD":
        assert answer.json()["detail"] == "no such path; remove the slash at its end"


@pytest.mark.parametrize("path", ["/v1", "/v1/", "//v1/events", "/v1/event", "/v1/events/none/other/", "/V1/events"])
async def test_an_unknown_path_is_a_problem(platform: PlatformProcess, path: str) -> None:
    answer = await platform.http.get(f"http://127.0.0.1:{platform.port}{path}")

    assert answer.status_code == 404
    assert answer.json()["detail"] == "no such path"


async def test_pages_outside_the_document_keep_their_methods(platform: PlatformProcess) -> None:
    answer = await platform.http.post("/docs")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"
