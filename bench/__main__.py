"""`make bench`: rate, profile, isolation and overload, or what is named (`make bench ONLY=outage`: an hour).

Rate and profile also run with WEBHOOKS_DATABASE_URL, as overload does; isolation and outage are about lanes, and stay
on SQLite.
Server, platform, publisher and receiver share this machine, so only ratios within one run mean something elsewhere.
"""

import os
import sys

import uvloop

from bench import database, isolation, outage, overload, profile, rate
from webhooks import process

BENCHES = {
    "rate": rate.main,
    "profile": profile.main,
    "isolation": isolation.main,
    "overload": overload.main,
    "outage": outage.main,
}
USUAL = ("rate", "profile", "isolation", "overload")

if __name__ == "__main__":
    print(
        f"{os.cpu_count()} cores; one embedded process with its own Temporal server on SQLite, "
        f"its configuration on {database.NAME}\n"
    )
    process.tune_gc()  # as in the platform's own processes, the yardstick included
    for name in sys.argv[1:] or USUAL:
        uvloop.run(BENCHES[name]())
