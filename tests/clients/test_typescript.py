"""Types for TypeScript, generated from the OpenAPI document by openapi-typescript, fit the calls of the README."""

import json
import shutil
from pathlib import Path

import pytest

from tests.clients.commands import run
from webhooks.testing.platform_process import Json

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"

pytestmark = pytest.mark.skipif(not shutil.which("npm"), reason="there is no Node.js: npm is not on PATH")


@pytest.fixture
async def node(tmp_path: Path) -> Path:
    """A folder with the pinned packages, which are installed once."""
    lock, installed = HERE / "package-lock.json", MODULES / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
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
