import os
from pathlib import Path

import pytest

from webhooks.cores import usable


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None), ("100000000 100000", None), ("", None)],
)
def test_a_container_s_limit_counts_if_it_is_less(tmp_path: Path, limit: str, expected: int | None) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(limit)

    assert usable(file) == (expected or len(os.sched_getaffinity(0)))


def test_no_limit(tmp_path: Path) -> None:
    assert usable(tmp_path / "missing") == len(os.sched_getaffinity(0))
