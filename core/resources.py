"""What a process holds open while it lives: opened once, in its event loop, each proven by a ping."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from redis.asyncio import Redis

from core.audit.alerts.rules import load_rules
from core.audit.policy import install_policy, uninstall_policy
from core.away import Outage, is_redis_away
from core.batching import Batched
from core.broker.publisher import Publisher
from core.broker.rabbitmq import ping_broker
from core.byte_budget import ByteBudget
from core.database import Database, open_database, wait_for_database
from core.encryption import EncryptionKeyProvider
from core.encryption.keyring import install_keyring
from core.locking import DistributedLock
from core.locking.pipelined import PipelinedScripts
from core.locking.redis_lock import item_lease
from core.plaid.client import PlaidClient
from core.plaid.limits import Budget, Limits
from core.redis_connection import open_redis, ping_redis
from core.rotation.membership import KeyringMember, keyring_followed
from core.secrets import get_secret, secrets_manager
from core.secrets.names import SecretName
from core.secrets.refresh import SecretsRefresh
from core.secrets.strength import strength_check
from core.secrets.values import SecretValues
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

    `keyring` follows key rotations and `secrets` all other ones; `lease` makes the lock of an Item; `slots` bounds the
    syncs under way, and `memory` the pages that they hold; `together` runs statements for all that need them at the
    same time; `budget` is what the fleet may ask of Plaid; `redis_outage` is for whoever waits for Redis to come back.
    """

    settings: Settings
    database: Database
    redis: Redis
    plaid: PlaidClient
    publisher: Publisher
    keyring: KeyringMember
    lease: Callable[[UUID], DistributedLock]
    slots: asyncio.Semaphore
    memory: ByteBudget
    together: Together
    budget: Budget
    secrets: SecretsRefresh
    redis_outage: Outage


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open everything, prove that it answers, and close it again at the end.

    Raises:
        ConfigurationError: a secret is missing or wrong.
        UnavailableError: PostgreSQL, Redis or RabbitMQ does not answer; one line says which and where.
    """
    async with AsyncExitStack() as stack:
        secrets = SecretsRefresh(secrets_manager, partial(adopt_keyring, settings), strength_check(settings))
        secrets.start()
        stack.callback(secrets.stop)
        database = await _open_database(stack, settings)
        keyring = await stack.enter_async_context(keyring_followed(database, settings))
        redis = await _open_redis(stack, settings)
        budget = Budget(redis, Limits.of(settings))
        stack.push_async_callback(budget.close)
        publisher = Publisher(settings, redis)
        stack.callback(publisher.close)
        memory = ByteBudget(settings.sync_memory_mb * 2**20)
        plaid = _open_plaid(stack, settings, memory, secrets)
        await stack.enter_async_context(running(secrets.run(settings.secrets_refresh_seconds)))
        yield Resources(
            settings=settings,
            database=database,
            redis=redis,
            plaid=plaid,
            publisher=publisher,
            keyring=keyring,
            lease=partial(_lease_of, PipelinedScripts(redis), settings.sync_lock_ttl_seconds),
            slots=asyncio.Semaphore(settings.sync_concurrency),
            memory=memory,
            together=Together(database),
            budget=budget,
            secrets=secrets,
            redis_outage=_redis_outage(stack, redis),
        )


async def _open_database(stack: AsyncExitStack, settings: Settings) -> Database:
    url = secrets_manager.get_database_url()
    database = open_database(settings, url, secrets_manager.look_up_database_password)
    stack.push_async_callback(database.close)
    await wait_for_database(database, settings)
    load_rules(settings.audit_alert_rules)
    install_policy(settings, database)
    stack.callback(uninstall_policy)
    return database


async def _open_redis(stack: AsyncExitStack, settings: Settings) -> Redis:
    redis = open_redis(settings)
    stack.push_async_callback(redis.aclose)
    await ping_redis(redis, settings)
    await ping_broker(settings)
    return redis


def _redis_outage(stack: AsyncExitStack, redis: Redis) -> Outage:
    outage = Outage("REDIS_AWAY", redis.ping, is_redis_away)
    stack.callback(outage.close)
    return outage


def _open_plaid(stack: AsyncExitStack, settings: Settings, memory: ByteBudget, secrets: SecretsRefresh) -> PlaidClient:
    secret = get_secret(SecretName.PLAID_SECRET) or ""
    plaid = PlaidClient(settings, secret, memory)
    stack.push_async_callback(plaid.aclose)
    secrets.follow(lambda values: partial(plaid.use_secret, values.get(SecretName.PLAID_SECRET) or secret))
    return plaid


def _lease_of(scripts: PipelinedScripts, ttl_seconds: float, item_id: UUID) -> DistributedLock:
    return DistributedLock(scripts, item_lease(item_id), ttl_seconds=ttl_seconds)


def adopt_keyring(settings: Settings, values: SecretValues) -> Callable[[], None]:
    """Build the keyring of these secrets, to be installed with the others."""
    return partial(install_keyring, EncryptionKeyProvider.load_keyring(settings, values.get))


@asynccontextmanager
async def running(coroutine: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run a coroutine beside the body, and end it with the body."""
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
