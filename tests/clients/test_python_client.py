"""A Python client, generated from the OpenAPI document by openapi-python-client, can use the whole API."""

import importlib
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.clients.commands import run
from webhooks.testing.platform_process import KEY, Json, PlatformProcess, until
from webhooks.testing.receiver import Receiver

PACKAGE = "generated_client"
pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
async def client(platform_on_sqlite: PlatformProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    """The folder of the generated package, which tests can import."""
    document, folder = await platform_on_sqlite.get("/openapi.json"), tmp_path_factory.mktemp("client")
    (folder / "openapi.json").write_text(json.dumps(document))
    options = ("--path", "openapi.json", "--output-path", PACKAGE, "--meta", "none", "--fail-on-warning")
    output = await run("openapi-python-client", "generate", *options, cwd=folder)
    assert not re.search("warn|skip|unable|not be generated", output, re.IGNORECASE), output
    sys.path.insert(0, str(folder))
    yield folder / PACKAGE
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]


def test_every_call_has_a_function(client: Path, document: Json) -> None:
    ids = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    modules = {file.stem for file in client.glob("api/*/*.py")} - {"__init__"}

    assert modules == {re.sub("([A-Z])", r"_\1", id).lower() for id in ids}


@pytest.mark.usefixtures("client")
async def test_the_calls_of_the_readme(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    def call(tag: str, name: str) -> Any:
        return importlib.import_module(f"{PACKAGE}.api.{tag}.{name}").asyncio_detailed

    generated, models = importlib.import_module(PACKAGE), importlib.import_module(f"{PACKAGE}.models")
    event, occurrence = f"OrderPlaced-{uuid4().hex}", f"order-{uuid4().hex}"
    url = receiver.tell(path, [503, 200])

    async with generated.AuthenticatedClient(base_url=f"http://127.0.0.1:{platform.port}", token=KEY) as api:
        made = await call("events", "create_event")(client=api, body=models.EventIn(key=event))
        assert made.status_code == 201
        assert (made.parsed.key, made.parsed.active) == (event, True)

        body = models.WebhookIn(url=url, event=event, allowed_client_identifiers=[])
        webhook = await call("webhooks", "create_webhook")(client=api, body=body)
        assert webhook.status_code == 201, webhook.content
        assert webhook.parsed.signing_secret.startswith("whsec_")

        data = {"order": {"id": 4711}}
        body = models.OccurrenceIn(id=occurrence, event=event, data=data)
        published = await call("occurrences", "publish_occurrence")(client=api, body=body)
        assert published.status_code == 202, published.content
        [delivery] = published.parsed.deliveries
        assert delivery.webhook_id == webhook.parsed.id

        async def status() -> list[str]:
            listed = await call("deliveries", "list_deliveries")(client=api, occurrence_id=[occurrence])
            assert listed.status_code == 200
            return [item.status for item in listed.parsed.items]

        async def retries() -> bool:
            return await status() == ["retrying"]

        async def delivered() -> bool:
            return await status() == ["delivered"]

        await until(retries, timeout=30, what="the failed attempt")
        resent = await call("deliveries", "resend_delivery")(id=delivery.id, client=api)
        assert resent.status_code == 202
        await until(delivered, timeout=30, what="the resend")
        assert [json.loads(request.body)["data"] for request in receiver.got(path)] == [data, data]

        refused = await call("events", "create_event")(client=api, body=models.EventIn(key="not a key"))
        assert refused.status_code == 422
        assert [error.pointer for error in refused.parsed.errors] == ["/key"]
