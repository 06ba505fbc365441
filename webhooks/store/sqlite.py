"""SQLite as the configuration database: connections, transactions, and reads in a single step in a thread."""

from asyncio import wrap_future
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import FrozenResult, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Session
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from webhooks.store.remembered import Remembered, key_of

_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000", "secure_delete=ON")
"""A commit survives power loss; a locked database is waited for (in ms); what is deleted is overwritten with zeros."""
_MAX_CONCURRENT_READS = 2
"""Threads, and connections, for reads."""
_readers = ThreadPoolExecutor(_MAX_CONCURRENT_READS, "sqlite")


class ReadingSession(AsyncSession):
    """Runs each query completely in one step in a thread. SQLAlchemy's asyncio driver needs five steps, which cost more
    than the query. Only `exec` works, and the rows it returns are detached from the session. Nothing is open between
    two queries, so one is enough for everybody."""

    def __init__(self, engine: Engine, remembered: Remembered) -> None:
        super().__init__()
        self._engine = engine
        self._remembered = remembered

    async def exec(self, statement: Any, *, params: Any = None) -> Any:  # type: ignore[override]
        key = key_of(statement, params)
        found = self._remembered.find(key) if key else None
        if found is None:
            version = self._remembered.version
            found = await wrap_future(_readers.submit(self._run, statement, params))
            if key:
                self._remembered.keep(key, found, version)
        rows = found()
        return rows.scalars() if isinstance(statement, SelectOfScalar) else rows

    def _run(self, statement: Any, params: Any) -> FrozenResult[Any]:
        with Session(self._engine) as session:
            return session.execute(statement, params).freeze()


def engines(url: str) -> tuple[AsyncEngine, Engine]:
    """Return an engine for writes and one for reads. The writers of a process take turns for one connection. If each
    had its own, SQLite would let them compete for its lock: some would not get it within `busy_timeout`."""
    writer = create_async_engine(url, hide_parameters=True, pool_size=1, max_overflow=0)
    reader = create_engine(
        make_url(url).set(drivername="sqlite"),
        hide_parameters=True,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        pool_size=_MAX_CONCURRENT_READS,
    )
    for engine in (writer.sync_engine, reader):
        event.listen(engine, "connect", _set_pragmas)
    event.listen(writer.sync_engine, "begin", _begin)
    return writer, reader


def erase_deleted(reader: Engine) -> None:
    """Rewrite the file and empty its log, so that neither holds deleted values."""
    with reader.connect() as connection:
        connection.exec_driver_sql("VACUUM")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def _set_pragmas(connection: Any, _: Any) -> None:
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    """Lock the database for writing when a transaction begins: SQLite waits for this lock, but fails immediately if a
    transaction begins with a read and writes later."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
