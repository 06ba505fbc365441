"""`make bench`: rate, isolation and overload, or what is named (`make bench ONLY=outage`, which takes an hour).

Rate and overload also run with WEBHOOKS_DATABASE_URL; isolation and outage are about lanes, and stay on SQLite.
Server, platform, publisher and receiver share this machine, so only ratios within one run mean something elsewhere.
"""

import asyncio
import os
import sys

from bench import database, isolation, outage, overload, rate

BENCHES = {"rate": rate.main, "isolation": isolation.main, "overload": overload.main, "outage": outage.main}
USUAL = ("rate", "isolation", "overload")

if __name__ == "__main__":
    print(
        f"{os.cpu_count()} cores; one embedded process with its own Temporal server on SQLite, "
        f"its configuration on {database.NAME}\n"
    )
    for name in sys.argv[1:] or USUAL:
        asyncio.run(BENCHES[name]())
