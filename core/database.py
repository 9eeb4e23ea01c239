"""The database: one engine a process, guarded time-outs, one transaction border a use case."""

import math
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from sqlalchemy import URL, Engine, MetaData, Text, event, make_url, text
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase
from tenacity import (
    AsyncRetrying,
    RetryError,
    retry_if_exception_type,
    stop_after_delay,
    wait_exponential_jitter,
)

from core.away import Outage, is_database_away
from core.errors import ConfigurationError, UnavailableError
from core.postgres_login import Login
from core.postgres_tls import ENCRYPTED_MODES, SSL_PARAMETERS, tls_argument
from core.settings import DATABASE_TLS_RISK, Settings

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
TIMEOUTS = {
    "statement_timeout": "30000",
    "lock_timeout": "10000",
    "idle_in_transaction_session_timeout": "60000",
}
PING_AFTER_IDLE_SECONDS = 1.0


class Base(DeclarativeBase):
    """The root of every model; constraint names are fixed so that migrations can name them."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar = {str: Text}


class Database:
    """The process's engine. `transaction()` is the only way in: it commits at the end or rolls all back.

    `outage` is for whoever would rather wait than fail while the server is away.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)
        self.outage = Outage("DATABASE_AWAY", self.ping, is_database_away)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Open one transaction; rows read in it stay readable after it ends."""
        async with self._sessions.begin() as session:
            yield session

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """Open one connection with a transaction of its own, for statements that need no objects."""
        async with self._engine.begin() as connection:
            yield connection

    @asynccontextmanager
    async def bare_connection(self) -> AsyncIterator[AsyncConnection]:
        """Open one connection without a transaction, for migrations: they say themselves what commits when."""
        async with self._engine.connect() as connection:
            yield connection

    async def ping(self) -> None:
        """Return once the database has answered a statement."""
        async with self._engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close every connection of the pool."""
        self.outage.close()
        await self._engine.dispose()


def async_url(database_url: str, settings: Settings) -> tuple[URL, ssl.SSLContext | str]:
    """Return the asyncpg form of any PostgreSQL URL, and its TLS argument, from libpq's `ssl*` parameters.

    Raises:
        ConfigurationError: production without a verified `sslmode`, an unknown mode, an unreadable certificate.
    """
    url = make_url(database_url)
    mode = url.query.get("sslmode")
    if settings.is_production and mode not in ENCRYPTED_MODES:
        raise ConfigurationError("SSL connection required: DATABASE_URL needs sslmode=verify-full in production")
    if settings.is_production and mode != "verify-full" and DATABASE_TLS_RISK not in settings.accept_risk:
        raise ConfigurationError(
            f"SSL connection required: sslmode={mode} of DATABASE_URL does not prove which server answers; "
            f"accepted in production is verify-full, or name {DATABASE_TLS_RISK} in MANNA_ACCEPT_RISK"
        )
    tls = tls_argument(url.query)
    return url.set(drivername="postgresql+asyncpg").difference_update_query(SSL_PARAMETERS), tls


def connect_arguments(settings: Settings) -> dict[str, Any]:
    """Return asyncpg's arguments: time-outs, and what a pooler in transaction mode cannot bear left out.

    PgBouncer gives each transaction any server connection. A prepared statement of yesterday's is not on it, so
    statements are unnamed and never cached; it takes no time-outs from a client, so they belong to the role
    (`manna security setup-database` sets them).
    """
    server_settings = {"application_name": "manna-sync", "timezone": "UTC"}
    if settings.database_pooler == "pgbouncer":
        unnamed = {"statement_cache_size": 0, "prepared_statement_cache_size": 0, "prepared_statement_name_func": str}
        return {"timeout": settings.connect_timeout_seconds, "server_settings": server_settings, **unnamed}
    return {"timeout": settings.connect_timeout_seconds, "server_settings": server_settings | TIMEOUTS}


def open_database(
    settings: Settings, database_url: str, look_up_password: Callable[[], str | None] | None = None
) -> Database:
    """Make the engine of this process; nothing connects until the first use.

    Args:
        settings: the process's settings.
        database_url: the address, with the password of now.
        look_up_password: asked for the password when the one of now is refused.
    """
    url, tls = async_url(database_url, settings)
    password = str(url.password) if url.password else None
    login = Login(password, look_up_password, settings.connect_timeout_seconds)
    engine = create_async_engine(
        url._replace(password=None),
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_recycle=1800,
        pool_timeout=30,
        hide_parameters=True,
        connect_args={"ssl": tls, "async_creator_fn": login.connect, **connect_arguments(settings)},
    )
    ping_idle_connections(engine.sync_engine)
    return Database(engine)


def ping_idle_connections(engine: Engine, idle_seconds: float = PING_AFTER_IDLE_SECONDS) -> None:
    """Have a connection prove that it lives before it is used, when it lay idle; one just used needs no proof.

    SQLAlchemy's own `pool_pre_ping` asks every time, 0.2 ms of each transaction.
    """

    def checked_in(_connection: object, record: Any) -> None:
        record.info["idle_since"] = time.monotonic()

    def checked_out(connection: Any, record: Any, _proxy: object) -> None:
        if time.monotonic() - record.info.get("idle_since", math.inf) < idle_seconds:
            return
        try:
            alive = engine.dialect.do_ping(connection)
        except (engine.dialect.loaded_dbapi.Error, OSError):
            alive = False
        if not alive:
            raise DisconnectionError

    event.listen(engine, "checkin", checked_in)
    event.listen(engine, "checkout", checked_out)


async def wait_for_database(database: Database, settings: Settings) -> None:
    """Return once the database answers; try again for `CONNECT_TIMEOUT_SECONDS`, then give up in one line.

    Raises:
        UnavailableError: it did not answer in time, or refused us.
    """
    attempts = AsyncRetrying(
        retry=retry_if_exception_type((OSError, DBAPIError)),
        wait=wait_exponential_jitter(multiplier=0.1, max=2),
        stop=stop_after_delay(settings.connect_timeout_seconds),
    )
    where = make_url(settings.database_url).set(password=None, query={}).render_as_string()
    try:
        await attempts(database.ping)
    except RetryError as error:
        cause = error.last_attempt.exception()
        reason = str(getattr(cause, "orig", cause) or type(cause).__name__).splitlines()[0]
        raise UnavailableError(f"PostgreSQL at {where} is not reachable: {reason}") from None
    except Exception as error:  # noqa: BLE001 - whatever it is, at start it is one line
        # asyncpg reports a refused log-in or a missing database by classes of its own.
        raise UnavailableError(f"PostgreSQL at {where} refused: {type(error).__name__}") from None
