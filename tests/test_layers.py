"""Arrows only go down: a room imports from the rooms below it, and pure files import next to nothing."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {
    # room: the rooms of ours that it may import from
    "webhooks": {"webhooks"},
    "activities": {"activities", "webhooks"},
    "workflows": {"workflows", "activities", "webhooks"},
    "api": {"api", "workflows", "activities", "webhooks"},
    "worker.py": {"workflows", "activities", "webhooks"},
    "demo": {"demo"},
}
COMPOSITION_ROOTS = {"api/__main__.py": {"worker"}}
PURE = {"addresses", "authentication", "contracts", "credentials", "filters", "headers", "ids", "outcomes", "presets"}
PURE |= {"destination", "json_pointer", "rendering", "schema_cost", "signing"}
"""Files of webhooks/ that import the standard library, pydantic, cryptography and each other only."""
EGRESS_ONLY = {"httpx", "httpcore"}
EGRESS = {"egress.py", "connections.py", "guard.py"}
"""Who opens connections to strangers does it in these files."""


def imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def sources(room: str) -> list[Path]:
    place = ROOT / room
    return [place] if place.is_file() else sorted(place.rglob("*.py"))


OURS = {room.removesuffix(".py") for room in ROOMS} | {"tests", "bench"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_rooms_below(room: str) -> None:
    files = sources(room)
    assert files
    for file in files:
        allowed = ROOMS[room] | COMPOSITION_ROOTS.get(str(file.relative_to(ROOT)), set())
        used = {name.split(".")[0] for name in imports(file)} & OURS

        assert used <= allowed, f"{file.relative_to(ROOT)} reaches up to {used - allowed}"


@pytest.mark.parametrize("name", sorted(PURE))
def test_pure_files_import_the_standard_library_and_pydantic_only(name: str) -> None:
    for used in imports(ROOT / "webhooks" / f"{name}.py"):
        root = used.split(".")[0]
        ours = root == "webhooks" and set(used.split(".")[1:]) & PURE

        assert root in sys.stdlib_module_names or root in ("pydantic", "cryptography") or ours, (
            f"{name}.py imports {used}"
        )


def test_only_egress_opens_connections() -> None:
    for room in ("webhooks", "activities", "workflows", "api", "worker.py"):
        for file in sources(room):
            used = {name.split(".")[0] for name in imports(file)} & EGRESS_ONLY

            assert not used or file.name in EGRESS, f"{file.relative_to(ROOT)} imports {used}"


def test_every_python_folder_is_a_room() -> None:
    found = {file.relative_to(ROOT).parts[0] for file in ROOT.rglob("*.py") if ".venv" not in file.parts}

    assert found == set(ROOMS) | {"tests", "bench", "docs"}
