"""Types for TypeScript, generated from the OpenAPI document by openapi-typescript, fit the calls of the README."""

import json
import shutil
from pathlib import Path

import pytest

from tests.clients.commands import run
from webhooks.testing.platform_process import Json

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(not shutil.which("npm"), reason="there is no Node.js: npm is not on PATH"),
]


def packages(lock: Path) -> Json:
    """Return what a lock file pins, without the entry of the project itself."""
    pinned: Json = json.loads(lock.read_text())["packages"] if lock.exists() else {}
    return {name: package for name, package in pinned.items() if name}


@pytest.fixture
async def node(tmp_path: Path) -> Path:
    """A folder with the pinned packages, which are installed once."""
    if packages(MODULES / ".package-lock.json") != packages(HERE / "package-lock.json"):
        await run("npm", "ci", "--ignore-scripts", "--no-fund", "--no-audit", cwd=HERE)
    for name in ("readme.ts", "tsconfig.json"):
        shutil.copy(HERE / name, tmp_path)
    return tmp_path


async def test_the_calls_of_the_readme_have_types(node: Path, document: Json) -> None:
    (node / "openapi.json").write_text(json.dumps(document))
    generate = ("node", MODULES / "openapi-typescript/bin/cli.js", "openapi.json", "--default-non-nullable=false")
    output = await run(*generate, "--output", "api.ts", cwd=node)
    assert "warn" not in output.lower()
    assert "error" not in output.lower()

    await run("node", MODULES / "typescript/bin/tsc", "--project", "tsconfig.json", cwd=node)
