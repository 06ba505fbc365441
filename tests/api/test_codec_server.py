"""The codec server: payloads for the Temporal Web UI, decrypted for who may read them."""

from typing import Any
from uuid import uuid4

import httpx
from google.protobuf import json_format
from temporalio.api.common.v1 import Payload, Payloads

from tests.support.decrypting import converter_of
from webhooks.temporal.codec import EncryptionCodec, is_encrypted
from webhooks.testing.platform_process import KEY, PlatformProcess

CLEAR = Payload(metadata={"encoding": b"json/plain"}, data=b'"canary-5561"')


async def encrypted(platform: PlatformProcess, tenant: str) -> Payload:
    codec = converter_of(platform).payload_codec
    assert isinstance(codec, EncryptionCodec)
    [payload] = await EncryptionCodec(codec._keys, encrypts=True, tenant=tenant).encode([CLEAR])
    return payload


async def decode(platform: PlatformProcess, *payloads: Payload, **options: Any) -> httpx.Response:
    body = json_format.MessageToDict(Payloads(payloads=payloads))
    return await platform.http.post("/codec/decode?preserveStorageRefs=true", json=body, **options)


def payloads_of(answer: httpx.Response) -> list[Payload]:
    assert answer.status_code == 200, answer.text
    return list(json_format.Parse(answer.text, Payloads()).payloads)


async def test_it_decrypts_the_callers_payloads_and_leaves_others(platform: PlatformProcess) -> None:
    await platform.publish(await platform.event())  # so that the tenant has a key
    ours, theirs = await encrypted(platform, "default"), await encrypted(platform, f"other-{uuid4().hex}")
    lost = Payload(metadata={"encoding": b"binary/encrypted", "encryption-key-id": b"nobody"}, data=b"x" * 40)
    decoded = payloads_of(await decode(platform, ours, theirs, lost, CLEAR))

    assert decoded == [CLEAR, theirs, lost, CLEAR]
    assert payloads_of(await decode(platform)) == []


async def test_what_the_server_stores_is_decrypted(platform: PlatformProcess) -> None:
    """As the Web UI does it: the input of an unmatched occurrence, its summary, and its memo."""
    published = await platform.publish(await platform.event(), {"text": "canary-5562"})
    client = await platform.temporal()
    handle = client.get_workflow_handle(f"default/{published['id']}")
    first = (await handle.fetch_history()).events[0]
    started = first.workflow_execution_started_event_attributes
    stored = [*started.input.payloads, first.user_metadata.summary, *started.memo.fields.values()]
    decoded = payloads_of(await decode(platform, *stored))

    assert all(map(is_encrypted, stored))
    assert not any(map(is_encrypted, decoded))
    assert b"canary-5562" in decoded[0].data
    assert b"no webhook is subscribed" in decoded[1].data


async def test_it_asks_for_a_key_with_the_permission(platform: PlatformProcess) -> None:
    payload = await encrypted(platform, "default")
    viewer = await platform.post("/v1/api-keys", {"name": "viewer", "role": "viewer"})
    operator = await platform.post("/v1/api-keys", {"name": "operator", "role": "operator"})
    refused = await decode(platform, payload, headers={"authorization": f"Bearer {viewer['key']}"})
    nobody = await decode(platform, payload, headers={"authorization": ""})

    assert payloads_of(await decode(platform, payload, headers={"authorization": f"Bearer {operator['key']}"})) == [
        CLEAR
    ]
    assert refused.status_code == 403
    assert "delivery:read_body" in refused.json()["detail"]
    assert nobody.status_code == 401


async def test_what_is_no_list_of_payloads_is_refused(platform: PlatformProcess) -> None:
    not_utf8 = b'{"payloads": [{"data": "\xff"}]}'
    for body in (b"", b"nonsense", b'{"payloads": 1}', b"[]", b'"x"', b"\xff", not_utf8, b"[" * 5000):
        answer = await platform.http.post("/codec/decode", content=body)
        assert answer.status_code == 422, body
        assert answer.json()["detail"].startswith("not the JSON of temporal.api.common.v1.Payloads")


async def test_only_the_web_ui_may_call_it_from_a_browser(platform: PlatformProcess) -> None:
    web_ui = f"http://localhost:{platform.ui_port}"
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "content-type,x-namespace"}
    allowed = await platform.http.options("/codec/decode", headers={"origin": web_ui, **asks})
    stranger = await platform.http.options("/codec/decode", headers={"origin": "http://evil.example", **asks})
    answer = await decode(platform, CLEAR, headers={"origin": web_ui})
    refused = await decode(platform, CLEAR, headers={"origin": "http://evil.example"})
    elsewhere = await platform.http.options("/v1/events", headers={"origin": web_ui, **asks})

    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == web_ui
    assert allowed.headers["access-control-allow-methods"] == "POST"
    for name in ("content-type", "x-namespace", "authorization", "authorization-extras"):
        assert name in allowed.headers["access-control-allow-headers"].lower()
    assert answer.headers["access-control-allow-origin"] == web_ui
    assert stranger.status_code == 400
    for other in (stranger, refused, elsewhere):
        assert "access-control-allow-origin" not in other.headers


async def test_the_web_ui_may_use_the_cookie_of_who_has_signed_in(platform: PlatformProcess) -> None:
    """As a browser sends it for `Include cross-origin credentials`: another origin of the same site."""
    payload = await encrypted(platform, "default")
    body = json_format.MessageToDict(Payloads(payloads=[payload]))
    own = {"sec-fetch-site": "same-origin"}
    web_ui = {"origin": f"http://localhost:{platform.ui_port}", "sec-fetch-site": "same-site"}
    async with httpx.AsyncClient(base_url=platform.http.base_url) as browser:
        await browser.post("/sign-in", data={"key": KEY, "next": "/"}, headers=own)
        decoded = await browser.post("/codec/decode", json=body, headers=web_ui)
        elsewhere = await browser.post("/v1/events", json={"key": "E"}, headers=web_ui)

    assert payloads_of(decoded) == [CLEAR]
    assert decoded.headers["access-control-allow-credentials"] == "true"
    assert elsewhere.status_code == 403


async def test_a_call_names_a_limited_number_of_keys(platform: PlatformProcess) -> None:
    """Each key that nobody knows costs a query. One call with thousands of them kept the database busy for long."""
    lost = [
        Payload(metadata={"encoding": b"binary/encrypted", "encryption-key-id": b"key-%d" % number}, data=b"x" * 40)
        for number in range(201)
    ]
    answer = await decode(platform, *lost)

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/payloads")
    assert payloads_of(await decode(platform, *lost[:200])) == lost[:200]
