"""PostgreSQL as the configuration database: connections, temporary errors, and the advisory lock."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from webhooks.errors import CannotRunError

_DIALECT = "postgresql+asyncpg://"
"""For SQLAlchemy. asyncpg gets the operator's URL unchanged: it knows libpq's options and `PG*` variables."""
_WAIT_FOR_CONNECTION_SECONDS = 5.0
"""How long a query waits for a free connection of this process."""
_CONNECT_SECONDS = 5
"""How long opening a connection may take."""
_SESSION = {"application_name": "durable-webhooks", "lock_timeout": "5s"}
"""A query that waits longer than 5 s for a lock fails."""
_NOT_IN_REPERTOIRE = "22021"
"""The SQLSTATE of a character that the encoding does not have."""
_TEMPORARY = ("08", "25006", "40", "53", "55P03", "57")
"""SQLSTATEs, or their beginnings, of errors that pass: lost connections, a standby, deadlocks, no resources, lock
timeouts, an operator's intervention."""
_ADVISORY_LOCK = 0x64757261626C65
"""The number of our advisory lock. Each database has its own."""


class DatabaseAwayError(CannotRunError):
    """There is no connection to the configuration database."""


def engines(url: str, connections: int) -> tuple[AsyncEngine, AsyncEngine]:
    """Return an engine for writes and one for reads, each with up to `connections` connections. A connection is tested
    before its use, so that a restart of the database fails no request. The last one used comes first, so that no more
    are opened than needed."""
    options: dict[str, Any] = {
        "hide_parameters": True,
        "async_creator": _connecting(url),
        "pool_pre_ping": True,
        "pool_use_lifo": True,
        "pool_size": connections,
        "max_overflow": 0,
        "pool_timeout": _WAIT_FOR_CONNECTION_SECONDS,
    }
    # A read is one query. It needs no transaction, which would cost two more round trips to the database.
    reader = create_async_engine(_DIALECT, isolation_level="AUTOCOMMIT", skip_autocommit_rollback=True, **options)
    return create_async_engine(_DIALECT, **options), reader


def _connecting(url: str) -> Callable[[], Awaitable[Any]]:
    """Return a function that opens a connection, or raises DatabaseAwayError."""

    async def connect() -> Any:
        try:
            return await asyncpg.connect(url, timeout=_CONNECT_SECONDS, server_settings=_SESSION)
        except ValueError:  # the error's text may hold a part of the password
            raise DatabaseAwayError(
                "WEBHOOKS_DATABASE_URL is not valid: check its options and that special characters are percent-encoded"
            ) from None
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            reason = str(error) or type(error).__name__
            raise DatabaseAwayError(f"Cannot connect to the database of WEBHOOKS_DATABASE_URL: {reason}") from error

    return connect


def has_nul(error: Exception) -> bool:
    """Return whether PostgreSQL refused a text because of a NUL character, which SQLite takes."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) == _NOT_IN_REPERTOIRE


def is_passing(error: DBAPIError) -> bool:
    """Return whether the same query may succeed soon."""
    return error.connection_invalidated or str(getattr(error.orig, "sqlstate", "")).startswith(_TEMPORARY)


async def be_alone(connection: AsyncConnection) -> None:
    """Wait for every other transaction that has called this, and make later ones wait until this one ends."""
    await connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
    await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
