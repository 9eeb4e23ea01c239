"""`manna security setup-database`, run as an administrator does."""

from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import make_url
from typer.testing import CliRunner

from cli.main import app
from core.errors import ConfigurationError


@pytest.fixture
async def prefix(database_url):
    prefix = f"m{uuid4().hex[:12]}"
    yield prefix
    admin = await asyncpg.connect(database_url)
    for role in (f"{prefix}_owner", f"{prefix}_writer", f"{prefix}_reader"):
        if await admin.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
            await admin.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}")
    await admin.close()


@pytest.fixture
def command(settings, prefix):
    def run(*arguments):
        return CliRunner().invoke(app, ["security", "setup-database", "--prefix", prefix, *arguments])

    return run


def test_the_writer_logs_in_with_the_password_of_the_file(command, prefix, database_url, tmp_path):
    path = tmp_path / "database_password"
    path.write_text("Vexing7Plinth9Wombat4Zephyr\n")
    for _ in range(2):
        answer = command("--writer-password-file", str(path))
        assert answer.exit_code == 0, answer.output
        assert f"{prefix}_writer: rights granted, password set" in answer.output
        assert "Vexing7" not in answer.output
    url = make_url(database_url).set(username=f"{prefix}_writer", password="Vexing7Plinth9Wombat4Zephyr")

    async def count():
        connection = await asyncpg.connect(url.render_as_string(hide_password=False))
        try:
            return await connection.fetchval("SELECT count(*) FROM plaid_items")
        finally:
            await connection.close()

    import asyncio  # noqa: PLC0415 - only this test has no loop of its own

    assert asyncio.run(count()) == 0


def test_a_weak_password_is_refused_before_anything_is_done(command, tmp_path):
    path = tmp_path / "database_password"
    path.write_text("postgres")
    answer = command("--writer-password-file", str(path))
    assert isinstance(answer.exception, ConfigurationError)
    assert str(answer.exception) == f"the password in {path} has 8 characters; accepted are 12 or more"
