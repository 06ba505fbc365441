"""How errors look."""

import gzip
import json
import re
from typing import Any

import pytest

from webhooks.testing.platform_process import PlatformProcess
from webhooks.testing.receiver import Receiver


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/events/none", 404),
        ("GET", "/v1/webhooks/none", 404),
        ("GET", "/v1/events/none/versions", 404),
        ("POST", "/v1/events/none/preview", 404),
        ("DELETE", "/v1/events/none", 404),
        ("DELETE", "/v1/webhooks/none", 404),
        ("POST", "/v1/webhooks/none/rotate-secret", 404),
        ("POST", "/v1/webhooks/none/test", 404),
        ("GET", "/v1/subscriptions/none", 404),
        ("DELETE", "/v1/subscriptions/none", 404),
        ("GET", "/v1/deliveries/none", 404),
        ("GET", "/v1/deliveries/none~00000000-0000-0000-0000-000000000000", 404),
        ("POST", "/v1/deliveries/none~00000000-0000-0000-0000-000000000000/resend", 404),
        ("GET", "/v1/nothing", 404),
        ("PUT", "/v1/events", 405),
        ("PUT", "/v1/webhooks/none", 405),
        ("POST", "/v1/events/import", 422),
        ("POST", "/v1/filters/match", 422),
        ("GET", "/v1/events?limit=0", 422),
        ("GET", "/v1/events?limit=101", 422),
        ("GET", "/v1/events?cursor=%21", 422),
        ("GET", "/v1/webhooks?active=perhaps", 422),
        ("GET", "/v1/subscriptions?cursor=%21", 422),
        ("GET", "/v1/subscriptions?events=E", 422),
        ("GET", "/v1/events/none/versions?limit=101", 422),
        ("POST", "/v1/events/import?dry_run=true", 422),
        ("GET", "/v1/deliveries?cursor=bm8", 422),
        ("GET", "/v1/deliveries?status=unheard", 422),
        ("GET", "/v1/deliveries?since=yesterday", 422),
        ("GET", "/v1/deliveries?since=2026-01-01T00:00:00", 422),
        ("GET", "/v1/deliveries?since=0001-01-01T00:00:00%2B14:00", 422),
        ("GET", "/v1/deliveries?until=9999-12-31T23:59:59-14:00", 422),
        ("GET", "/v1/deliveries?client_identifier=%00", 422),
        ("GET", "/v1/deliveries?since=1700000000", 422),
        ("GET", "/v1/deliveries?stat=failed", 422),
        ("GET", "/v1/deliveries?outcome=", 422),
        ("GET", "/v1/occurrences?matched=perhaps", 422),
        ("GET", "/v1/occurrences?cursor=bm8", 422),
        ("GET", "/v1/occurrences?since=yesterday", 422),
        ("GET", "/v1/occurrences/never-published", 404),
        ("GET", "/v1/occurrences/with.dot", 404),
    ],
)
async def test_every_error_is_a_problem(platform: PlatformProcess, method: str, path: str, status: int) -> None:
    answer = await platform.http.request(method, path)
    problem = answer.json()

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]


@pytest.mark.parametrize(
    ("since", "detail"),
    [
        ("2026-01-01T00:00:00+00:00", "in a URL a + means a space: write it as %2B, or a time in UTC like 2026-"),
        ("2026-01-01T00:00:00", "must be a time as in RFC 3339 with a time zone, for example 2026-01-31T09:30:00Z"),
        ("yesterday", "must be a time as in RFC 3339 with a time zone, for example 2026-01-31T09:30:00Z"),
    ],
)
async def test_a_bad_time_is_told_how_to_be_written(platform: PlatformProcess, since: str, detail: str) -> None:
    answer = await platform.http.get(f"/v1/deliveries?since={since}")

    [error] = answer.json()["errors"]
    assert error["parameter"] == "since"
    assert error["detail"].startswith(detail)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"event": EVENT, "data": NaN}',
        b'{"event": EVENT, "data": Infinity}',
        b'{"event": EVENT, "data": 1e400}',
        b'{"event": EVENT, "data": {"a": [-1e400]}}',
        b'{"event": EVENT, "data": "\\ud800"}',
        b'{"event": EVENT, "data": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
async def test_what_is_not_json_is_refused(platform: PlatformProcess, body: bytes) -> None:
    body = body.replace(b"EVENT", json.dumps(await platform.event()).encode())
    answer = await platform.http.post("/v1/occurrences", content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 422, answer.text
    assert "event" not in answer.json()["detail"]
    assert answer.headers["content-type"] == "application/problem+json"


_TWICE = "the key occurs twice in its object"
_HALF = "the text contains a lone surrogate, half of a pair: "
_NO_NUMBER = "the number is too large, infinite or not a number"


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        (b"{", "", "not valid JSON: Expecting property name enclosed in double quotes, line 1, column 2"),
        (b'{"event": "E",\n "data": }', "", "not valid JSON: Expecting value, line 2, column 10"),
        (b" ", "", "not valid JSON: Expecting value, line 1, column 2"),
        (b'{"event": "E", "data": 1} {}', "", "not valid JSON: Extra data, line 1, column 27"),
        (b'{"event": "E", "data": 1, "data": 2}', "/data", _TWICE),
        (b'{"event": "E", "data": [{"a": {"b/c": 1, "x": 2, "b/c": 1}}]}', "/data/0/a/b~1c", _TWICE),
        (b'{"event": "E", "\\u0065vent": "E", "data": 1}', "/event", _TWICE),
        (b'{"data": NaN}', "/data", _NO_NUMBER),
        (b'{"data": [1, -1e400]}', "/data/1", _NO_NUMBER),
        (b'{"data": {"a": "xy\\ud83d"}}', "/data/a", _HALF + "\\ud83d, character 3"),
        (b'{"data": "\\uDE00\\uD83D"}', "/data", _HALF + "\\ude00, character 1"),
        (b'{"data": {"\\udfff": 1}}', "/data", _HALF + "\\udfff, character 1"),
        (b'{"data": "\xe9"}', "", "not UTF-8: byte 11 of 13 is wrong"),
        ('{"data": 1}'.encode("utf-16"), "", "not UTF-8: byte 1 of 24 is wrong"),
        (b'{"data": ' + b"[" * 101 + b"]" * 101 + b"}", "/data" + "/0" * 100, "nested too deep: more than 100 levels"),
        (b'{"data":\n' + b"[" * 5000, "", "nested too deep: more than 100 levels, line 2, column 100"),
    ],
    ids=lambda value: repr(value)[:50],
)  # fmt: skip
async def test_a_body_that_cannot_be_read_says_why_and_where(
    platform: PlatformProcess, body: bytes, pointer: str, detail: str
) -> None:
    json_type = {"content-type": "application/json"}
    answer = await platform.http.post("/v1/occurrences", content=body, headers=json_type)

    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"pointer": pointer, "detail": detail}]
    imported = await platform.http.post("/v1/events/import", content=body, headers=json_type)
    if not detail.startswith("not valid JSON"):  # it may be YAML
        assert imported.json()["errors"] == answer.json()["errors"]


async def test_a_byte_order_mark_and_a_whole_pair_are_fine(
    platform: PlatformProcess, receiver: Receiver, path: str
) -> None:
    event = await platform.event()
    await platform.webhook(event, receiver.url(path))
    body = b'\xef\xbb\xbf{"event": "%s", "data": "\\ud83d\\ude00 \xf0\x9f\x98\x80"}' % event.encode()
    answer = await platform.http.post(
        "/v1/occurrences", content=body, headers={"content-type": "application/json; charset=utf-8"}
    )
    [request] = await receiver.wait_for(path, 1)

    assert answer.status_code == 202, answer.text
    assert json.loads(request.body)["data"] == "\N{GRINNING FACE} \N{GRINNING FACE}"


@pytest.mark.parametrize("path", ["/v1/occurrences", "/v1/events/import", "/v1/filters/match"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "x-gzip", ""])
async def test_a_compressed_body_is_refused(platform: PlatformProcess, path: str, encoding: str) -> None:
    """Also if nothing says that it is."""
    headers = {"content-type": "application/json", **({"content-encoding": encoding} if encoding else {})}
    answer = await platform.http.post(path, content=gzip.compress(b'{"event": "E", "data": 1}'), headers=headers)

    assert answer.status_code == 415
    assert answer.headers["accept-encoding"] == "identity"
    assert "send the body as it is" in answer.json()["detail"]


async def test_a_body_without_a_content_type_is_refused(platform: PlatformProcess) -> None:
    event = await platform.event()
    body = json.dumps({"event": event, "data": 1}).encode()
    answer = await platform.http.post("/v1/occurrences", content=body)
    json_type = {"content-type": "application/json", "content-encoding": "identity"}
    plain = await platform.http.post("/v1/occurrences", content=body, headers=json_type)
    empty = await platform.http.post(f"/v1/events/{event}/preview")

    assert answer.status_code == 415
    assert "there is no content-type" in answer.json()["detail"]
    assert plain.status_code == 202
    assert empty.status_code == 200, "an optional body needs none"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/events", {"key": "A"}),
        ("/v1/webhooks", {"url": "https://api.example.com/"}),
        ("/v1/webhooks", {"url": "https://api.example.com/", "retry_policy": {}}),
        ("/v1/subscriptions", {"event": "A", "webhook_id": "w"}),
        ("/v1/filters/match", {"filter": {}, "occurrence": {}}),
        ("/v1/occurrences", {"event": "A", "data": None}),
    ],
)
async def test_an_unknown_field_is_called_so(platform: PlatformProcess, path: str, body: dict[str, Any]) -> None:
    inner = next((name for name, value in body.items() if name != "filter" and value == {}), None)
    wrong = {**body, inner: {"colour": "red"}} if inner else {**body, "colour": "red"}
    problem = await platform.post(path, wrong, expect=422)

    where = f"/{inner}/colour" if inner else "/colour"
    assert problem["errors"] == [{"pointer": where, "detail": "there is no such field, or it cannot be changed"}]


async def test_a_body_over_256_kib_is_refused_however_it_comes(platform: PlatformProcess) -> None:
    event = await platform.event()
    fits = {"event": event, "data": "x" * 250_000}
    large = json.dumps({"event": event, "data": "x" * 262_144}).encode()

    async def in_chunks() -> Any:
        for start in range(0, len(large), 65_536):
            yield large[start : start + 65_536]

    await platform.post("/v1/occurrences", fits, expect=202)
    for content in (large, in_chunks()):
        answer = await platform.http.post(
            "/v1/occurrences", content=content, headers={"content-type": "application/json"}
        )

        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"


async def test_the_api_describes_itself(platform: PlatformProcess) -> None:
    schema = await platform.get("/openapi.json")
    docs = await platform.http.get("/docs")
    script = re.findall(r'src="([^"]+)"', docs.text)[0]

    assert docs.status_code == 200
    assert schema["components"]["schemas"]["WebhookIn"]["examples"]
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            if path.startswith("/v1"):
                for status, answer in operation["responses"].items():
                    if status >= "400":
                        assert list(answer["content"]) == ["application/problem+json"], f"{method} {path}"
                        assert answer["content"]["application/problem+json"]["example"]["status"] == int(status)
                assert "401" in operation["responses"], f"{method} {path}"
    assert (await platform.http.get(script)).status_code == 200
    assert "Problem" in schema["components"]["schemas"]


async def test_another_content_type_is_refused(platform: PlatformProcess) -> None:
    """curl's default, for one."""
    answer = await platform.http.post("/v1/occurrences", data={"event": "E"})

    assert answer.status_code == 415
    assert "application/json" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/webhooks/a%00b", None, 404),
        ("PATCH", "/v1/subscriptions/a%00b", {}, 404),
        ("DELETE", "/v1/roles/a%00b", None, 404),
        ("GET", "/v1/events/a%00/versions", None, 404),
        ("POST", "/v1/webhooks/%00/test", {}, 404),
        ("GET", "/v1/webhooks?cursor=AGE", None, 422),
        ("GET", "/v1/audit?cursor=AGE", None, 422),
        ("GET", "/v1/webhooks?url=%00", None, 422),
        ("GET", "/v1/webhooks?event=%00", None, 422),
        ("GET", "/v1/subscriptions?webhook_id=a%00", None, 422),
        ("POST", "/v1/subscriptions", {"event": "E", "webhook_id": "\x00"}, 422),
    ],
)
async def test_a_nul_character_is_refused_on_every_database(
    platform: PlatformProcess, method: str, path: str, body: Any, status: int
) -> None:
    answer = await platform.http.request(method, path, json=body)

    assert answer.status_code == status, answer.text
    assert answer.json()["status"] == status
