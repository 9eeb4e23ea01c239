"""What is wrong with a running service, and the command that comes next: looked at part by part, guessed nowhere.

A part that is away makes its own finding, and leaves out those that can only be seen through it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from alembic.script import ScriptDirectory
from celery import Celery
from kombu.exceptions import OperationalError
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from core.broker.messages import Queue
from core.broker.rabbitmq import is_rabbitmq, ping_broker
from core.broker.transport import celery_settings
from core.broker.waiting import read_waiting
from core.database import Database, open_database, wait_for_database
from core.encryption import EncryptionKeyProvider
from core.errors import ClientRefusedError, MannaError, RetryLaterError, SyncError
from core.heartbeat import BEAT_LEADER_KEY
from core.items.webhook_registration import count_elsewhere
from core.plaid.client import PlaidClient
from core.redis_connection import open_redis, ping_redis
from core.secrets import get_secret, secrets_manager
from core.secrets.names import SecretName
from core.settings import Settings
from core.sync.resend import TICKED_KEY

PART_SECONDS = 15.0
INSPECT_SECONDS = 2.0
SKEW_SECONDS = 2.0
LATE_SECONDS = 60
BACKLOG = 10_000
CONTEXT = b"doctor"
WORKER = "celery -A worker worker -Q "
BEAT = "celery -A worker beat"
LATENESS = """
SELECT count(*) AS items, coalesce(extract(epoch FROM now() - min(due_at)), 0)::float8 AS seconds
FROM item_schedules WHERE due_at <= now() - interval '60 seconds'
"""
OUTBOX = """
SELECT count(*) AS events, coalesce(extract(epoch FROM now() - min(occurred_at)), 0)::float8 AS seconds
FROM audit_outbox
"""
BREAKERS = "SELECT scope, error_code FROM circuit_breakers WHERE state = 'open' ORDER BY scope"
ANNOUNCED = """
SELECT count(*) AS items, (
    SELECT extract(epoch FROM now() - received_at)::float8 FROM webhook_events ORDER BY id DESC LIMIT 1
) AS seconds FROM plaid_items WHERE status = 'active'
"""
FAILING = """
SELECT error_code, count(*) AS items, count(*) FILTER (WHERE next_sync_at IS NULL) AS waiting
FROM plaid_items WHERE error_code IS NOT NULL AND status NOT IN ('revoked', 'removed')
GROUP BY error_code ORDER BY items DESC LIMIT 5
"""


class State(StrEnum):
    """How a part is; `attention` is somebody's work to do, but not ours to fail for."""

    OK = "ok"
    ATTENTION = "attention"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen at a part, and the commands that come next; none when there is nothing to do."""

    part: str
    state: State
    said: str
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Patient:
    """What can be looked through; None is away."""

    settings: Settings
    database: Database | None
    redis: Redis | None


Look = Callable[[Patient], Awaitable[Finding]]


async def diagnose(settings: Settings) -> AsyncIterator[Finding]:
    """Yield a finding for each part, in the order in which one would mend them. Changes nothing."""
    async with AsyncExitStack() as stack:
        database = open_database(settings, secrets_manager.get_database_url())
        stack.push_async_callback(database.close)
        redis = open_redis(settings)
        stack.push_async_callback(redis.aclose)
        yield await _keys()
        at_database = await _reach(
            "database", wait_for_database(database, settings), 'pg_isready --dbname="$DATABASE_URL"'
        )
        yield at_database
        at_redis = await _reach("redis", ping_redis(redis, settings), 'redis-cli -u "$REDIS_URL" ping')
        yield at_redis
        if is_rabbitmq(settings):
            yield await _reach("broker", ping_broker(settings), "rabbitmq-diagnostics ping")
        patient = Patient(
            settings,
            database if at_database.state is State.OK else None,
            redis if at_redis.state is State.OK else None,
        )
        schema = await _look("migrations", _migrations, patient)
        if patient.database is not None:
            yield schema
        for part, look in _looks(patient, is_migrated=schema.state is State.OK).items():
            yield await _look(part, look, patient)


def _looks(patient: Patient, *, is_migrated: bool) -> dict[str, Look]:
    looks: dict[str, Look] = {}
    if patient.redis is not None:
        looks |= {"workers": _workers, "beat": _beat, "queues": _queues}
    if patient.database is not None and is_migrated:
        looks |= {"schedule": _schedule, "audit": _audit, "breakers": _breakers, "Items": _items}
        looks["webhooks"] = _webhooks
    return looks | {"Plaid": _plaid, "clock": _clock}


async def _keys() -> Finding:
    try:
        keyring = EncryptionKeyProvider.load_keyring()
        opens = keyring.open(keyring.seal("doctor", CONTEXT), CONTEXT) == "doctor"
    except MannaError as error:
        return Finding("keys", State.WRONG, str(error), ("manna keys generate",))
    return Finding("keys", State.OK if opens else State.WRONG, "the key seals and opens")


async def _reach(part: str, ping: Awaitable[None], advice: str) -> Finding:
    try:
        await ping
    except MannaError as error:
        return Finding(part, State.WRONG, str(error), (advice,))
    return Finding(part, State.OK, "answers")


async def _look(part: str, look: Look, patient: Patient) -> Finding:
    try:
        async with asyncio.timeout(PART_SECONDS):
            return await look(patient)
    except (SQLAlchemyError, RedisError, OSError, MannaError, OperationalError) as error:
        return Finding(part, State.WRONG, f"could not be looked at: {type(error).__name__}")


async def _rows(patient: Patient, statement: str) -> Sequence[Any]:
    if patient.database is None:
        return ()
    async with patient.database.connection() as connection:
        return (await connection.execute(text(statement))).all()


async def _migrations(patient: Patient) -> Finding:
    spec = find_spec("migrations")
    folder = Path(str(spec.origin)).parent if spec else Path("migrations")
    head = ScriptDirectory(str(folder)).get_current_head()
    exists = await _rows(patient, "SELECT 1 WHERE to_regclass('alembic_version') IS NOT NULL")
    found = await _rows(patient, "SELECT version_num FROM alembic_version") if exists else ()
    at = found[0].version_num if found else "nothing"
    if at == head:
        return Finding("migrations", State.OK, f"at {head}")
    return Finding(
        "migrations", State.WRONG, f"the database is at {at}, this release needs {head}", ("alembic upgrade head",)
    )


async def _workers(patient: Patient) -> Finding:
    served = await asyncio.to_thread(_served, patient.settings)
    missing = [queue.value for queue in Queue if queue.value not in served]
    if not missing:
        return Finding("workers", State.OK, f"{len(set().union(*served.values()))} workers, every queue is served")
    return Finding("workers", State.WRONG, f"nobody serves {', '.join(missing)}", _workers_for(missing))


def _workers_for(queues: Sequence[str]) -> tuple[str, ...]:
    """Return the commands that serve these queues: the audit log's consumer is a worker of its own."""
    audit = Queue.AUDIT.value
    others = ",".join(queue for queue in queues if queue != audit)
    return tuple(WORKER + served for served in (others, audit if audit in queues else "") if served)


def _served(settings: Settings) -> dict[str, set[str]]:
    """Return the workers that answer, by the queue that they serve."""
    app = Celery("manna-doctor", set_as_current=False)
    app.conf.update(celery_settings(settings))
    try:
        answers = app.control.inspect(timeout=INSPECT_SECONDS).active_queues() or {}
    finally:
        app.close()
    served: dict[str, set[str]] = {}
    for worker, queues in answers.items():
        for queue in queues:
            served.setdefault(queue["name"], set()).add(worker)
    return served


async def _beat(patient: Patient) -> Finding:
    if patient.redis is None:
        return Finding("beat", State.WRONG, "Redis is away")
    ticked, leader = await patient.redis.mget(TICKED_KEY, BEAT_LEADER_KEY)
    ago = None if ticked is None else max(0, time.time() - float(ticked))
    if ago is not None and ago <= LATE_SECONDS + patient.settings.sync_dispatch_seconds:
        return Finding("beat", State.OK, f"the last dispatch was {ago:.0f} s ago")
    since = "no dispatch within the last hour" if ago is None else f"the last dispatch was {ago:.0f} s ago"
    if leader is None:
        return Finding("beat", State.WRONG, f"{since}, and no beat leads", (BEAT,))
    # It ticks, and nobody takes its ticks.
    name = leader.decode() if isinstance(leader, bytes) else leader
    host, pid, _ = name.rsplit(":", 2)
    said = f"{since}, though beat ticks (process {pid} on {host})"
    return Finding("beat", State.WRONG, said, _workers_for([Queue.MAINTENANCE.value]))


async def _queues(patient: Patient) -> Finding:
    if patient.redis is None:
        return Finding("queues", State.WRONG, "Redis is away")
    waiting = await read_waiting(patient.settings, patient.redis)
    depths = {queue.value: one.messages for queue, one in waiting.items()}
    said = ", ".join(f"{name} {depth}" for name, depth in depths.items() if depth) or "empty"
    deep = [name for name, depth in depths.items() if depth > BACKLOG]
    return Finding("queues", State.ATTENTION if deep else State.OK, said, _workers_for(deep))


async def _schedule(patient: Patient) -> Finding:
    (row,) = await _rows(patient, LATENESS)
    if not row.items:
        return Finding("schedule", State.OK, "no Item waits for its dispatch")
    said = f"{row.items} Items are due and not dispatched, the longest for {row.seconds:.0f} s"
    return Finding("schedule", State.WRONG, said, (BEAT,))


async def _audit(patient: Patient) -> Finding:
    (row,) = await _rows(patient, OUTBOX)
    if row.seconds < LATE_SECONDS:
        return Finding("audit", State.OK, f"{row.events} events wait to be sealed")
    said = f"{row.events} events wait to be sealed, the oldest for {row.seconds:.0f} s"
    return Finding("audit", State.WRONG, said, _workers_for(["audit"]))


async def _breakers(patient: Patient) -> Finding:
    rows = await _rows(patient, BREAKERS)
    if not rows:
        return Finding("breakers", State.OK, "none is open")
    said = "open: " + ", ".join(f"{row.scope} ({row.error_code})" for row in rows[:5])
    ours = any(row.scope == "plaid" for row in rows)
    command = f"manna syncs list --status failed --error-code {rows[0].error_code}"
    return Finding("breakers", State.WRONG if ours else State.ATTENTION, said, (command,))


async def _items(patient: Patient) -> Finding:
    rows = await _rows(patient, FAILING)
    if not rows:
        return Finding("Items", State.OK, "none fails")
    said = ", ".join(f"{row.error_code} {row.items} ({row.waiting} wait for somebody)" for row in rows)
    command = f"manna syncs list --status failed --error-code {rows[0].error_code}"
    return Finding("Items", State.ATTENTION, f"failing: {said}", (command,))


async def _webhooks(patient: Patient) -> Finding:
    wanted, database = patient.settings.webhook_url, patient.database
    if wanted is not None and database is not None and (items := await count_elsewhere(database, wanted)):
        said = f"Plaid has not been asked to send those of {items} Items to {wanted}"
        return Finding("webhooks", State.ATTENTION, said, ("manna items register-webhooks --dry-run",))
    (row,) = await _rows(patient, ANNOUNCED)
    if row.seconds is not None:
        return Finding("webhooks", State.OK, f"the last one came {row.seconds:.0f} s ago")
    if not row.items:
        return Finding("webhooks", State.OK, "there is no Item to send any")
    address, public_url = patient.settings.webhook_url, patient.settings.public_url
    if address is None:
        said = f"PUBLIC_URL is not set: Plaid announces nothing, and {row.items} Items wait for the schedule"
        return Finding("webhooks", State.ATTENTION, said, ("export PUBLIC_URL=https://YOUR-HOST",))
    said = f"none has ever come for {row.items} Items: does Plaid send theirs to {address}, and does it arrive there?"
    return Finding("webhooks", State.ATTENTION, said, (f"curl -sS {str(public_url).rstrip('/')}/health/live",))


async def _plaid(patient: Patient) -> Finding:
    plaid = PlaidClient(patient.settings, get_secret(SecretName.PLAID_SECRET, required=False) or "")
    try:
        # Of no such key: whatever Plaid says to it, it has accepted ours.
        await plaid.webhook_verification_key("doctor")
    except ClientRefusedError as error:
        return Finding(
            "Plaid",
            State.WRONG,
            f"refuses us ({error.error_code}): PLAID_CLIENT_ID, PLAID_SECRET or PLAID_ENV is wrong",
            ("manna security validate",),
        )
    except RetryLaterError as error:
        return Finding(
            "Plaid",
            State.WRONG,
            f"{patient.settings.plaid_host} does not answer: {error.error_code}",
            (f"curl -sS {patient.settings.plaid_host}",),
        )
    except SyncError:
        pass
    finally:
        await plaid.aclose()
    return Finding("Plaid", State.OK, f"{patient.settings.plaid_host} answers and accepts our keys")


async def _clock(patient: Patient) -> Finding:
    skews = {}
    if patient.database is not None:
        began = time.time()
        (row,) = await _rows(patient, "SELECT extract(epoch FROM clock_timestamp())::float8 AS now")
        skews["PostgreSQL"] = _skew(row.now, began, time.time())
    if patient.redis is not None:
        began = time.time()
        seconds, microseconds = await patient.redis.time()
        skews["Redis"] = _skew(seconds + microseconds / 1e6, began, time.time())
    said = ", ".join(f"{name} {skew:+.1f} s" for name, skew in skews.items())
    wrong = any(abs(skew) > SKEW_SECONDS for skew in skews.values())
    return Finding("clock", State.WRONG if wrong else State.OK, said, ("timedatectl status",) if wrong else ())


def _skew(theirs: float, began: float, ended: float) -> float:
    """Return how far a clock that was read between two moments is certainly ahead of ours."""
    return min(0.0, theirs - began) + max(0.0, theirs - ended)
