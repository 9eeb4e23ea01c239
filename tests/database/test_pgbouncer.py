"""PgBouncer in transaction mode, with fewer server connections than clients: every statement meets a stranger."""

import asyncio

import pytest
from sqlalchemy import insert, make_url, select, text

from core.database import open_database
from core.identity import new_id
from core.models import AuditOutbox
from core.settings import load_settings
from devstack.places import answers, free_port, make_directory, server_user
from devstack.processes import open_supervisor

CLIENTS = 12
SERVERS = 2


@pytest.fixture
def bouncer(database_url):
    """The address of a PgBouncer before the test's database."""
    url, port = make_url(database_url), free_port()
    with open_supervisor() as supervisor:
        directory = make_directory()
        supervisor.own(directory)
        users = directory / "users.txt"
        users.write_text(f'"{url.username}" "{url.password}"\n')
        ini = directory / "pgbouncer.ini"
        ini.write_text(
            f"[databases]\n* = host={url.host} port={url.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {users}\n"
            f"pool_mode = transaction\ndefault_pool_size = {SERVERS}\n"
        )
        log = directory / "pgbouncer.log"
        supervisor.start("pgbouncer", ["pgbouncer", str(ini)], log=log, user=server_user(), cwd=directory)
        supervisor.wait_ready("pgbouncer", lambda: answers(port))
        yield url.set(port=port).render_as_string(hide_password=False)


@pytest.mark.extras("pgbouncer")
async def test_many_clients_share_few_connections(bouncer, settings):
    settings = load_settings(database_pooler="pgbouncer", database_pool_size=CLIENTS)
    database = open_database(settings, bouncer)
    pids = set()

    async def work(number):
        for _ in range(10):
            async with database.transaction() as session:
                await session.execute(insert(AuditOutbox).values(_event(number)))
                found = select(AuditOutbox.context).where(AuditOutbox.actor == f"client:{number}")
                assert (await session.scalars(found)).first() == {"number": number}
                pids.add(await session.scalar(text("SELECT pg_backend_pid()")))

    await asyncio.gather(*map(work, range(CLIENTS)))
    async with database.connection() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM audit_outbox")) == CLIENTS * 10
        assert await connection.scalar(text("SELECT count(*) FROM pg_prepared_statements")) == 0
    assert 1 <= len(pids) <= SERVERS
    await database.close()


def _event(number):
    return {
        "event_id": new_id(),
        "event_type": "a:b:c",
        "occurred_at": text("now()"),
        "actor": f"client:{number}",
        "message": "it happened",
        "context": {"number": number},
    }
