"""Two of the drills of `make test-faults`: what was accepted under load is delivered, whatever is killed. Each of the
others takes as long, and must be alone on the machine."""

from pathlib import Path

import pytest

from tests.faults.faults import FAULTS, run


@pytest.mark.thorough
@pytest.mark.quiet
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["all", "answer"])
async def test_nothing_accepted_is_lost(name: str, tmp_path: Path) -> None:
    _, fault = FAULTS[name]
    verdict = await run(fault, tmp_path)

    assert verdict.broken == ()
    assert verdict.accepted == verdict.delivered > 0
    assert verdict.lost == 0
    if name != "all":
        assert verdict.twice == 0
