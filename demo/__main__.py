"""`make demo`: start the platform, show deliveries with retries and a resend, and keep it running until Ctrl-C."""

import asyncio
import base64
import hashlib
import hmac
import os
import secrets
import signal
import sys
import tempfile
import time
import webbrowser
from http import HTTPStatus
from pathlib import Path

from webhooks.testing.platform_process import Json, PlatformProcess, free_port, running
from webhooks.testing.receiver import Receiver, Reply

EVENT = "ShipmentOrderCreated"
WATCH_SECONDS = 60


class DemoFailedError(Exception):
    """The demo cannot go on. The message says why."""


class Demo:
    def __init__(self, platform: PlatformProcess, receiver: Receiver) -> None:
        self._platform = platform
        self._receiver = receiver

    async def run(self) -> tuple[Json, Json]:
        """Show everything. Return the delivery that was retried and the one that was resent."""
        step("Add an event to the catalogue")
        await self._platform.post("/v1/events", {"key": EVENT, "schema": {"type": "object", "required": ["order"]}})
        say(f"POST /v1/events  {EVENT}")

        step("Create a webhook. Its receiver is down: it answers 503 twice, then 200")
        url = self._receiver.tell("/orders", [503, 503, Reply(200, b'{"accepted": true}')])
        secret = await self.subscribe(url)
        step("Publish an occurrence")
        retried = await self.publish("order-4711", {"order": {"id": 4711, "total": 99.5}})
        retried = await self.watch(retried, "delivered")
        if began := os.environ.get("DEMO_STARTED"):  # the Makefile's, in Unix seconds
            say(f"this first delivery came {time.time() - int(began):.0f} s after `make demo` began")
        request = self._receiver.got("/orders")[-1]
        verified = signature(secret, request.headers, request.body) in request.headers["webhook-signature"].split()
        say(f"the receiver verified the signature: {'yes' if verified else 'NO'}")
        say(f"the receiver got {len(self._receiver.got('/orders'))} requests, all with webhook-id {retried['id']}")
        if not verified:
            raise DemoFailedError("the signature is wrong")

        step("Publish a second one. The receiver answers 400: no retry, the delivery failed and waits for a resend")
        self._receiver.tell("/orders", [Reply(400, b"unknown warehouse")])
        refused = await self.publish("order-4712", {"order": {"id": 4712}})
        await self.watch(refused, "failed")
        step("The receiver works again. Resend the delivery by hand")
        self._receiver.tell("/orders", [200])
        await self._platform.post(f"/v1/deliveries/{refused['id']}/resend")
        say(f"POST /v1/deliveries/{refused['id']}/resend")
        return retried, await self.watch(refused, "delivered", shown=1)

    async def subscribe(self, url: str) -> str:
        policy = {"initial_interval": 1, "backoff_coefficient": 2, "maximum_attempts": 5}
        webhook = await self._platform.post(
            "/v1/webhooks",
            {
                "url": url,
                "event": EVENT,
                "allowedClientIdentifiers": [],
                "name": "Demo receiver",
                "headers": {"Authorization": "Bearer demo-token"},
                "retry_policy": policy,
            },
        )
        say(f"POST /v1/webhooks  {url}  (retries after 1 s, 2 s, 4 s, 8 s: 5 attempts)")
        return str(webhook["signing_secret"])

    async def publish(self, id: str, data: Json) -> Json:
        accepted = await self._platform.post("/v1/occurrences", {"id": id, "event": EVENT, "data": data})
        say(f"POST /v1/occurrences  {id}: 202, the delivery is stored")
        [delivery] = accepted["deliveries"]
        return dict(delivery)

    async def watch(self, delivery: Json, status: str, shown: int = 0) -> Json:
        """Print each new attempt until the delivery has this status. Return it. `shown` attempts are already printed.

        Raises DemoFailedError after WATCH_SECONDS."""
        deadline = time.monotonic() + WATCH_SECONDS
        while time.monotonic() < deadline:
            found = await self._platform.get(f"/v1/deliveries/{delivery['id']}")
            for attempt in found["attempts"][shown:]:
                answer = attempt["error"] or f"{attempt['status_code']} {HTTPStatus(attempt['status_code']).phrase}"
                after = f"next in {attempt['backoff']:.1f} s" if attempt["backoff"] else ended(attempt)
                print(
                    f"      attempt {attempt['number']}  {attempt['trigger']:<7} "
                    f"{answer:<26} {attempt['duration_ms']:>6.1f} ms   {after}"
                )
                shown += 1
            if found["status"] == status:
                return found
            await asyncio.sleep(0.1)
        raise DemoFailedError(f"the delivery did not become {status}: {found}")


def signature(secret: str, headers: dict[str, str], body: bytes) -> str:
    """Return the Standard Webhooks signature as a receiver computes it."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def choose_ports() -> tuple[int, int, int]:
    """Return the ports of API, Temporal and its Web UI: from the environment, else the usual ones, else free ones.

    Raises DemoFailedError if a port from the environment is in use: another platform would answer in place of ours."""
    chosen = []
    for name, usual in (("WEBHOOKS_PORT", 8000), ("WEBHOOKS_TEMPORAL_PORT", 7233), ("WEBHOOKS_TEMPORAL_UI_PORT", 8233)):
        wanted = int(os.environ.get(name) or 0)
        port = free_port(wanted or usual)
        if wanted and port != wanted:
            raise DemoFailedError(
                f"{name}: port {wanted} is in use, perhaps by `make run`. Unset {name} for a free port."
            )
        if port not in (wanted, usual):
            say(f"port {usual} is in use: using {port} (set {name} to choose another)")
        chosen.append(port)
    api, temporal, ui = chosen
    return api, temporal, ui


def temporal_settings() -> dict[str, str]:
    """Return the settings of the Temporal server that the environment names, and a task queue of the demo's own:
    another platform's worker on that server must not get its deliveries."""
    given = {name: value for name, value in os.environ.items() if name.startswith("TEMPORAL_")}
    return {**given, "WEBHOOKS_TASK_QUEUE": f"demo-{secrets.token_hex(4)}"} if "TEMPORAL_ADDRESS" in given else given


def step(title: str) -> None:
    print(f"\n  {title}")


def say(line: str) -> None:
    print(f"      {line}", flush=True)


READABLE = {"WEBHOOKS_ENCRYPT_PAYLOADS": "false"}
"""The Temporal Web UI shows what the demo has sent without a sign-in: docs/security.md."""


async def main() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    started = time.monotonic()
    step("Starting the platform: API, worker and Temporal server")
    key = f"demo-{secrets.token_urlsafe(12)}"
    with tempfile.TemporaryDirectory(prefix="durable-webhooks-demo-") as folder:
        async with (
            Receiver().serving() as receiver,
            running(Path(folder), key=key, ports=choose_ports(), **READABLE, **temporal_settings()) as platform,
        ):
            say(f"ready in {time.monotonic() - started:.1f} s")
            working = asyncio.create_task(Demo(platform, receiver).run())
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                show(platform, key, *await working)
                await stopping
            else:
                working.cancel()
            print("\n  Stopping.", flush=True)


def ended(attempt: Json) -> str:
    """Return how the last attempt ended. The delivery's status may follow a moment later, once its recovery is
    published."""
    return "delivered" if attempt["outcome"] == "delivered" else "failed"


def show(platform: PlatformProcess, key: str, retried: Json, resent: Json) -> None:
    api = f"http://127.0.0.1:{platform.port}"
    step("See for yourself")
    say(f"Monitor          {api}/   (sign in with {key})")
    say(f"                 {api}/deliveries/{retried['id']}   (retried)")
    say(f"                 {api}/deliveries/{resent['id']}   (resent)")
    say(f"API docs         {api}/docs   (Authorize with {key})")
    say(f"Temporal Web UI  {retried['temporal_url']}   (retried)")
    say(f"                 {resent['temporal_url']}   (resent)")
    say(f"The same by curl curl -H 'Authorization: Bearer {key}' {api}/v1/deliveries/{resent['id']}")
    print("\n  Everything runs until Ctrl-C.", flush=True)
    if has_desktop():
        webbrowser.open(f"{api}/")


def has_desktop() -> bool:
    """Return whether a window can open. A browser in the terminal would hide what the demo has printed."""
    return sys.stdout.isatty() and (
        sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    )


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except (AssertionError, DemoFailedError) as error:
        sys.exit(f"\n  The demo failed: {error}")
