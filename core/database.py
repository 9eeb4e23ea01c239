"""The database: one engine a process, guarded time-outs, one transaction border a use case."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from sqlalchemy import URL, MetaData, Text, make_url, text
from sqlalchemy.exc import DBAPIError
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

from core.errors import ConfigurationError, UnavailableError
from core.settings import Settings

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
SERVER_SETTINGS = {
    "application_name": "manna-sync",
    "timezone": "UTC",
    "statement_timeout": "30000",
    "lock_timeout": "10000",
    "idle_in_transaction_session_timeout": "60000",
}
ENCRYPTED_MODES = ("require", "verify-ca", "verify-full")
SSL_PARAMETERS = ("sslmode", "sslrootcert", "sslcert", "sslkey")


class Base(DeclarativeBase):
    """The root of every model; constraint names are fixed so that migrations can name them."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar = {str: Text}


class Database:
    """The process's engine. `transaction()` is the only way in: it commits at the end or rolls all back."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)

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
        await self._engine.dispose()


def _ssl_argument(query: dict[str, Any]) -> ssl.SSLContext | str:
    mode = str(query.get("sslmode", "prefer"))
    if mode not in {"disable", "allow", "prefer", *ENCRYPTED_MODES}:
        raise ConfigurationError(f"DATABASE_URL has sslmode={mode}; accepted are disable, prefer, {ENCRYPTED_MODES}")
    if mode not in {"verify-ca", "verify-full"} and "sslcert" not in query:
        return mode
    try:
        context = ssl.create_default_context(cafile=query.get("sslrootcert"))
        if "sslcert" in query:
            context.load_cert_chain(query["sslcert"], query.get("sslkey"))
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError("DATABASE_URL names a certificate that cannot be read: " + str(error)) from None
    context.check_hostname = mode == "verify-full"
    return context


def async_url(database_url: str, *, production: bool) -> tuple[URL, ssl.SSLContext | str]:
    """Return the asyncpg form of any PostgreSQL URL, and its TLS argument, from libpq's `ssl*` parameters.

    Raises:
        ConfigurationError: production without an encrypted `sslmode`, an unknown mode, an unreadable certificate.
    """
    url = make_url(database_url)
    if production and url.query.get("sslmode") not in ENCRYPTED_MODES:
        raise ConfigurationError(
            "SSL connection required: DATABASE_URL needs sslmode=require, verify-ca or verify-full in production"
        )
    tls = _ssl_argument(dict(url.query))
    return url.set(drivername="postgresql+asyncpg").difference_update_query(SSL_PARAMETERS), tls


def open_database(settings: Settings, database_url: str) -> Database:
    """Make the engine of this process; nothing connects until the first use."""
    url, tls = async_url(database_url, production=settings.is_production)
    engine = create_async_engine(
        url,
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_pre_ping=True,
        pool_recycle=1800,
        pool_timeout=30,
        hide_parameters=True,
        connect_args={
            "ssl": tls,
            "timeout": settings.connect_timeout_seconds,
            "server_settings": SERVER_SETTINGS,
        },
    )
    return Database(engine)


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
