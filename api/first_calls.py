"""Shows the five calls of README.md with this platform's values to somebody who starts it on a terminal for the first
time."""

import shlex
import sys
from ipaddress import ip_address
from pathlib import Path

from sqlmodel.ext.asyncio.session import AsyncSession

from api.starting import local_address
from webhooks.settings import Settings
from webhooks.store import api_keys
from webhooks.store import webhooks as stored_webhooks
from webhooks.store.database import Database

CALLS = """\
auth="Authorization: Bearer $(cat .data/bootstrap.key)"; json='Content-Type: application/json'; api=localhost:8000/v1

# 1. an event
curl -H "$auth" -H "$json" $api/events -d '{"key": "OrderPlaced"}'

# 2. a webhook, subscribed to it; the answer shows its id, and this one time its signing_secret
webhook=$(curl -sS -H "$auth" -H "$json" $api/webhooks -d '{"url": "http://127.0.0.1:9000/orders",
  "event": "OrderPlaced", "allowedClientIdentifiers": []}'); echo "$webhook"

# 3. an occurrence
curl -H "$auth" -H "$json" $api/occurrences -d '{"id": "order-4711", "event": "OrderPlaced",
  "data": {"order": {"id": 4711}}}'

# 4. the occurrence's deliveries
curl -H "$auth" "$api/deliveries?occurrence_id=order-4711"

WEBHOOK_SECRET=$(echo "$webhook" | grep -o 'whsec_[^"]*') PORT=9000 .venv/bin/python docs/samples/receiver.py & sleep 2

# 5. send again now, by the delivery's id in the answer to call 4
delivery=$(curl -sS -H "$auth" "$api/deliveries?occurrence_id=order-4711" | grep -o 'order-4711~[0-9a-f-]*' | head -n 1)
curl -H "$auth" -X POST "$api/deliveries/$delivery/resend"
"""
"""The blocks of README.md; a test compares them."""

_ROOT = Path(__file__).parent.parent
_RECEIVER = ip_address("127.0.0.1")
"""Where the example receiver listens."""


async def show(settings: Settings, database: Database) -> None:
    """Print the calls if a person can read them and there is no webhook yet. They show the API key, so they go to the
    terminal only, never to the log."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return
    async with database.read() as session:
        if await stored_webhooks.any_stored(session):
            return
        key = await _known_key(settings, session)
    print(_text(settings, key), flush=True)  # noqa: T201


async def _known_key(settings: Settings, session: AsyncSession) -> str | None:
    """Return a stored key that this process can read, from the setting or from the file of the first start."""
    file = settings.bootstrap_key_path
    candidates = [settings.bootstrap_key.get_secret_value()] if settings.bootstrap_key else []
    candidates += [file.read_text().strip()] if file.is_file() else []
    for key in candidates:
        if await api_keys.find(session, key):
            return key
    return None


def _text(settings: Settings, key: str | None) -> str:
    auth = shlex.quote(f"Authorization: Bearer {key or '<an API key>'}")
    receiver = f"{shlex.quote(sys.executable)} {shlex.quote(str(_ROOT / 'docs/samples/receiver.py'))}"
    calls = (
        CALLS.replace('"Authorization: Bearer $(cat .data/bootstrap.key)"', auth)
        .replace("localhost:8000", local_address(settings, settings.port))
        .replace(".venv/bin/python docs/samples/receiver.py", receiver)
    )
    warning = (
        ""
        if any(_RECEIVER in network for network in settings.egress_allow)
        else "Call 2 will be refused: its receiver is on this machine. Start again with\n"
        "  WEBHOOKS_EGRESS_ALLOW=127.0.0.0/8 make run\n\n"
    )
    return (
        "\nThere is no webhook yet. Paste these calls into a second terminal. They create one, publish an occurrence\n"
        f"that fails at first, start an example receiver, and send again.\n\n{warning}{calls}\n"
        "`kill %1` there ends the receiver. README.md explains the calls."
    )
