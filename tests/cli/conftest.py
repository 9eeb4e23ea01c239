import json
import sys
from typing import NamedTuple

import pytest
from structlog.testing import capture_logs

from cli.main import main

TOKEN = "access-sandbox-0198a7c2-0000-4000-8000-00000000000"
LINE = '{"user_id": "u", "plaid_item_id": "item-%d", "access_token": "%s%d"}'


class Said(NamedTuple):
    """How a command ended: its exit code, and what it said on which output."""

    code: int
    out: str
    err: str


@pytest.fixture
def manna(settings, monkeypatch, capfd):
    """Run a command as its process would, in this one."""
    monkeypatch.setattr("cli.session.configure_logs", lambda *_: None)
    # Nobody: no command of these shall reach Plaid.
    monkeypatch.setenv("PLAID_BASE_URL", "http://127.0.0.1:1")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["manna", *map(str, arguments)])
        # A process of its own has its log on standard error.
        with capture_logs(), pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return Said(ended.value.code, out, err)

    return run


@pytest.fixture
def refused(manna):
    """Run a command that shall be refused: return the one line that says why, without anything on standard output."""

    def run(*arguments, code):
        said = manna(*arguments)
        assert (said.code, said.out, said.err.count("\n")) == (code, "", 1), said
        assert "Traceback" not in said.err
        return said.err

    return run


@pytest.fixture
def registered(manna, tmp_path):
    """Register Items and return their ids."""

    def register(count):
        path = tmp_path / "registered.ndjson"
        path.write_text("\n".join(LINE % (n, TOKEN, n) for n in range(count)))
        manna("items", "import", path)
        return [row["id"] for row in json.loads(manna("items", "list", "--json").out)]

    return register
