"""What the pages set: a production process takes it, as far as it goes without the servers that it names."""

import asyncpg
import pytest
import trustme
from sqlalchemy import make_url

from core.audit.alerts.rules import load_rules
from core.broker.rabbitmq import check_broker_tls
from core.database import async_url
from core.redis_connection import check_redis_tls, open_redis
from core.settings import Settings, load_settings, variable_name
from devstack.places import answers, free_port, make_directory, server_user
from tests.docs.blocks import blocks
from tests.docs.ledger import SETTINGS, blocks_of

KNOWN = {variable_name(name) for name in Settings.model_fields}
# Read by OpenTelemetry's SDK, and by the file provider of secrets.
OF_OTHERS = {"OTEL_EXPORTER_OTLP_ENDPOINT", "SECRETS_DIRECTORY"}


@pytest.mark.parametrize("block", blocks_of(SETTINGS), ids=lambda block: f"{block.page}-{block.first_line[:30]}")
async def test_production_starts_with_what_a_page_sets(block, settings, monkeypatch, tmp_path):
    authority = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(authority)
    given = dict(line.split("=", 1) for line in block.lines)
    assert set(given) <= KNOWN | OF_OTHERS
    for name in ("DATABASE_URL", "REDIS_URL", "SECRETS_PROVIDER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value.replace("/etc/manna/ca.pem", str(authority)))
    monkeypatch.setenv("MANNA_ENVIRONMENT", "production")
    loaded = load_settings()
    if "DATABASE_URL" in given:
        async_url(loaded.database_url, loaded)
    if "REDIS_URL" in given and not given["REDIS_URL"].startswith("rediss://manna@"):
        check_redis_tls(loaded)
        await open_redis(loaded).aclose()
    if "BROKER_URL" in given:
        check_broker_tls(loaded)


def test_the_example_of_a_rule_is_one(tmp_path):
    (block,) = [block for block in blocks() if block.language == "toml"]
    (tmp_path / "alerts.toml").write_text(block.text)
    (rule,) = load_rules(tmp_path / "alerts.toml")
    assert (rule.name, rule.threshold) == ("denied-access", 5)


@pytest.mark.extras("pgbouncer")
async def test_pgbouncer_takes_the_example(database_url, supervisor):
    (block,) = [block for block in blocks() if block.language == "ini"]
    url, port, directory = make_url(database_url), free_port(), make_directory()
    supervisor.own(directory)
    (directory / "users.txt").write_text(f'"{url.username}" "{url.password}"\n')
    own = f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\n"
    own += f"auth_file = {directory}/users.txt\nadmin_users = {url.username}\n"
    ini = directory / "pgbouncer.ini"
    ini.write_text(f"[databases]\n* = host={url.host} port={url.port}\n{block.text}{own}")
    log = directory / "pgbouncer.log"
    supervisor.start("pgbouncer", ["pgbouncer", str(ini)], log=log, user=server_user(), cwd=directory)
    supervisor.wait_ready("pgbouncer", lambda: answers(port))
    connection = await asyncpg.connect(
        url._replace(port=port).render_as_string(hide_password=False), statement_cache_size=0
    )
    assert await connection.fetchval("SELECT count(*) FROM plaid_items") == 0
    await connection.close()
    told = dict(line.split(" = ") for line in block.lines[1:])
    assert told["pool_mode"] == "transaction"
    assert "unrecognized" not in log.read_text()
