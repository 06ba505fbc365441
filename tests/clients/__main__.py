"""`make test-api`: schemathesis makes the calls of the OpenAPI document, right ones and wrong ones, to a running
platform. No answer may be a 5xx, or have a status, content type, header or body that the document does not say."""

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

from webhooks.testing.platform_process import KEY, PlatformProcess, running

_SECONDS = int(os.environ.get("SECONDS_OF_CALLS", "45"))
"""How long calls are made. Made-up calls and chains of calls are repeated until then."""
_SEED = os.environ.get("SEED", "1")
_EXAMPLES = "12"
"""Made-up calls of each operation, beside its examples and the bounds of each field."""
_LEFT_OUT = "positive_data_acceptance"
"""A check that cannot hold: no schema says that an event must exist, or that a cursor must come from a list."""
_OFTEN = 0.7
"""Share of the calls that name something that exists."""
_MANY = 8
"""Things of each kind that exist at the beginning. DELETE has its own, so that the others stay."""


async def main(schemathesis: str, folder: Path) -> int:
    """Return the exit code of schemathesis, 0 if it found nothing."""
    proxy = await asyncio.start_server(_receive, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    # Whatever URL a made-up webhook has: requests to it end at this proxy.
    async with proxy, running(folder / "platform", WEBHOOKS_EGRESS_PROXY=f"http://127.0.0.1:{port}") as platform:
        config = folder / "schemathesis.toml"
        config.write_text(await _config(platform, port))
        document = f"http://127.0.0.1:{platform.port}/openapi.json"
        options = (
            "--phases",
            "coverage,fuzzing,stateful",
            "--max-time",
            str(_SECONDS),
            "--seed",
            _SEED,
            "--max-examples",
            _EXAMPLES,
        )
        checks = ("--checks", "all", "--exclude-checks", _LEFT_OUT, "--warnings", "off", "--continue-on-failure")
        command = (schemathesis, "--config-file", str(config), "run", document, *options, *checks)
        process = await asyncio.create_subprocess_exec(*command, cwd=folder)
        result = await process.wait()
        if result:
            print(*(line for line in platform.log.splitlines() if '"level": "info"' not in line), sep="\n")
        return result


async def _config(platform: PlatformProcess, port: int) -> str:
    """Create events, webhooks, subscriptions and deliveries. Return a configuration that names them in calls."""
    known: dict[str, list[str]] = {}
    for kept in ("kept", "deleted"):
        events = [await platform.event(sample={"n": 1}) for _ in range(_MANY)]
        webhooks = [await platform.webhook(event, f"http://127.0.0.1:{port}/{event}") for event in events]
        published = [await platform.publish(event) for event in events]
        listed = [await platform.get("/v1/subscriptions", event=event) for event in events]
        known[f"{kept}-event"] = events
        known[f"{kept}-webhook"] = [webhook["id"] for webhook in webhooks]
        known[f"{kept}-subscription"] = [item["id"] for page in listed for item in page["items"]]
        known[f"{kept}-delivery"] = [item["id"] for answer in published for item in answer["deliveries"]]
    lines = [f'headers = {{ Authorization = "Bearer {KEY}" }}', "[dictionaries]"]
    lines += [f"{name} = {{ values = {json.dumps(values)} }}" for name, values in known.items()]
    kinds = {"events": "event", "webhooks": "webhook", "subscriptions": "subscription", "deliveries": "delivery"}
    for collection, kind in kinds.items():
        for methods, which in (("GET|POST|PUT|PATCH", "kept"), ("DELETE", "deleted")):
            parameter = "path.key" if kind == "event" else "path.id"
            lines += _operation(f"^({methods}) /v1/{collection}/{{", {parameter: f"{which}-{kind}"})
    given = {"body.event": "kept-event", "body.webhook_id": "kept-webhook"}
    lines += _operation("^POST /v1/(occurrences|subscriptions|webhooks)$", given)
    return "\n".join(lines)


def _operation(name: str, parameters: dict[str, str]) -> list[str]:
    bound = (f'"{key}" = {{ dictionary = "{it}", probability = {_OFTEN} }}' for key, it in parameters.items())
    return ["[[operations]]", f"include-name-regex = {json.dumps(name)}", f"parameters = {{ {', '.join(bound)} }}"]


async def _receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer as a proxy that can reach every receiver without TLS, and none with TLS."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        status = b"502 Bad Gateway" if head.startswith(b"CONNECT") else b"200 OK"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass  # the sender went away
    finally:
        writer.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as created:
        sys.exit(asyncio.run(main(str(Path(sys.argv[1]).absolute()), Path(created))))
