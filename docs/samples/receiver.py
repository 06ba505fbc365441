"""A minimal receiver: verifies each request's signature, drops duplicates, answers 202.

pip install standardwebhooks

WEBHOOK_SECRET  the webhook's signing_secret
PORT            9000 by default, on 127.0.0.1 (the platform needs WEBHOOKS_EGRESS_ALLOW=127.0.0.0/8 to send there)
"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

verifier = Webhook(os.environ["WEBHOOK_SECRET"])
seen: set[str] = set()  # a real one keeps these in its database, in the transaction that stores the request
lock = Lock()


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"] or 0))
        id = self.headers["webhook-id"]
        try:
            verifier.verify(body, {name.lower(): value for name, value in self.headers.items()}, json_parse=False)
        except WebhookVerificationError:
            return self.answer(401, {"accepted": False, "message": "The signature is wrong"})
        with lock:
            if id in seen:
                return self.answer(202, {"accepted": True, "message": "Webhook received before"})
            self.log_message("%s", body.decode())  # here, put it where it is safe, and work on it later
            seen.add(id)
        return self.answer(202, {"accepted": True, "message": "Webhook received for asynchronous processing"})

    def do_PUT(self) -> None:
        self.do_POST()

    def answer(self, status: int, message: dict[str, object]) -> None:
        content = json.dumps(message).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9000"))), Receiver).serve_forever()
