"""Whatever is typed wrongly is told in one line that names it and what is accepted; nothing is done."""

import asyncio
import io
import os
import socket
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from devstack.processes import ROOT

NOBODY = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("items show nonsense", "valid UUID"),
        ("items show", "Missing argument"),
        ("items list --limit -1 --json", "greater than or equal to 1"),
        ("items list --status nope", "'needs_reauth'"),
        ("items lst", "Did you mean 'list'"),
        ("syncs list --since yesterday", "so long ago: 90m"),
        ("syncs list --since 999999w", "outside of the calendar"),
        ("syncs list --until 9999-12-31T23:59:59-14:00", "outside of the calendar"),
        ("syncs list --since 0001-01-01T00:00:00+14:00 --json", "outside of the calendar"),
        ("syncs replay", "--error-code"),
        ("syncs replay --error-code X --rate -5", "60/min"),
        ("syncs replay --error-code X --rate 0/min", "60/min"),
        ("audit tail --lines 0", "greater than or equal to 1"),
        ("audit verify --checkpoints /nonexistent", "does not exist"),
        ("tokens issue --subject a --scope items:read --ttl 91d", "at most 90d"),
        ("security setup --environment test", "development and production"),
        ("web --port 99999", "65535"),
    ],
)
def test_a_wrong_word_is_usage(refused, words, told):
    line = refused(*words.split(), code=2)
    assert told in line
    assert "--help`" in line


@pytest.mark.parametrize(
    "words",
    [
        "items show {}",
        "items show {} --json",
        "items sync {} --wait",
        "items remove {} --yes",
        "items reconcile {} --json",
        "keys rotate-token {}",
        "syncs show {}",
        "syncs replay {} --json",
        "syncs replay --stop {}",
        "syncs replays {}",
    ],
)
def test_an_id_that_nobody_has_is_named(refused, words):
    line = refused(*words.format(NOBODY).split(), code=1)
    assert NOBODY in line or "no failing Item fits" in line


@pytest.mark.parametrize(
    ("name", "url", "words"),
    [
        ("DATABASE_URL", "postgresql://u:sec-ret@127.0.0.1:1/x", "items list --json"),
        ("REDIS_URL", "redis://:sec-ret@127.0.0.1:1/0", "items list --json"),
    ],
)
def test_a_server_that_is_away_is_named_without_its_password(refused, monkeypatch, name, url, words):
    monkeypatch.setenv(name, url)
    monkeypatch.setenv("CONNECT_TIMEOUT_SECONDS", "1")
    line = refused(*words.split(), code=1)
    assert "127.0.0.1:1" in line
    assert "sec-ret" not in line


def test_a_database_that_refuses_in_the_middle_is_one_line(refused):
    asyncio.run(_execute("ALTER TABLE plaid_items RENAME TO elsewhere"))
    line = refused("items", "list", code=1)
    assert "UndefinedTable" in line
    assert "manna doctor" in line


async def _execute(statement):
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    await connection.execute(statement)
    await connection.close()


@pytest.mark.parametrize("words", ["items list --json", "audit public-key", "security validate --json"])
def test_an_output_that_is_full_or_closed_ends_without_a_traceback(settings, words):
    command = [sys.executable, "-m", "cli", *words.split()]
    env = {**os.environ, "JWT_SIGNING_KEY": "k" * 40}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, cwd=ROOT, env=env, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "No space left" in done.stderr
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        done = subprocess.run(command, cwd=ROOT, env=env, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr, "Exception" in done.stderr) == (1, False, False)


@pytest.mark.parametrize(
    ("host", "told"), [("127.0.0.1", "in use"), ("192.0.2.1", "assign"), ("nowhere.invalid", "nowhere.invalid")]
)
def test_where_nobody_can_listen_is_said_before_anything_is_opened(refused, host, told):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        line = refused("web", "--host", host, "--port", taken.getsockname()[1], code=1)
    assert "cannot listen" in line
    assert told in line


def test_what_is_not_confirmed_is_not_done(manna, monkeypatch, registered):
    (item_id,) = registered(1)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    said = manna("items", "remove", item_id)
    assert said.code == 1
    assert said.err.endswith("manna: not confirmed; nothing was done\n")
