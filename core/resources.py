"""What a process holds open while it lives: opened once, in its event loop, each proven by a ping."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import make_url

from core.audit.alerts.rules import load_rules
from core.audit.policy import install_policy, uninstall_policy
from core.batching import Batched
from core.broker.publisher import Publisher
from core.database import Database, open_database, wait_for_database
from core.encryption import EncryptionKeyProvider
from core.encryption.keyring import install_keyring
from core.errors import ConfigurationError, UnavailableError
from core.locking import DistributedLock
from core.locking.pipelined import PipelinedScripts
from core.locking.redis_lock import item_lease
from core.plaid.client import PlaidClient
from core.plaid.limits import Budget, Limits
from core.secrets import get_secret, secrets_manager
from core.secrets.names import SecretName
from core.settings import Settings

A = TypeVar("A")
R = TypeVar("R")


class Together:
    """Runs a use case of the database for everybody in this process who asks for it at the same time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batched: dict[Any, Batched[Any, Any]] = {}

    async def __call__(self, many: Callable[[Database, Sequence[A]], Awaitable[Sequence[R | Exception]]], one: A) -> R:
        """Return what `many` says of `one`."""
        if many not in self._batched:
            self._batched[many] = Batched(lambda batch: many(self._database, batch))
        result: R = await self._batched[many](one)
        return result


@dataclass(frozen=True, slots=True)
class Resources:
    """A process's settings and connections.

    `lease` makes the lock of an Item; `slots` bounds the syncs under way; `together` runs statements for all that
    need them at the same time; `budget` is what the fleet may ask of Plaid.
    """

    settings: Settings
    database: Database
    redis: Redis
    plaid: PlaidClient
    publisher: Publisher
    lease: Callable[[UUID], DistributedLock]
    slots: asyncio.Semaphore
    together: Together
    budget: Budget


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open everything, prove that it answers, and close it again at the end.

    Raises:
        ConfigurationError: a secret is missing or wrong.
        UnavailableError: PostgreSQL or Redis does not answer; one line says which and where.
    """
    async with AsyncExitStack() as stack:
        install_keyring(EncryptionKeyProvider.load_keyring())
        secret = get_secret(SecretName.PLAID_SECRET) or ""
        database = open_database(settings, secrets_manager.get_database_url())
        stack.push_async_callback(database.close)
        await wait_for_database(database, settings)
        load_rules(settings.audit_alert_rules)
        install_policy(settings, database)
        stack.callback(uninstall_policy)
        redis = open_redis(settings)
        stack.push_async_callback(redis.aclose)
        await ping_redis(redis, settings)
        budget = Budget(redis, Limits.of(settings))
        stack.push_async_callback(budget.close)
        publisher = Publisher(settings, redis)
        stack.callback(publisher.close)
        plaid = PlaidClient(settings, secret)
        stack.callback(plaid.close)

        scripts = PipelinedScripts(redis)

        def lease(item_id: UUID) -> DistributedLock:
            return DistributedLock(scripts, item_lease(item_id), ttl_seconds=settings.sync_lock_ttl_seconds)

        slots = asyncio.Semaphore(settings.sync_concurrency)
        yield Resources(settings, database, redis, plaid, publisher, lease, slots, Together(database), budget)


def open_redis(settings: Settings) -> Redis:
    """Make the Redis client of this process; nothing connects until the first use."""
    if settings.redis_url.startswith("sentinel://"):
        raise ConfigurationError("REDIS_URL names a sentinel, which is not supported yet; accepted is redis://")
    return Redis.from_url(
        settings.redis_url,
        socket_timeout=settings.connect_timeout_seconds,
        socket_connect_timeout=settings.connect_timeout_seconds,
        health_check_interval=15,
    )


async def ping_redis(redis: Redis, settings: Settings) -> None:
    """Return once Redis has answered.

    Raises:
        UnavailableError: it did not.
    """
    where = make_url(settings.redis_url).set(password=None, username=None).render_as_string()
    try:
        await redis.ping()
    except (RedisError, OSError) as error:
        raise UnavailableError(f"Redis at {where} is not reachable: {type(error).__name__}") from None
