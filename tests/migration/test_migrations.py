import subprocess
import sys

import asyncpg
import pytest

from tests.conftest import ROOT


def alembic(*arguments):
    command = [sys.executable, "-m", "alembic", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_models_and_migrations_agree(settings):
    checked = alembic("check")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_down_to_nothing_and_up_again(settings):
    assert alembic("downgrade", "base").returncode == 0
    assert alembic("upgrade", "head").returncode == 0
    assert alembic("check").returncode == 0


async def test_the_chain_takes_inserts_only(database_url):
    connection = await asyncpg.connect(database_url)
    for statement in ("UPDATE audit_events SET actor = 'me'", "DELETE FROM audit_events", "TRUNCATE audit_events"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="insert-only"):
            await connection.execute(statement)
    await connection.close()


def test_a_wrong_address_is_one_line(settings, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "mysql://localhost/manna")
    refused = alembic("upgrade", "head")
    assert refused.returncode == 1
    assert refused.stderr.strip().splitlines() == [
        "alembic: DATABASE_URL is not for PostgreSQL; accepted is postgresql://user@host:port/name"
    ]
