"""An installation with nothing to find: read from the test's own servers, then judged as production."""

from dataclasses import replace

import pytest

from core.secrets.values import SecretValues
from core.settings import Environment, PlaidEnvironment
from scripts.validate_security import inspect

SECRETS = {
    "encryption_key": "4jLZ0q3o7mVJtq8rK1uYB2nXw5sFhCgE9dPpTzA6aQk=",
    "audit_signing_key": "pR2tYw8KzQ4nVb6mXc0dLf3gHj5sAe7uJi9oT1rWqNk=",
    "jwt_signing_key": "d41f0b7c9a3e5826f1470bc2de9358a64ce17f20b98d3a5561fe0c7248ab93d5",
    "plaid_secret": "7b0e4c19f2a85d36e1c7904bfa2d58",
    "database_password": "Vexing7Plinth9Wombat4Zephyr",
}
HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "strict-transport-security": "max-age=63072000",
}


@pytest.fixture
async def inspection(settings):
    """The healthy installation."""
    found = await inspect(patience=60)
    production = settings.model_copy(
        update={
            "environment": Environment.PRODUCTION,
            "database_url": "postgresql://manna_writer@db/manna?sslmode=verify-full",
            "redis_url": "rediss://manna@redis/0",
            "plaid_env": PlaidEnvironment.PRODUCTION,
            "require_https": True,
            "secure_cookies": True,
        }
    )
    quiet = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "appendonly": "yes"}
    database = found.database
    return replace(
        found,
        environment=Environment.PRODUCTION,
        settings=production,
        secrets=SecretValues.of(SECRETS),
        database=replace(
            database,
            tls=True,
            user="manna_writer",
            superuser=False,
            creates_roles=False,
            bypasses_row_security=False,
            public_may_create=False,
            parameters={**database.parameters, **quiet},
        ),
        schema=replace(
            found.schema,
            owned_tables=(),
            audit_rights=frozenset({"SELECT", "INSERT"}),
            partition_rights=frozenset(),
        ),
        redis=replace(found.redis, user="manna", parameters={**found.redis.parameters, **quiet}),
        web=replace(found.web, live_headers=HEADERS, missing_headers=HEADERS),
        files=replace(found.files, dotenv_mode=None, readable_secrets=(), writable_code=()),
        process=replace(found.process, is_root=False, core_dump_bytes=0, argv=("validate",)),
    )
