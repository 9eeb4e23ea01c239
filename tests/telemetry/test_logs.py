"""Every line goes one way: ours, Celery's, uvicorn's and Python's warnings, without secrets and with its ids."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import structlog
from sqlalchemy import text
from structlog.testing import capture_logs

from core.errors import OperatorMustActError
from core.items.registration import NewItem, register_items
from core.models import SyncTrigger
from tasks.sync_item import sync_one
from tests.conftest import ROOT
from tests.integration.plaid_script import PlaidScript, page

SCRIPT = """
import logging, sys, warnings
import structlog
from sqlalchemy import text
from core.settings import Environment
from core.telemetry.logs import configure_logs
configure_logs(Environment(sys.argv[1]))
with structlog.contextvars.bound_contextvars(item_id="i1"):
    structlog.get_logger("ours").info("page_fetched", password="hunter2", url="https://x?t=access-sandbox-canary")
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 1)
    told = {"data": {"id": "t1", "name": "sync.item", "args": "('access-sandbox-canary',)"}}
    logging.getLogger("celery.app.trace").info("Task sync.item[t1] succeeded", extra=told)
    warnings.warn("old", DeprecationWarning, stacklevel=1)
    try:
        raise ValueError("access-sandbox-canary")
    except ValueError:
        structlog.get_logger("ours").exception("crashed")
"""


AWAY = """
import logging
import asyncpg
from redis.exceptions import ConnectionError as RedisConnectionError
from core.settings import Environment
from core.telemetry.logs import configure_logs
configure_logs(Environment("production"))
for error in (RedisConnectionError("Error 111"), asyncpg.CannotConnectNowError("starting up"), ValueError("ours")):
    try:
        raise error
    except Exception:
        logging.getLogger("celery.app.trace").exception("Task raised unexpected")
logging.getLogger("celery.worker.consumer.consumer").error("Cannot connect.\\nTrying again in 2.00 seconds...\\n")
"""


def test_a_server_that_is_away_is_one_line_and_what_is_ours_keeps_its_traceback():
    done = subprocess.run([sys.executable, "-c", AWAY], cwd=ROOT, capture_output=True, text=True, check=True)
    redis, postgresql, ours, celery = [json.loads(line) for line in done.stderr.splitlines()]
    assert (redis["error"], postgresql["error"]) == ("ConnectionError", "CannotConnectNowError")
    assert "exception" not in redis | postgresql
    assert "Traceback" in ours["exception"]
    assert celery["event"] == "Cannot connect. Trying again in 2.00 seconds..."


def said(environment):
    command = [sys.executable, "-W", "always", "-c", SCRIPT, environment]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == ""
    assert "canary" not in done.stderr
    assert "hunter2" not in done.stderr
    return done.stderr


def test_in_production_each_line_is_json_whoever_says_it():
    lines = [json.loads(line) for line in said("production").splitlines()]
    assert [line["logger"] for line in lines] == ["ours", "uvicorn.error", "celery.app.trace", "py.warnings", "ours"]
    assert {line["item_id"] for line in lines} == {"i1"}
    assert all(line["timestamp"].endswith("Z") and line["level"] for line in lines)
    assert (lines[2]["task"], lines[2]["task_id"]) == ("sync.item", "t1")
    assert "ValueError" in lines[4]["exception"]


def test_in_development_a_person_reads_them():
    text = said("development")
    assert "page_fetched" in text
    assert "item_id=i1" in text
    assert "Started server process [1]" in text
    assert not text.startswith("{")


@pytest.mark.parametrize("answer", [page(), OperatorMustActError("INVALID_FIELD")], ids=["succeeds", "fails"])
async def test_each_line_of_a_sync_says_of_which_item_and_run(resources, answer):
    (item_id,) = await register_items(resources.database, [NewItem("u", "i", "access-sandbox-1")], "operator:test")
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        await sync_one(replace(resources, plaid=PlaidScript(answer)), item_id, SyncTrigger.MANUAL)
    assert lines[-1]["event"] == "sync_done"
    async with resources.database.connection() as connection:
        (run_id,) = await connection.scalars(text("SELECT id FROM sync_runs"))
    assert {(line["item_id"], line["run_id"]) for line in lines} == {(str(item_id), str(run_id))}
