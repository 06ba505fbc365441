"""What `docker compose up` starts, as plain processes: with compose's commands and environment, and deploy/'s files."""

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from temporalio.client import Client

from tests.production.programs import programs, version
from tests.support import compose
from tests.support.postgresql import PostgreSQL
from webhooks.credentials.vault import new_key
from webhooks.testing.child_process import ROOT, ChildProcess
from webhooks.testing.platform_process import KEY, PlatformProcess, free_port, until

Say = Callable[[str], None]
_OFFSETS = (0, 1, 2, 6)
"""Of the ports of Temporal's services from the first one's; each has another port for membership, 300 below."""


class Production:
    """PostgreSQL, the Temporal server with its schema and namespace, migrations, two API and two worker processes."""

    def __init__(self, folder: Path, say: Say) -> None:
        self.folder = folder
        self._say = say
        self._given = {
            "POSTGRES_PASSWORD": "it/has@all:that%URLs\\quote\"'",  # Temporal takes no space in it
            "WEBHOOKS_MASTER_KEY": new_key(),
            "WEBHOOKS_BOOTSTRAP_KEY": KEY,
            "WEBHOOKS_EGRESS_ALLOW": "127.0.0.0/8",
        }
        self._services = compose.services()
        self._temporal_port = _free_ports_of_temporal()
        self._programs: Path
        settings = [word for word in self._services["postgresql"]["command"] if "=" in word]
        password = self._given["POSTGRES_PASSWORD"]
        self.postgresql = PostgreSQL(user="webhooks", password=password, settings=settings)
        self.temporal: ChildProcess
        self.apis = [
            PlatformProcess(folder / f"api-{n}", key=KEY, ports=None, **self._environment("api"))
            for n in range(self._replicas("api"))
        ]
        self.workers = [
            ChildProcess(self._command("worker"), self._environment("worker"), folder / f"worker-{n}.log")
            for n in range(self._replicas("worker"))
        ]

    async def start(self) -> None:
        self._programs = await programs(self._say)
        self.postgresql.start()
        self.postgresql.create("webhooks")
        self._say(f"PostgreSQL {self.postgresql.version()}")
        await self._script("schema")
        environment = self._environment("temporal") | {
            "BIND_ON_IP": "127.0.0.1",
            "FRONTEND_GRPC_PORT": str(self._temporal_port),
            "TEMPORAL_DYNAMIC_CONFIG": str(ROOT / "deploy/temporal/dynamicconfig.yaml"),
            "TEMPORAL_METRICS_ADDRESS": f"127.0.0.1:{free_port()}",
        }
        server = (str(self._programs / "temporal-server"), "start")
        self.temporal = ChildProcess(server, environment, self.folder / "temporal.log")
        await self.temporal.spawn()
        await until(self._serves, timeout=120, what="the Temporal server", alive=self.temporal.assert_alive)
        await self._script("namespace")
        self._say(f"Temporal server {version()}, schema and namespace")
        await self._run("migrations", self._command("migrations"))
        self._say("migrations")
        await asyncio.gather(*(process.spawn() for process in (*self.apis, *self.workers)))
        for api in self.apis:
            await until(api.is_ready, timeout=120, what="the API", alive=api.assert_alive)
        self._say(f"{len(self.apis)} api, {len(self.workers)} worker")

    async def close(self) -> None:
        for process in (*self.workers, *self.apis, *([self.temporal] if hasattr(self, "temporal") else [])):
            await process.close()
        self.postgresql.close()

    async def client(self) -> Client:
        """Temporal's, in the platform's namespace."""
        namespace = self._environment("api")["TEMPORAL_NAMESPACE"]
        return await Client.connect(f"127.0.0.1:{self._temporal_port}", namespace=namespace)

    async def _serves(self) -> bool:
        return not _is_free(self._temporal_port)

    async def _script(self, job: str) -> None:
        """A job's entrypoint, with /deploy where it lies."""
        shell, script = self._services[job]["entrypoint"]
        folder = ROOT / self._services[job]["volumes"][0].partition(":")[0]
        await self._run(job, (shell, script.replace("/deploy", str(folder))))

    async def _run(self, job: str, command: tuple[str, ...]) -> None:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env=self._environment(job),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(180):
                output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        (self.folder / f"{job}.log").write_bytes(output)
        assert process.returncode == 0, f"{job}:\n{output.decode()[-3000:]}"

    def _replicas(self, service: str) -> int:
        return int(self._services[service]["deploy"]["replicas"])

    def _command(self, service: str) -> tuple[str, ...]:
        python, *arguments = self._services[service]["command"]
        assert python == "python"
        return (sys.executable, *arguments)

    def _environment(self, service: str) -> dict[str, str]:
        """Compose's, with this machine's addresses in place of the containers'."""
        database, temporal = f"127.0.0.1:{self.postgresql.port}", f"127.0.0.1:{self._temporal_port}"
        here = {
            "@postgresql/": f"@{database}/",
            "postgresql:5432": database,
            "temporal:7233": temporal,
            "/deploy/": f"{ROOT / 'deploy/temporal'}/",
        }
        ours = compose.environment(self._services[service], self._given)
        for name in ours:
            for theirs, place in here.items():
                ours[name] = ours[name].replace(theirs, place)
            if name.endswith("METRICS_PORT"):
                ours[name] = str(free_port())
            elif name.startswith("OTEL_"):  # there is no collector
                ours[name] = ""
        if "SQL_HOST" in ours:
            ours |= {"SQL_HOST": "127.0.0.1", "SQL_PORT": str(self.postgresql.port)}
        path = f"{self._programs}:{os.environ['PATH']}" if hasattr(self, "_programs") else os.environ["PATH"]
        return {"PATH": path, "HOME": os.environ["HOME"], **{name: value for name, value in ours.items() if value}}


def _free_ports_of_temporal() -> int:
    for first in range(17233, 27233, 10):
        if all(_is_free(first + offset) and _is_free(first + offset - 300) for offset in _OFFSETS):
            return first
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
