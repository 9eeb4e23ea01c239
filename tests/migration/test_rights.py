"""The first migration after `manna security setup-database`, as docs/how-to/set-up-production.md has it."""

import os
import subprocess
import sys

import asyncpg
from sqlalchemy import make_url

from tests.conftest import ROOT
from tests.own_postgres import open_postgres

PASSWORDS = {"manna_owner": "Vexing7Plinth9Wombat4Zephyr", "manna_writer": "Quartz3Juniper8Mallet5Onyx"}


def run(url, *arguments):
    env = {key: value for key, value in os.environ.items() if not key.startswith("DATABASE_")}
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(
        command, env=env | {"DATABASE_URL": url}, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


async def test_the_writer_may_work_as_soon_as_the_owner_has_migrated(tmp_path):
    for role, password in PASSWORDS.items():
        (tmp_path / role).write_text(password)
    files = ("--owner-password-file", tmp_path / "manna_owner", "--writer-password-file", tmp_path / "manna_writer")
    with open_postgres() as postgres:
        run(postgres.url, "cli", "security", "setup-database", *map(str, files))
        urls = {
            role: make_url(postgres.url).set(username=role, password=password).render_as_string(hide_password=False)
            for role, password in PASSWORDS.items()
        }
        run(urls["manna_owner"], "alembic", "upgrade", "head")

        writer = await asyncpg.connect(urls["manna_writer"])
        may = "SELECT has_table_privilege($1, $2)"
        assert await writer.fetchval("SELECT count(*) FROM encryption_keys") == 0
        assert await writer.fetchval(may, "plaid_items", "SELECT, INSERT, UPDATE, DELETE")
        assert await writer.fetchval(may, "audit_events", "INSERT")
        assert not await writer.fetchval(may, "audit_events", "UPDATE")
        await writer.close()
