"""Four of the drills of `make test-faults`: what was accepted under load is delivered, whatever is killed."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.faults import FAULTS, run


@pytest.mark.quiet
@pytest.mark.timeout(300)
@pytest.mark.parametrize("names", [("all", "answer"), ("sigterm", "together")], ids=" and ".join)
async def test_nothing_accepted_is_lost(names: tuple[str, str], tmp_path: Path) -> None:
    """Two drills beside each other, each with a platform of its own: most of their time is waiting."""
    verdicts = await asyncio.gather(*(run(FAULTS[name][1], tmp_path / name) for name in names))

    for name, verdict in zip(names, verdicts, strict=True):
        assert verdict.broken == (), name
        assert verdict.accepted == verdict.delivered > 0, name
        assert verdict.lost == 0, name
        if name != "all":
            assert verdict.twice == 0, name
