"""The statements of the pages: PostgreSQL plans each on the migrated schema, Prometheus parses each."""

import re
import subprocess

import asyncpg
import pytest
import yaml

from scripts.metrics_reference import names
from tests.docs.blocks import blocks, spans

STATEMENT = re.compile(r"(?:SELECT|VACUUM|ALTER ROLE|GRANT|SET) .+")
EXPRESSIONS = [(block.page, line) for block in blocks() if block.language == "promql" for line in block.lines]
# Needs a role of production's name, and a password.
OF_ROLES = re.compile(r"ALTER ROLE (\w+) PASSWORD …")


@pytest.fixture
async def connection(database_url):
    opened = await asyncpg.connect(database_url)
    yield opened
    await opened.close()


def statements(text):
    return [statement.strip() for statement in text.split(";") if statement.strip()]


@pytest.mark.parametrize("block", [block for block in blocks() if block.language == "sql"], ids=lambda b: b.page)
async def test_postgresql_plans_every_statement(block, connection):
    for statement in statements(block.text):
        await connection.fetch(f"EXPLAIN {statement}")
        await connection.fetch(statement)


async def test_statements_in_prose_are_ones_that_postgresql_takes(connection):
    found = {text for _, text in spans() if STATEMENT.fullmatch(text)}
    assert len(found) > 3
    for text in found:
        if role := OF_ROLES.fullmatch(text):
            assert role[1] in {"manna_owner", "manna_writer", "manna_reader"}
        elif text.startswith("GRANT"):
            await connection.execute(f"{text} TO CURRENT_USER")
        else:
            await connection.execute(text.replace("PID", "0"))


@pytest.mark.parametrize(("page", "expression"), EXPRESSIONS)
def test_an_expression_asks_for_metrics_that_there_are(page, expression):
    asked = set(re.findall(r"\bmanna_\w+", expression))
    assert asked
    assert asked <= names()


def test_a_metric_in_prose_is_one_that_there_is():
    named = {(page, text) for page, text in spans() if re.fullmatch(r"manna_\w+", text)}
    of_roles = {"manna_owner", "manna_writer", "manna_reader"}
    assert {(page, text) for page, text in named if text not in names() | of_roles} == set()


@pytest.mark.extras("promtool")
def test_prometheus_parses_every_expression(tmp_path):
    rules = [{"record": f"page:{number}", "expr": expression} for number, (_, expression) in enumerate(EXPRESSIONS)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "pages", "rules": rules}]}))
    command = ["promtool", "check", "rules", str(tmp_path / "rules.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, f"{len(EXPRESSIONS)} rules found" in done.stdout) == (0, True), done.stderr
