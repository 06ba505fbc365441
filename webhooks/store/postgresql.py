"""PostgreSQL's side of the configuration database: connections, faults that pass, and being alone."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from webhooks.errors import CannotRunError

_DIALECT = "postgresql+asyncpg://"
"""For SQLAlchemy. What the operator gave goes to asyncpg whole, which knows libpq's options and `PG*` variables."""

_FREE_SECONDS = 5.0
_CONNECT_SECONDS = 5
_SESSION = {"application_name": "durable-webhooks", "lock_timeout": "5s"}
_PASSING = ("08", "25006", "40", "53", "55P03", "57")
"""SQLSTATEs, or their beginnings: connections, a standby, deadlocks, no room, locks, an operator's intervention."""
_ALONE = 0x64757261626C65
"""Our advisory lock. Locks are each database's own."""


class DatabaseAwayError(CannotRunError):
    """No connection to the configuration database."""


def engines(url: str, connections: int) -> tuple[AsyncEngine, AsyncEngine]:
    """For writing and for reading, each with as many connections: pinged, so that a restart of the database costs no
    request; the last one used first, so that no more are open than are needed."""
    options: dict[str, Any] = {
        "hide_parameters": True,
        "async_creator": _connecting(url),
        "pool_pre_ping": True,
        "pool_use_lifo": True,
        "pool_size": connections,
        "max_overflow": 0,
        "pool_timeout": _FREE_SECONDS,
    }
    # A read is one query: on its own it needs no transaction, which would be two more trips to the database.
    reader = create_async_engine(_DIALECT, isolation_level="AUTOCOMMIT", skip_autocommit_rollback=True, **options)
    return create_async_engine(_DIALECT, **options), reader


def _connecting(url: str) -> Callable[[], Awaitable[Any]]:
    """What opens a connection. It raises DatabaseAwayError."""

    async def connect() -> Any:
        try:
            return await asyncpg.connect(url, timeout=_CONNECT_SECONDS, server_settings=_SESSION)
        except ValueError:  # its text may hold a part of the password
            raise DatabaseAwayError("asyncpg cannot read WEBHOOKS_DATABASE_URL") from None
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            reason = str(error) or type(error).__name__
            raise DatabaseAwayError(f"Cannot connect to the database of WEBHOOKS_DATABASE_URL: {reason}") from error

    return connect


def is_passing(error: DBAPIError) -> bool:
    """Whether the same may work in a moment."""
    return error.connection_invalidated or str(getattr(error.orig, "sqlstate", "")).startswith(_PASSING)


async def be_alone(connection: AsyncConnection) -> None:
    """Waits until no other transaction has asked for this, and keeps others waiting until this one ends."""
    await connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
    await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ALONE})")
