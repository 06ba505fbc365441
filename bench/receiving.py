"""How long does a sender of webhooks wait for the answer? One after the other, in GitHub's style."""

import hashlib
import hmac
import json
import tempfile
import time
from pathlib import Path
from uuid import uuid4

import httpx

from bench import database
from bench.figures import quantile

_REQUESTS = 300
_SECRET = "a secret of the bench"
BAR_MILLISECONDS = 50


async def main() -> None:
    took = []
    with tempfile.TemporaryDirectory() as folder:
        async with database.running(Path(folder)) as platform:
            style = {"verification": {"type": "github"}, "secret": _SECRET}
            source = {"name": "bench", "event": await platform.event(), **style}
            url = (await platform.post("/v1/sources", source, expect=201))["url"]
            async with httpx.AsyncClient(base_url=platform.http.base_url) as sender:
                for n in range(_REQUESTS):
                    body = json.dumps({"n": n}).encode()
                    signature = hmac.new(_SECRET.encode(), body, hashlib.sha256).hexdigest()
                    headers = {
                        "x-github-event": "push",
                        "x-github-delivery": str(uuid4()),
                        "x-hub-signature-256": f"sha256={signature}",
                        "content-type": "application/json",
                    }
                    at = time.perf_counter()
                    (await sender.post(url, content=body, headers=headers)).raise_for_status()
                    took.append((time.perf_counter() - at) * 1000)
    p50, p95 = (quantile(sorted(took), share) for share in (0.5, 0.95))
    print(f"a received webhook is answered after {p50:.1f} ms (p95 {p95:.1f}; bar for the median: {BAR_MILLISECONDS})")
