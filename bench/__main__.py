"""`make bench`: runs rate, profile, encryption, isolation and overload, or the ones named (`make bench ONLY=outage`
takes an hour, `ONLY=bulk` ten minutes).

Rate, profile, encryption and overload also run on the database of WEBHOOKS_DATABASE_URL. Isolation, bulk and
outage use SQLite; lists-production starts a PostgreSQL server of its own. Server, platform, publisher and receiver
share this machine, so compare only ratios within one run.
"""

import os
import sys

import uvloop

from bench import (
    bulk,
    database,
    encryption,
    fan_out,
    isolation,
    lists,
    lists_production,
    outage,
    overload,
    processes,
    profile,
    rate,
    receiving,
)
from webhooks import process

BENCHES = {
    "rate": rate.main,
    "profile": profile.main,
    "encryption": encryption.main,
    "isolation": isolation.main,
    "overload": overload.main,
    "bulk": bulk.main,
    "fanout": fan_out.main,
    "lists": lists.main,
    "lists-production": lists_production.main,
    "processes": processes.main,
    "receiving": receiving.main,
    "outage": outage.main,
}
USUAL = ("rate", "profile", "encryption", "isolation", "overload")

if __name__ == "__main__":
    names = sys.argv[1:] or USUAL
    print(f"{os.cpu_count()} cores")
    if set(names) != {"lists-production"}:
        print(
            f"one embedded process with its own Temporal server on SQLite, its configuration on {database.NAME}\n",
        )
    process.tune_gc()  # as in the platform's own processes, so that the empty workflow has the same conditions
    for name in names:
        uvloop.run(BENCHES[name]())
