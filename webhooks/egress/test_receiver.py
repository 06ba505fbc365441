"""The built-in test receiver: it answers inside this process, so that somebody who has no receiver yet sees deliveries.

Its host is a name that never resolves (RFC 2606), so no request to it leaves the process. A webhook's URL chooses the
answer:

| path            | answer                                                        |
|-----------------|---------------------------------------------------------------|
| /fail-twice     | 503 for the first two requests of a delivery, then 200        |
| /status/503     | this status                                                   |
| everything else | 200                                                           |
"""

import json
import re
from collections import OrderedDict
from collections.abc import Mapping
from http import HTTPStatus

HOST = "test-receiver.invalid"
_STATUS = re.compile(r"/status/([2-5]\d\d)")
_FAILURES = 2
_MAX_REMEMBERED = 1_000
"""Deliveries whose requests are counted. With one more, the oldest is forgotten."""


class TestReceiver:
    """Answers requests to HOST."""

    def __init__(self) -> None:
        self._requests: OrderedDict[str, int] = OrderedDict()
        """How many requests a delivery has sent, by its id."""

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Return the status and the JSON body of the answer to a request."""
        status = self._status(path, headers.get("webhook-id", ""))
        shown = {"received": status < 300, "status": HTTPStatus(status).phrase, "bytes": len(body)}
        return status, json.dumps(shown).encode()

    def _status(self, path: str, delivery_id: str) -> int:
        if chosen := _STATUS.fullmatch(path):
            status = int(chosen[1])
            return status if status in _KNOWN else 200
        if path != "/fail-twice":
            return 200
        seen = self._requests.pop(delivery_id, 0) + 1
        self._requests[delivery_id] = seen
        if len(self._requests) > _MAX_REMEMBERED:
            self._requests.popitem(last=False)
        return 503 if seen <= _FAILURES else 200


_KNOWN = {status.value for status in HTTPStatus}
