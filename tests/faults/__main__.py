"""`make test-faults`: every fault, or those that are named (`make test-faults ONLY="worker disk"`)."""

import asyncio
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from tests.faults.faults import FAULTS, SkippedError, run

_LINE = "{:<40}{:>10}{:>11}{:>6}{:>7}{:>9}"
_MOST_SHOWN = 20


async def main(names: list[str]) -> bool:
    """Whether every rule held."""
    print(_LINE.format("fault", "accepted", "delivered", "lost", "twice", "longest"), flush=True)
    return all([await drill(name) for name in names or FAULTS])


async def drill(name: str) -> bool:
    title, fault = FAULTS[name]
    folder = Path(tempfile.mkdtemp(prefix=f"fault-{name}-"))
    try:
        verdict = await run(fault, folder)
    except SkippedError as reason:
        print(f"{title:<40}skipped: {reason}", flush=True)
        shutil.rmtree(folder)
        return True
    except Exception:
        print(f"{title:<40}broken off; see {folder}\n{traceback.format_exc()}", flush=True)
        return False
    longest = f"{verdict.longest:.1f} s"
    counts = (verdict.accepted, verdict.delivered, verdict.lost, verdict.twice)
    print(_LINE.format(title, *counts, longest), flush=True)
    if verdict.broken:
        shown = verdict.broken[:_MOST_SHOWN]
        print("\n".join([f"  {len(verdict.broken)} rules broken; see {folder}", *(f"  {line}" for line in shown)]))
        return False
    shutil.rmtree(folder)
    return True


if __name__ == "__main__":
    unknown = set(sys.argv[1:]) - FAULTS.keys()
    if unknown:
        sys.exit(f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}")
    sys.exit(0 if asyncio.run(main(sys.argv[1:])) else 1)
