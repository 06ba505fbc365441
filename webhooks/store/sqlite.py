"""SQLite's side of the configuration database: connections, transactions, and reading in one trip to a thread."""

from asyncio import wrap_future
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Session
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000", "secure_delete=ON")
"""A commit survives power loss, whoever finds the database locked waits, and what is deleted is overwritten."""
_READERS = 2
_readers = ThreadPoolExecutor(_READERS, "sqlite")


class ReadingSession(AsyncSession):
    """Each query is made, fetched and done with in one trip to a thread; SQLAlchemy's driver for asyncio makes five,
    which cost more than the query. It can do nothing but `exec`, and what it has found is detached."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    async def exec(self, statement: Any, *, params: Any = None) -> Any:  # type: ignore[override]
        return await wrap_future(_readers.submit(self._made, statement, params))

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open between two queries."""

    def _made(self, statement: Any, params: Any) -> Any:
        with Session(self._engine) as session:
            found = session.execute(statement, params).freeze()()
        return found.scalars() if isinstance(statement, SelectOfScalar) else found


def engines(url: str) -> tuple[AsyncEngine, Engine]:
    """For writing and for reading."""
    writer = create_async_engine(url, hide_parameters=True)
    reader = create_engine(
        make_url(url).set(drivername="sqlite"),
        hide_parameters=True,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        pool_size=_READERS,
    )
    for engine in (writer.sync_engine, reader):
        event.listen(engine, "connect", _set_pragmas)
    event.listen(writer.sync_engine, "begin", _begin)
    return writer, reader


def forget_what_was_deleted(reader: Engine) -> None:
    with reader.connect() as connection:
        connection.exec_driver_sql("VACUUM")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def _set_pragmas(connection: Any, _: Any) -> None:
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    """A transaction that will write says so at its beginning and waits for its turn: SQLite does not wait when a reader
    turns into a writer, it fails."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
