"""The whole service behind PgBouncer in transaction mode: workers, audit consumer and commands, on two connections."""

import json

import pytest

from devstack.stack import CELERY, QUIET
from tests.database.test_pgbouncer import SERVERS, bouncer

__all__ = ["bouncer"]

OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@pytest.mark.extras("pgbouncer")
async def test_workers_beat_and_commands_go_through_it_alone(bouncer, stage, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", bouncer)
    monkeypatch.setenv("DATABASE_POOLER", "pgbouncer")
    stage.start_worker("sync")
    stage.start("audit", [*CELERY, "worker", "-Q", "audit", *QUIET, "-n", "audit@%h"], "ready")
    stage.start_beat()
    await stage.link()
    await stage.until("SELECT version = 1 FROM plaid_items")
    await stage.assert_whole(commits=1)
    await stage.assert_goes_on(commits=1)
    await stage.until("SELECT count(*) = 0 FROM audit_outbox")
    assert json.loads(stage.manna("audit", "verify", "--json"))["problem"] is None
    # Nobody went round it.
    assert 1 <= await stage.connection.fetchval(OTHERS) <= SERVERS
