"""Finds the `temporal` program for the development server: on PATH, in our cache, by the SDK's download, or by a Go
build. The cache is outside the checkout, so a machine downloads or builds it only once.
"""

import asyncio
import contextlib
import itertools
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

from webhooks.errors import CannotRunError

_GO_PACKAGE = "github.com/temporalio/cli/cmd/temporal"
_GO_VERSION = "v1.5.1"
"""The newest tag whose go.mod has no `replace` directive: `go install` refuses those."""
_DOWNLOAD_SECONDS = 120
"""How long the download may take before the Go build is tried."""
_DOWNLOAD_PROGRESS_SECONDS = 15
_BUILD_PROGRESS_SECONDS = 30
"""The time between two lines that say that the step is still running."""

Say = Callable[[str], None]
"""Shows a line to the person who started the platform."""


class NoTemporalError(CannotRunError):
    """The Temporal server could not be found, installed or kept running."""


def without_ours(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without our variables, for a program that must not see our keys."""
    return {name: value for name, value in environment.items() if not name.startswith("WEBHOOKS_")}


async def find_temporal(say: Say) -> Path:
    """Return the path of a `temporal` program; install one if there is none. `say` gets a line for each step that may
    take long, and for each that failed. Raises NoTemporalError."""
    if on_path := shutil.which("temporal"):
        return Path(on_path)
    built = cache() / f"temporal-{_GO_VERSION}" / "temporal"
    if built.exists():
        return built
    downloads = cache() / "temporal-download"
    found = _downloaded(downloads) or await _download(downloads, say)
    return found or await go_install(f"{_GO_PACKAGE}@{_GO_VERSION}", built, say)


def cache() -> Path:
    """Return the folder for what is downloaded or built."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "durable-webhooks"


def _downloaded(folder: Path) -> Path | None:
    return next((path for path in sorted(folder.glob("temporal*")) if os.access(path, os.X_OK)), None)


async def _download(folder: Path, say: Say) -> Path | None:
    say("Temporal: downloading the server (once on this machine) ...")
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240  nothing else runs yet
    try:
        async with _progress(say, "downloading", _DOWNLOAD_PROGRESS_SECONDS), asyncio.timeout(_DOWNLOAD_SECONDS):
            server = await WorkflowEnvironment.start_local(download_dest_dir=str(folder))
    except (RuntimeError, TimeoutError):
        say("Temporal: the download failed.")
        return None
    await server.shutdown()
    return _downloaded(folder)


async def go_install(package: str, target: Path, say: Say) -> Path:
    """Build `module/.../program@version` as `target`. Raises NoTemporalError."""
    go = shutil.which("go")
    if go is None:
        raise NoTemporalError(
            "No Temporal server: `temporal` is not on PATH, it could not be downloaded, and Go is not installed to "
            "build it. Install the Temporal CLI or Go, or set TEMPORAL_ADDRESS to a running server."
        )
    say(f"Temporal: building {package} with Go (once on this machine, 3 to 5 minutes) ...")
    # Built in another folder and then renamed, so that an interrupted build does not look finished.
    build_dir = target.parent.with_name(f"{target.parent.name}.{target.name}.{os.getpid()}")
    build = await asyncio.create_subprocess_exec(
        go, "install", package,
        env={**without_ours(os.environ), "GOBIN": str(build_dir)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with _progress(say, "building", _BUILD_PROGRESS_SECONDS):
            output, _ = await build.communicate()
    finally:
        if build.returncode is None:
            build.kill()
    if build.returncode:
        raise NoTemporalError(f"Go could not build the Temporal server:\n{output.decode(errors='replace')[-2000:]}")
    target.parent.mkdir(parents=True, exist_ok=True)
    (build_dir / package.partition("@")[0].rpartition("/")[2]).replace(target)
    build_dir.rmdir()
    return target


@contextlib.asynccontextmanager
async def _progress(say: Say, doing: str, every: float) -> AsyncIterator[None]:
    """Say every `every` seconds that the step is still running, so that it does not look stuck."""

    async def beat() -> None:
        for n in itertools.count(1):
            await asyncio.sleep(every)
            say(f"Temporal: still {doing}, {n * every:.0f} s ...")

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()


if __name__ == "__main__":  # `make temporal`: shows the steps before anything waits for the server
    try:
        asyncio.run(find_temporal(lambda line: print(line, flush=True)))  # noqa: T201
    except NoTemporalError as error:
        sys.exit(str(error))
