"""Asks PostgreSQL and Redis what the checks want to know; what does not answer is absent, with the reason."""

import asyncio
from pathlib import Path
from typing import Any

from alembic.script import ScriptDirectory
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from core.database import open_database
from core.errors import MannaError
from core.redis_connection import open_redis
from core.settings import REDIS_TLS_RISK, Settings
from scripts.validation.inspection import DatabaseFacts, RedisFacts, SchemaFacts

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
PARAMETERS = (
    "password_encryption",
    "fsync",
    "full_page_writes",
    "synchronous_commit",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "TimeZone",
)
ABOUT_US = """
SELECT rolsuper, rolcreaterole, rolbypassrls, current_user, current_setting('server_version_num')::int AS version,
       coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS tls,
       has_schema_privilege('public', 'public', 'CREATE') AS public_may_create
FROM pg_roles WHERE rolname = current_user
"""
OURS = "relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
ABOUT_TABLES = f"""
SELECT (SELECT array_agg(relname::text ORDER BY relname) FROM pg_class
        WHERE {OURS} AND pg_get_userbyid(relowner) = current_user) AS owned,
       (SELECT count(*) FROM plaid_items WHERE left(plaid_access_token, 7) <> 'sealed:') AS plaintext_tokens,
       (SELECT max(tgtype) FROM pg_trigger WHERE tgrelid = 'audit_events'::regclass
        AND NOT tgisinternal AND tgenabled IN ('O', 'A') AND tgfoid = 'refuse_audit_change'::regproc) AS triggers,
       (SELECT array_agg(privilege) FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) privilege
        WHERE has_table_privilege('audit_events', privilege)) AS rights,
       (SELECT array_agg(DISTINCT privilege) FROM pg_inherits,
               unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) privilege
        WHERE inhparent = 'audit_events'::regclass AND has_table_privilege(inhrelid, privilege)) AS partition_rights,
       (SELECT seq FROM audit_chain) AS chain_seq,
       coalesce((SELECT max(seq) FROM audit_events), 0) AS last_seq,
       coalesce((SELECT e.hash = c.hash FROM audit_events e JOIN audit_chain c ON e.seq = c.seq), true) AS head_matches,
       coalesce((SELECT extract(epoch FROM now() - min(occurred_at)) FROM audit_outbox), 0)::float AS outbox_seconds,
       (SELECT count(*) FROM audit_outbox WHERE occurred_at > now() + interval '5 minutes') AS in_the_future
"""  # noqa: S608 - made of constants
# pg_trigger.tgtype, as PostgreSQL's catalogue documents it.
TRIGGER_BITS = {"DELETE": 8, "UPDATE": 16, "TRUNCATE": 32}


async def ask_database(
    settings: Settings, database_url: str, seconds: float
) -> tuple[DatabaseFacts | None, SchemaFacts | None, dict[str, str]]:
    """Return what PostgreSQL says, or why it says nothing."""
    try:
        database = open_database(settings, database_url)
    except MannaError as error:
        return None, None, {"database": str(error), "schema": str(error)}
    try:
        async with asyncio.timeout(seconds), database.connection() as connection:
            facts = await _about_us(connection)
            schema = await _about_tables(connection)
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        where = make_url(database_url).set(password=None, query={}).render_as_string()
        reason = f"PostgreSQL at {where} does not answer: {type(getattr(error, 'orig', None) or error).__name__}"
        return None, None, {"database": reason, "schema": reason}
    finally:
        await database.close()
    return facts, schema, {} if schema else {"schema": "no migration has run"}


async def _about_us(connection: AsyncConnection) -> DatabaseFacts:
    row = (await connection.execute(text(ABOUT_US))).one()
    parameters = {name: str(await connection.scalar(text(f"SHOW {name}"))) for name in PARAMETERS}
    rights = (row.rolsuper, row.rolcreaterole, row.rolbypassrls, row.public_may_create)
    return DatabaseFacts(row.version, row.tls, row.current_user, *rights, parameters)


async def _about_tables(connection: AsyncConnection) -> SchemaFacts | None:
    if not await connection.scalar(text("SELECT to_regclass('alembic_version')")):
        return None
    revision = await connection.scalar(text("SELECT version_num FROM alembic_version"))
    head = ScriptDirectory(str(MIGRATIONS)).get_current_head() or ""
    row = (await connection.execute(text(ABOUT_TABLES))).one()
    triggers = frozenset(name for name, bit in TRIGGER_BITS.items() if (row.triggers or 0) & bit)
    return SchemaFacts(
        revision,
        head,
        tuple(row.owned or ()),
        row.plaintext_tokens,
        triggers,
        frozenset(row.rights or ()),
        frozenset(row.partition_rights or ()),
        row.chain_seq,
        row.last_seq,
        row.head_matches,
        row.outbox_seconds,
        row.in_the_future,
    )


async def ask_redis(settings: Settings, seconds: float) -> tuple[RedisFacts | None, dict[str, str]]:
    """Return what Redis says, or why it says nothing."""
    # What is in the clear is a finding, and no reason not to look.
    redis = open_redis(settings.model_copy(update={"accept_risk": (*settings.accept_risk, REDIS_TLS_RISK)}))
    try:
        async with asyncio.timeout(seconds):
            info = await redis.info("server")
            version = str(info.get("valkey_version") or info.get("redis_version", "0"))
            facts = RedisFacts(
                tuple(int(part) for part in version.split(".") if part.isdecimal()),
                await _parameters(redis),
                await _is_open(redis, settings),
                str(await _or_none(redis.acl_whoami()) or "default"),
            )
    except (RedisError, OSError, TimeoutError) as error:
        return None, {"redis": f"Redis does not answer: {type(error).__name__}"}
    finally:
        await redis.aclose()
    return facts, {}


async def _parameters(redis: Redis) -> dict[str, str]:
    found = await _or_none(redis.config_get("maxmemory-policy", "appendonly", "protected-mode"))
    return {str(name): str(value) for name, value in (found or {}).items()}


async def _is_open(redis: Redis, settings: Settings) -> bool:
    if not settings.redis_url.startswith(("redis://", "rediss://")):
        return False
    arguments = {**redis.connection_pool.connection_kwargs, "username": None, "password": None}
    stranger = Redis(connection_pool=type(redis.connection_pool)(redis.connection_pool.connection_class, **arguments))
    try:
        return bool(await stranger.ping())
    except (RedisError, OSError):
        return False
    finally:
        await stranger.aclose()
        await stranger.connection_pool.disconnect()


async def _or_none(question: Any) -> Any:
    # A hosted Redis forbids CONFIG and ACL: then this is not known.
    try:
        return await question
    except RedisError:
        return None
