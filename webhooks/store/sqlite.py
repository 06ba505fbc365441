"""SQLite's side of the configuration database: connections, transactions, and reading in one trip to a thread."""

from asyncio import wrap_future
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000", "secure_delete=ON")
"""A commit survives power loss, whoever finds the database locked waits, and what is deleted is overwritten."""
_readers = ThreadPoolExecutor(2, "sqlite")


class ReadingSession(AsyncSession):
    """Makes a query and fetches its rows in one trip to a thread; SQLAlchemy's driver for asyncio makes four, and they
    cost more than the query. It can do nothing but `exec`."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(expire_on_commit=False)
        self.sync_session.bind = engine
        self._query: Future[Any] | None = None

    async def exec(self, statement: Any, *, params: Any = None, **_: Any) -> Any:
        make = partial(self.sync_session.exec, statement, params=params, execution_options={"prebuffer_rows": True})
        self._query = _readers.submit(make)
        return await wrap_future(self._query)

    async def close(self) -> None:
        if self._query and not self._query.done():  # nobody waits for it any more
            self._query.add_done_callback(lambda _: self.sync_session.close())
        else:
            self.sync_session.close()


def engines(url: str) -> tuple[AsyncEngine, Engine]:
    """For writing and for reading."""
    writer = create_async_engine(url, hide_parameters=True)
    reader = create_engine(
        make_url(url).set(drivername="sqlite"),
        hide_parameters=True,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        max_overflow=-1,
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
