"""Arrows only go down: a room imports from the rooms below it, and pure files import next to nothing."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIBRARY = ROOT / "webhooks"

TOP: dict[str, set[str]] = {
    # top-level room: the top-level rooms of ours that it may import from
    "webhooks": {"webhooks"},
    "activities": {"activities", "webhooks"},
    "workflows": {"workflows", "activities", "webhooks"},
    "api": {"api", "workflows", "activities", "webhooks"},
    "worker.py": {"workflows", "activities", "webhooks"},
    "demo": {"demo", "webhooks"},
}
COMPOSITION_ROOTS = {"api/serving.py": {"worker"}}

ROOMS: dict[str, set[str]] = {
    # room of webhooks/: the rooms that it may import from, beside itself and the files in webhooks/ itself ("root")
    "root": set(),
    "telemetry": set(),
    "credentials": set(),
    "temporal": {"telemetry", "credentials"},
    "egress": {"telemetry"},
    "store": {"credentials"},
    "deliveries": {"temporal", "telemetry"},
    "isolation": {"deliveries", "temporal", "telemetry"},
    "events": {"store"},
    "identity": {"store", "credentials", "egress"},
    "sending": {"events", "store", "egress", "credentials", "telemetry"},
    "publishing": {"events", "store", "isolation", "deliveries", "temporal", "telemetry"},
    "inbound": {"publishing", "store", "credentials", "deliveries", "temporal"},
    "testing": set(),
}
EXCEPTIONS = {"process.py": {"telemetry"}}
"""`process.py` sets up a whole process, its log included."""
ONLY_ITS_OWN = {"testing"}
"""Rooms that know the platform from outside only: not even the files in webhooks/ itself."""

PURE = """
    characters contracts errors field_errors ids json_documents json_numbers json_pointer outcomes retry times
    credentials/authentication credentials/client_certificate credentials/header_rules credentials/masking
    credentials/signing credentials/source_secrets credentials/webhook_secrets
    deliveries/status
    identity/caller identity/permissions
    egress/addresses egress/answer_heads egress/compression egress/url_rules
    events/presets events/rendering events/schema_cost
    inbound/content inbound/verification
    publishing/filters
""".split()
"""Files of webhooks/ that import the standard library, pydantic, cryptography and each other only."""
EGRESS_ONLY = {"httpx", "httpcore"}
"""Who opens connections to strangers does it in webhooks/egress/. `testing/` is not part of a deployment."""


def imports(file: Path) -> set[str]:
    """Every imported name, as module.name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def sources(place: Path) -> list[Path]:
    return [place] if place.is_file() else sorted(place.rglob("*.py"))


def files_of(room: str) -> list[Path]:
    return sorted(LIBRARY.glob("*.py")) if room == "root" else sources(LIBRARY / room)


def room_of(name: str) -> str:
    """The room of a name like webhooks.egress.guard.Guard."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and (LIBRARY / parts[1]).is_dir() else "root"


OURS = {room.removesuffix(".py") for room in TOP} | {"tests", "bench"}


@pytest.mark.parametrize("room", TOP)
def test_a_top_level_room_imports_only_from_rooms_below(room: str) -> None:
    files = sources(ROOT / room)
    assert files
    for file in files:
        allowed = TOP[room] | COMPOSITION_ROOTS.get(str(file.relative_to(ROOT)), set())
        used = {name.split(".")[0] for name in imports(file)} & OURS

        assert used <= allowed, f"{file.relative_to(ROOT)} reaches up to {used - allowed}"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_of_the_library_imports_only_what_the_table_says(room: str) -> None:
    files = files_of(room)
    assert files
    for file in files:
        allowed = ROOMS[room] | {room} | (set() if room in ONLY_ITS_OWN else {"root"})
        allowed |= EXCEPTIONS.get(str(file.relative_to(LIBRARY)), set())
        used = {room_of(name) for name in imports(file) if name.split(".")[0] == "webhooks"}

        assert used <= allowed, f"{file.relative_to(ROOT)} imports from {used - allowed}"


def test_the_table_names_every_room() -> None:
    folders = {file.relative_to(LIBRARY).parts[0] for file in LIBRARY.glob("*/*.py")}

    assert folders == set(ROOMS) - {"root"}


def test_the_table_has_no_circle() -> None:
    seen: set[str] = set()
    left = dict(ROOMS)
    while left:
        ready = [room for room, below in left.items() if below <= seen]
        assert ready, f"a circle among {sorted(left)}"
        for room in ready:
            seen.add(room)
            del left[room]


@pytest.mark.parametrize("name", PURE)
def test_pure_files_import_the_standard_library_and_pydantic_only(name: str) -> None:
    for used in imports(LIBRARY / f"{name}.py"):
        first, *rest = used.split(".")
        ours = first == "webhooks" and any("/".join(rest[:end]) in PURE for end in range(1, len(rest) + 1))

        assert first in sys.stdlib_module_names or first in ("pydantic", "cryptography") or ours, (
            f"{name}.py imports {used}"
        )


def test_only_egress_opens_connections() -> None:
    for room in ("webhooks", "activities", "workflows", "api", "worker.py"):
        for file in sources(ROOT / room):
            used = {name.split(".")[0] for name in imports(file)} & EGRESS_ONLY
            inside = file.is_relative_to(LIBRARY / "egress") or file.is_relative_to(LIBRARY / "testing")

            assert not used or inside, f"{file.relative_to(ROOT)} imports {used}"


def test_every_python_folder_is_a_room() -> None:
    found = {file.relative_to(ROOT).parts[0] for file in ROOT.rglob("*.py") if ".venv" not in file.parts}

    assert found == set(TOP) | {"tests", "bench", "docs"}
