"""`manna audit`: an export is whole or not there, and it is recorded however it ended."""

import asyncio
import errno

import pytest

from core.audit.sink import seal_outbox
from core.resources import open_resources
from core.settings import load_settings

EXPORTED = "operator:audit:exported"


@pytest.fixture
def sealed(registered):
    """Some sealed events."""
    registered(3)
    seal()


def seal():
    async def run():
        async with open_resources(load_settings()) as resources:
            await seal_outbox(resources.database)

    asyncio.run(run())


@pytest.mark.usefixtures("sealed")
@pytest.mark.parametrize("broken", [BrokenPipeError(), OSError(errno.ENOSPC, "No space left on device")])
def test_an_export_that_is_cut_short_leaves_no_half_a_file_and_is_recorded(manna, monkeypatch, tmp_path, broken):
    out = tmp_path / "audit.ndjson"
    assert manna("audit", "export", "--format", "ndjson", "--out", out).code == 0
    before = out.read_bytes()
    assert before.count(b"\n") == 3

    def fail(*_):
        raise broken

    monkeypatch.setattr("cli.audit.as_lines", fail)
    said = manna("audit", "export", "--format", "ndjson", "--out", out)
    assert (said.code, said.out, "Traceback" in said.err) == (1, "", False)
    assert (out.read_bytes(), list(tmp_path.glob(".*"))) == (before, [])
    seal()
    assert manna("audit", "tail", "--type", EXPORTED).out.count(EXPORTED) == 2


def test_an_empty_file_of_checkpoints_proves_nothing(refused, tmp_path):
    (tmp_path / "checkpoints.ndjson").touch()
    assert "it is empty" in refused("audit", "verify", "--checkpoints", tmp_path / "checkpoints.ndjson", code=1)


def test_a_place_that_cannot_be_written_is_named(refused, tmp_path):
    assert "No such file" in refused("audit", "export", "--format", "ocsf", "--out", tmp_path / "no" / "x", code=1)
