"""Every process that a page tells to start is started as it stands there, on real servers, until it is ready."""

import asyncio
import shlex
import subprocess

import httpx
import pytest

from devstack.places import answers, free_port
from tests.docs.blocks import ASSIGNMENT, spans, words
from tests.docs.ledger import PROCESSES, blocks_of

PROGRAMS = ("celery", "manna", "python")
INSPECT, VALIDATE = "celery -A worker inspect active", "python -m scripts.validate_security"
# This machine's ports and PLACES, in the place of the pages'.
PORTS = {"9464", "5555"}


def shown():
    """Every command line of the pages that starts a process, or looks at those that run, once."""
    lines = [line for block in blocks_of(PROCESSES) for line in block.lines]
    lines += [text for _, text in spans() if text.startswith("celery ") and words(text)]
    return list(dict.fromkeys(" ".join(shlex.split(line, comments=True)) for line in lines))


class Started:
    """A process of a page, and how to know that it is ready."""

    def __init__(self, reader, number, line) -> None:
        given = [part for part in line.split() if ASSIGNMENT.match(part)]
        self.program, *self.arguments = words(line)
        assert self.program in PROGRAMS, line
        self.name, self.line, self.reader = f"process-{number}", line, reader
        self.port = free_port()
        here = dict.fromkeys(PORTS, str(self.port)) | {"0.0.0.0": "127.0.0.1"}
        variables = {name: here.get(value, value) for name, _, value in (part.partition("=") for part in given)}
        arguments = [argument.replace("5555", str(self.port)) for argument in self.arguments]
        if self.line == "manna web":
            arguments += ["--port", str(self.port)]
        reader.start(self.name, self.program, *arguments, **variables)

    def wait(self):
        if "beat" in self.arguments:
            self.reader.wait(self.name, "Starting")
        elif "worker" in self.arguments[2:]:
            self.reader.wait(self.name, "ready")
        if "METRICS_PORT" in self.line or {"web", "flower"} & set(self.arguments):
            self.reader.supervisor.wait_ready(self.name, lambda: answers(self.port))

    def page(self, path, **options):
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", **options)


def run(reader, line):
    program, *arguments = words(line)
    command, env = [reader.finds(program), *arguments], reader.environment
    return subprocess.run(command, env=env, cwd=reader.folder, capture_output=True, text=True, check=False)


@pytest.mark.timeout(300)  # ten processes, and the machine may be busy
async def test_every_process_that_a_page_starts_gets_ready(reader):
    lines = shown()
    staying = [line for line in lines if line not in {INSPECT, VALIDATE}]
    started = {line: Started(reader, number, line) for number, line in enumerate(staying)}
    for process in started.values():
        await asyncio.to_thread(process.wait)

    (metrics,) = [process for line, process in started.items() if line.startswith("METRICS_PORT")]
    assert "manna_" in metrics.page("/metrics").text
    (flower,) = [process for line, process in started.items() if "flower" in line]
    assert flower.page("/workers").status_code == 401
    assert flower.page("/workers", auth=("operator", "PASSWORD")).status_code == 200
    assert started["manna web"].page("/health/live").status_code == 200

    active = await asyncio.to_thread(run, reader, INSPECT)
    assert active.returncode == 0, active.stderr
    for node in ("sync2@", "webhook@", "bulk@"):
        assert node in active.stdout
    checked = await asyncio.to_thread(run, reader, VALIDATE)
    assert (checked.returncode, "checks" in checked.stdout) == (0, True), checked.stderr


def test_what_is_looked_for_is_on_the_pages():
    assert {INSPECT, VALIDATE, "manna web", "celery -A worker beat"} <= set(shown())
    assert [line for line in shown() if line.startswith("METRICS_PORT=9464")]
