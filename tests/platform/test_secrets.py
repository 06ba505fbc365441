"""No secret shows anywhere: not in an answer, the log, a trace, a metric, a history, or a file that holds data."""

import asyncio
import base64
import json
import sqlite3
from pathlib import Path

import httpx
import pytest

from tests.support.collector import Collector
from tests.support.oauth_server import OAuthServer
from webhooks.credentials.masking import MASK
from webhooks.testing.platform_process import Json, free_port, running
from webhooks.testing.receiver import Received, Receiver, Reply


def echo(request: Received) -> Reply:
    """The worst receiver: says back all that it was told, in its headers too, and fails."""
    said = {f"x-said-{name}": value for name, value in request.headers.items()}
    headers = {**said, "x-path": request.path, "set-cookie": f"all={'; '.join(request.headers.values())}"}
    return Reply(503, json.dumps({"you said": request.headers, "path": request.path}).encode(), headers)


async def test_canaries_are_nowhere(tmp_path: Path, receiver: Receiver) -> None:
    signing = "whsec_" + base64.b64encode(b"canary-signing-secret-0123456789").decode()
    canaries = {
        "header": "canary-header-4411",
        "bearer": "canary-bearer-4412",
        "pair": "canary-pair-4413",
        "query": "canary-query-4414",
        "client": "canary-client-4415",
        "password": "canary-password-4416",
        "parameter": "canary-parameter-4417",
        "signing": signing.removeprefix("whsec_"),
        "raw signing": "canary-signing-secret",
        "misplaced": "canary-misplaced-4418",
    }
    metrics = free_port()
    async with (
        Collector().serving() as collector,
        OAuthServer().serving() as server,
        running(
            tmp_path,
            WEBHOOKS_METRICS_PORT=str(metrics),
            WEBHOOKS_ENCRYPT_PAYLOADS="false",  # encrypted, everything would be nowhere
            **collector.environment,
        ) as platform,
    ):
        server.client("id", canaries["client"], grant="password", username="u", password=canaries["password"])
        event = await platform.event(sample={})
        modes: list[Json] = [
            {"type": "None"},
            {"type": "Key Value Pair", "name": "X-Pair", "value": canaries["pair"]},
            {"type": "Key Value Pair", "name": "key", "value": canaries["query"], "in": "query"},
            {
                "type": "OAuth 2.0 Password",
                "token_url": server.token_url,
                "client_id": "id",
                "client_secret": canaries["client"],
                "username": "u",
                "password": canaries["password"],
                "parameters": {"api_key": canaries["parameter"]},
            },
        ]
        shown = []
        for number, mode in enumerate(modes):
            path = f"/canary-{number}"
            receiver.tell(f"{path}?key={canaries['query']}", [echo])
            webhook = await platform.webhook(
                event,
                receiver.tell(path, [echo]),
                authentication=mode,
                headers={"X-Api-Token": canaries["header"]}
                | ({} if "OAuth" in mode["type"] else {"Authorization": f"Bearer {canaries['bearer']}"}),
                signatures=["v1", "v1a", "logto"],
                retry_policy={"maximum_attempts": 2, "initial_interval": 0.1},
                signing_secret=signing,
            )
            assert webhook.pop("signing_secret") == signing
            shown.append(str(webhook))
            shown.append(str(await platform.get(f"/v1/webhooks/{webhook['id']}")))
            shown.append(str(await platform.post(f"/v1/webhooks/{webhook['id']}/test")))
            bad = {"authentication": {**mode, "oops": 1}, "url": "nonsense"}
            shown.append(str(await platform.call("PATCH", f"/v1/webhooks/{webhook['id']}", bad, expect=422)))
        shown.append(str(await platform.get("/v1/webhooks")))
        shown.append(str(await platform.get("/v1/webhooks", api_key=canaries["misplaced"], expect=422)))
        published = await platform.publish(event, id="canary")
        client = await platform.temporal()
        for item in published["deliveries"]:
            failed = await platform.wait(item["id"], "failed")
            sent, said = headers_of(failed, "request_headers"), headers_of(failed, "response_headers")
            assert {sent["x-api-token"], sent["authorization"], sent.get("x-pair", MASK)} == {MASK}
            assert {said["x-said-x-api-token"], said["x-said-authorization"], said["set-cookie"]} == {MASK}
            assert sent["webhook-signature"].startswith("v1,")
            assert said["x-said-webhook-id"] == sent["webhook-id"]
            shown.append(str(failed))
            history = await client.get_workflow_handle(f"default/{item['id']}").fetch_history()
            shown.append(history.to_json())
            shown += [str(payload) for payload in _payloads(history.to_json())]
        tokens = [token.access_token for token in server.issued]
        shown.append(platform.log)
        async with httpx.AsyncClient() as prometheus:
            shown.append((await prometheus.get(f"http://127.0.0.1:{metrics}/metrics")).text)
        await collector.wait(lambda spans: sum(span.name == "RunActivity:send" for span in spans) >= 8, "every attempt")
        shown += collector.everything
    shown += files(tmp_path, "webhooks.db") + files(tmp_path, "temporal.db")
    with sqlite3.connect(tmp_path / "webhooks.db") as stored:
        shown.append("".join(stored.iterdump()))

    assert tokens
    assert len(receiver.got("/canary-3")) >= 2
    for text in shown:
        for name, canary in {**canaries, **{f"token {n}": token for n, token in enumerate(tokens)}}.items():
            for form in (canary, base64.b64encode(canary.encode()).decode().rstrip("="), canary.encode().hex()):
                assert form not in text, f"{name} shows: {text[max(text.find(form) - 200, 0) :][:400]}"


def headers_of(delivery: Json, which: str) -> dict[str, str]:
    """The headers of the first attempt."""
    return {header["name"].lower(): header["value"] for header in delivery["attempts"][0][which]}


def files(folder: Path, name: str) -> list[str]:
    """A database with its log, byte by byte."""
    found = [path.read_bytes().decode("latin-1") for path in folder.glob(f"{name}*")]
    assert found
    return found


def _payloads(history: str) -> list[bytes]:
    """Every payload's data, which JSON shows in base64."""
    found: list[bytes] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("data"), str):
                found.append(base64.b64decode(value["data"]))
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(json.loads(history))
    return found


@pytest.mark.thorough
async def test_the_master_key_is_replaced_while_deliveries_flow(tmp_path: Path, receiver: Receiver) -> None:
    """Rotation by its own command, beside the running platform: nothing fails, and the old key opens nothing."""
    async with running(tmp_path) as platform:
        event = await platform.event()
        webhook = await platform.webhook(event, receiver.url("/rotated"), headers={"X-Token": "canary-8801"})
        old = (tmp_path / "master.key").read_text()
        rotate = await asyncio.create_subprocess_exec("make", "-s", "rotate-master-key", env=platform.environment)
        assert await rotate.wait() == 0
        new, *others = (tmp_path / "master.key").read_text().split()
        (tmp_path / "master.key").write_text(new + "\n")
        await platform.wait(await platform.delivery(await platform.publish(event)), "delivered")
        await platform.call("PATCH", f"/v1/webhooks/{webhook['id']}", {"headers": {"X-Other-Token": "canary-8802"}})
        await platform.wait(await platform.delivery(await platform.publish(event)), "delivered")

    assert others == old.split()
    assert [request.headers["x-token"] for request in receiver.got("/rotated")] == ["canary-8801"] * 2
    assert (tmp_path / "master.key").stat().st_mode & 0o077 == 0
