"""Files of lines that outlive whoever writes them. Times are the machine's monotonic clock, in seconds."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Tried:
    """One call of the producer. `status` 0 means that no answer came; `body` is the SHA-256 of what the receiver is to
    get."""

    id: str
    at: float
    status: int
    body: str


@dataclass(frozen=True)
class Arrived:
    """One request at the receiver, answered with `status` after `hold` seconds."""

    id: str
    at: float
    status: int
    hold: float
    body: str
    verified: bool


class Ledger:
    """Each line is in the file before `append` returns."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._out = file.open("a", buffering=1)

    def append(self, entry: Tried | Arrived) -> None:
        self._out.write(json.dumps(asdict(entry)) + "\n")

    def close(self) -> None:
        self._out.close()


def tried(file: Path) -> list[Tried]:
    return [Tried(**json.loads(line)) for line in file.read_text().splitlines()]


def arrived(file: Path) -> list[Arrived]:
    """A last line that is still being written is left out."""
    return [Arrived(**json.loads(line)) for line in file.read_text().split("\n")[:-1]]
