"""`python -m tests.faults.ledger_receiver PORT FILE`: a receiver that no fault of the platform touches. It holds half
of the requests for a moment and fails some, so that at any time requests are on the wire and retries wait."""

import asyncio
import base64
import hashlib
import random
import sys
from collections import Counter
from pathlib import Path

from standardwebhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from tests.faults.ledger import Arrived, Ledger
from webhooks.testing.receiver import Received, Receiver, Reply

SECRET = "whsec_" + base64.b64encode(b"the secret of every fault drill!").decode()
LATER_SECONDS = 15
_FAILS = 0.15
"""The share of deliveries whose first attempt is answered 503."""


class LedgerReceiver:
    """Answers by the path: `/` as said above, `/later` 503 with a long Retry-After at first, `/parked` 400 at first;
    then it holds some for a moment."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._seen: Counter[str] = Counter()
        self._verifier = Verifier(SECRET)

    def answer(self, request: Received) -> Reply:
        id = request.headers.get("webhook-id", "")
        first, body = not self._seen[id], hashlib.sha256(request.body).hexdigest()
        self._seen[id] += 1
        status, headers, hold = 200, {}, 0.0
        if request.path == "/later" and first:
            status, headers = 503, {"retry-after": str(LATER_SECONDS)}
        elif request.path == "/parked":
            status, hold = (400, 0.0) if first else (200, _moment())
        elif request.path == "/":
            fails = int(hashlib.sha256(id.encode()).hexdigest()[:4], 16) < _FAILS * 0x10000
            status = 503 if first and fails else 200
            hold = _moment()
        self._ledger.append(Arrived(id, request.at, status, round(hold, 3), body, self._verifies(request)))
        return Reply(status, headers=headers, before=lambda: asyncio.sleep(hold))

    def _verifies(self, request: Received) -> bool:
        try:
            self._verifier.verify(request.body, request.headers)
        except WebhookVerificationError:
            return False
        return True


def _moment() -> float:
    return random.choice((0.0, random.uniform(0.05, 0.5)))


async def main(port: int, file: Path) -> None:
    receiver, answer = Receiver(), LedgerReceiver(Ledger(file)).answer
    for path in ("/", "/later", "/parked"):
        receiver.tell(path, [answer])
    async with receiver.serving(port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
