"""The README's way to run it, followed from its first line: secrets, schema, processes, Items."""

import asyncio
import json
import subprocess

import asyncpg
import pytest

from devstack.places import answers, free_port
from tests.docs.blocks import words
from tests.docs.ledger import blocks_of

RUN_IT = "tests/docs/test_readme.py::test_run_it_from_the_first_line_to_a_synced_item"
SYNCED = "SELECT count(*) FROM audit_events WHERE event_type = 'plaid:item:synced'"


def run(reader, argv):
    command = [reader.finds(argv[0]), *argv[1:]]
    done = subprocess.run(
        command, env=reader.environment, cwd=reader.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def empty_database(reader):
    """What a fresh PostgreSQL has, and the secrets where the first line makes them."""
    connection = await asyncpg.connect(reader.environment["DATABASE_URL"])
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    secrets = reader.folder / "secrets"
    reader.give(SECRETS_PROVIDER="env,file", SECRETS_DIRECTORY=str(secrets))
    # It is made by the README's first line.
    del reader.environment["MANNA_ENCRYPTION_KEY"], reader.environment["JWT_SIGNING_KEY"]
    return connection, secrets


@pytest.mark.timeout(300)  # seven processes, and the machine may be busy
async def test_run_it_from_the_first_line_to_a_synced_item(reader):
    connection, secrets = await empty_database(reader)
    items = [
        {"user_id": "ana", "plaid_item_id": one["item_id"], "access_token": one["access_token"]}
        for one in await reader.linked(2)
    ]
    (reader.folder / "items.ndjson").write_text("\n".join(map(json.dumps, items)))
    (block,) = blocks_of(RUN_IT)
    port = free_port()
    said = {}
    for number, line in enumerate(block.lines):
        argv = words(line)
        if argv[0] == "celery" or argv == ["manna", "web"]:
            reader.start(f"process-{number}", *argv, *(["--port", str(port)] if argv == ["manna", "web"] else []))
            continue
        # Where the machine's own secrets would be, that a test has no business with.
        argv += ["--directory", str(secrets)] if "scripts.setup_security" in argv else []
        said[argv[-1]] = await asyncio.to_thread(run, reader, argv)
    assert said["items.ndjson"] == "2 registered, 0 were there already\n"
    async with asyncio.timeout(120):
        while await connection.fetchval(SYNCED) < 2:
            await connection.execute("SELECT pg_sleep(0.05)")
    assert await connection.fetchval("SELECT count(*) FROM transactions") == 10
    assert answers(port)
    await connection.close()
