"""Prints every request and answers 200: a receiver to look at what webhooks send. It verifies nothing.

PORT  9001 by default, on 127.0.0.1 (the platform needs WEBHOOKS_EGRESS_ALLOW=127.0.0.0/8 to send there)
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"] or 0)).decode()
        sys.stdout.write(f"{self.requestline}\n{self.headers}{body}\n\n")
        sys.stdout.flush()
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_PUT(self) -> None:
        self.do_POST()

    def log_message(self, *_: object) -> None:
        """Print nothing but the requests."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9001"))), Receiver).serve_forever()
