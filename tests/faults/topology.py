"""The platform in parts that can be broken one by one."""

import os
from pathlib import Path

from webhooks.settings import Settings
from webhooks.temporal.dev_binary import find_temporal, without_ours
from webhooks.temporal.dev_server import command
from webhooks.testing.child_process import ChildProcess
from webhooks.testing.platform_process import PlatformProcess, free_port, until


class Split:
    """A Temporal server, API processes and worker processes, each of its own, on one configuration database."""

    def __init__(self, folder: Path, *, apis: int = 1, workers: int = 1, data_dir: Path | None = None) -> None:
        """`data_dir` is where the configuration lies, if not in the folder."""
        self._server = Settings(data_dir=folder, temporal_port=free_port(), temporal_ui_port=free_port())
        self._log = folder / "temporal.log"
        self.apis = [
            PlatformProcess(
                folder,
                WEBHOOKS_DATA_DIR=str(data_dir or folder),
                WEBHOOKS_EMBEDDED_WORKER="false",
                TEMPORAL_ADDRESS=self._server.temporal_target,
            )
            for _ in range(apis)
        ]
        self.workers = [self.apis[0].worker(f"worker-{n}") for n in range(workers)]
        self.temporal: ChildProcess

    async def start(self) -> None:
        binary = await find_temporal(lambda _: None)
        self._server.make_data_dir()
        self.temporal = ChildProcess(command(binary, self._server), without_ours(os.environ), self._log)
        await self.temporal.spawn()
        for api in self.apis:  # the first one makes the master key
            await api.start(ready=False)
        for worker in self.workers:
            await worker.spawn()
        for api in self.apis:
            await until(api.is_ready, timeout=60, what="the platform", alive=api.assert_alive)

    async def close(self) -> None:
        for process in (*self.workers, *self.apis, self.temporal):
            await process.close()
