"""Results of queries on SQLite, kept in memory until somebody commits a change. Exact, also with several processes."""

import contextlib
import sqlite3
from collections import OrderedDict
from typing import Any

from sqlalchemy.engine import FrozenResult

_MAX_RESULTS = 500
"""Kept in memory. With one more, the least recently used is forgotten."""
_OPTION = "remembered"
OPTIONS = {_OPTION: True}
"""Execution options of a statement whose results may be kept. Its rows are shared: nobody may change them."""


class Remembered:
    """The results of one database. Before each use it asks SQLite for the database's version, which differs after every
    commit of any other connection, in this process or another. That reads shared memory, and no file.

    For one event loop: its methods do not wait."""

    def __init__(self, file: str | None) -> None:
        """`file` is the database's; None: nothing is kept."""
        self._file = file
        self._connection: sqlite3.Connection | None = None
        """Only for the version: a connection does not see its own commits as changes."""
        self._version: int | None = None
        self._results: OrderedDict[Any, FrozenResult[Any]] = OrderedDict()

    def find(self, key: Any) -> FrozenResult[Any] | None:
        """Return the result that the query would have now; None if it must be asked."""
        version = self._current()
        if version is None or version != self._version:
            self._results.clear()
            self._version = version
        elif key in self._results:
            self._results.move_to_end(key)
        return self._results.get(key)

    @property
    def version(self) -> int | None:
        """The version that `find` has seen last. None: unknown, nothing is kept."""
        return self._version

    def keep(self, key: Any, result: FrozenResult[Any], version: int | None) -> None:
        """Keep the result of a query that began at this version."""
        if version is None or version != self._version:  # there was a commit, before or after the query
            return
        self._results[key] = result
        if len(self._results) > _MAX_RESULTS:
            self._results.popitem(last=False)

    def close(self) -> None:
        self._results.clear()
        if self._connection:
            self._connection.close()
            self._connection = None

    def _current(self) -> int | None:
        if self._file is None:
            return None
        with contextlib.suppress(sqlite3.Error):  # busy, for example while it recovers from a crash
            if self._connection is None:
                self._connection = sqlite3.connect(self._file, timeout=0, isolation_level=None)
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        return None


def key_of(statement: Any, params: Any) -> Any:
    """Return what the result of a statement is kept by; None if it must not be kept."""
    if params is None or not statement.get_execution_options().get(_OPTION):
        return None
    return statement, tuple(params.items())
