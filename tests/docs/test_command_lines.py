"""Commands in a page's prose, and those that need what no test has: parsed by the program, their names looked up."""

import argparse
import importlib.util
import re
import subprocess
import tomllib
from pathlib import Path
from uuid import uuid4

import pytest
import typer
import yaml
from alembic.config import CommandLine
from typer._click.exceptions import UsageError
from typer.core import TyperGroup

from cli.main import app
from core.heartbeat import BEAT_LEADER_KEY
from tests.conftest import ROOT
from tests.docs.blocks import BLOCK, spans, words
from tests.docs.ledger import COMPOSE, MAKE, blocks_of

MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
COMPOSE_FILE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
# Asked of the running process in test_processes.py.
LIVE = "/health/live"
A_FILE = str(ROOT / "README.md")
# What a page's words in capitals stand for.
STANDS_FOR = dict.fromkeys(("ID", "ITEM_ID", "RUN_ID", "REPLAY_ID"), str(uuid4()))
STANDS_FOR |= {"FILE": A_FILE, "/mnt/worm": str(ROOT), "/mnt/worm/checkpoints.ndjson": A_FILE}

FROM_A_BLOCK = re.compile(r"^manna .*?(?=    # for example|$)", re.MULTILINE)


def manna(arguments):
    """A command without arguments is a mention of it; with some, they are parsed as they will be."""
    command, given = typer.main.get_command(app), [STANDS_FOR.get(word, word) for word in arguments]
    while isinstance(command, TyperGroup) and given:
        word = given.pop(0)
        assert word in command.commands, word
        command = command.commands[word]
    if given:
        command.make_context(command.name, given)


def alembic(arguments):
    CommandLine().parser.parse_args(arguments)
    for revision in re.findall(r"\d{8}_\d{4}", " ".join(arguments)):
        assert list((ROOT / "migrations" / "versions").glob(f"{revision}*")), revision


def make(arguments):
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    for word in arguments:
        name, given, _ = word.partition("=")
        assert re.search(rf"\b{name}\b", MAKEFILE) if given else name in targets, word


def python(arguments):
    flag, module, *options = arguments
    spec = importlib.util.find_spec(module)
    assert (flag, spec is not None) == ("-m", True), module
    source = Path(spec.origin).read_text("utf-8")
    assert [option for option in options if option.startswith("--") and f'"{option}"' not in source] == []


def docker(arguments):
    """Compose's own parser is not to be had here: the options that the pages use, by its reference."""
    parser = argparse.ArgumentParser(prog="docker compose", exit_on_error=False)
    parser.add_argument("--profile")
    commands = parser.add_subparsers(required=True, dest="command")
    up = commands.add_parser("up")
    up.add_argument("--build", action="store_true")
    up.add_argument("--detach", action="store_true")
    up.add_argument("--scale")
    commands.add_parser("ps")
    inside = commands.add_parser("exec")
    inside.add_argument("service")
    inside.add_argument("inner", nargs=argparse.REMAINDER)
    assert arguments[0] == "compose"
    asked = parser.parse_args(arguments[1:])
    profiles = {profile for service in COMPOSE_FILE["services"].values() for profile in service.get("profiles", [])}
    assert asked.profile is None or asked.profile in profiles
    if asked.command == "up" and asked.scale:
        assert asked.scale.partition("=")[0] in COMPOSE_FILE["services"]
    if asked.command == "exec":
        assert asked.service in COMPOSE_FILE["services"]
        assert asked.inner[0] == "manna"
        manna(asked.inner[1:])


def curl(arguments):
    (address,) = [word for word in arguments if not word.startswith("-")]
    assert address == f"localhost:8000{LIVE}"


def redis_cli(arguments):
    assert arguments == ["-u", "$REDIS_URL", "get", BEAT_LEADER_KEY]


def pip(arguments):
    verb, extra = arguments
    assert verb == "install"
    assert re.fullmatch(r"\.\[(\w+)\]", extra)[1] in PROJECT["optional-dependencies"]


def promtool(arguments):
    """That they pass is looked at in tests/deploy."""
    assert arguments[:2] == ["test", "rules"]
    assert (ROOT / "deploy" / "prometheus" / arguments[2]).exists()


PARSERS = {
    "manna": manna,
    "alembic": alembic,
    "make": make,
    "python": python,
    "docker": docker,
    "curl": curl,
    "redis-cli": redis_cli,
    "pip": pip,
    "promtool": promtool,
}
# `celery …` is started by test_processes.py; a name alone is no command.
ELSEWHERE = {"celery", "kubectl", "psql", "rabbitmqctl", "sudo"}
MENTIONED = sorted({(page, text) for page, text in spans() if re.match(r"(?:[A-Z_]+=\S+ )*[a-z-]+ ", text)})
COMMANDS = [(page, text) for page, text in MENTIONED if words(text) and words(text)[0] in PARSERS]
EXAMPLES = sorted(
    line
    for _, _, text in BLOCK.findall((ROOT / "docs/reference/command-line.md").read_text("utf-8"))
    for line in FROM_A_BLOCK.findall(text)
    if not re.search(r"\[|…", line) and line != line.upper()
)


def parse(line):
    program, *arguments = words(line)
    PARSERS[program](arguments)


@pytest.mark.parametrize(("page", "text"), COMMANDS)
def test_a_command_in_prose_is_one_that_there_is(page, text):
    parse(text)


@pytest.mark.parametrize("line", EXAMPLES)
def test_an_example_of_the_reference_is_one(line):
    parse(line.split(". ")[0])


@pytest.mark.parametrize(
    "line",
    [
        "manna items lost",
        "manna items list --colour red",
        "manna items sync no-id",
        "alembic uprade head",
        "make dmeo",
        "python -m scripts.no_such",
        "python -m scripts.setup_security --enviroment x",
        "docker compose --profile simulater up",
        "docker compose up --scale woker=4",
        "curl -sS localhost:8000/heath",
        "pip install '.[otle]'",
    ],
)
def test_a_wrong_one_would_be_found(line):
    with pytest.raises((UsageError, argparse.ArgumentError, AssertionError, SystemExit, ModuleNotFoundError)):
        parse(line)


def test_pages_have_many_commands_and_examples():
    assert len(COMMANDS) > 50
    assert len(EXAMPLES) > 20


@pytest.mark.parametrize("block", blocks_of(MAKE), ids=lambda block: block.first_line[:20])
def test_make_knows_the_target(block):
    for line in block.lines:
        done = subprocess.run(
            ["make", "--dry-run", *words(line)[1:]], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "bin/" in done.stdout


@pytest.mark.parametrize("block", blocks_of(COMPOSE), ids=lambda block: block.first_line[:40])
def test_compose_finds_what_it_is_asked_for(block):
    for line in block.lines:
        docker(words(line)[1:])
        for variable in re.findall(r"([A-Z_]+)=", line):
            assert variable in (ROOT / "docker-compose.yml").read_text("utf-8")


def test_files_are_given_to_the_image_s_user():
    """Not run: whose file it is, only root may say. Redis' and Grafana's users are their images' own."""
    (block,) = blocks_of("tests/docs/test_command_lines.py::test_files_are_given_to_the_image_s_user")
    assert "USER 10001:10001" in (ROOT / "Dockerfile").read_text("utf-8")
    assert [words(line)[:2] for line in block.lines] == [["sudo", "chown"]] * 3
    owners = [words(line)[2] for line in block.lines]
    assert owners == ["10001", "999:10001", "472"]
    files = {Path(words(line)[3]).name for line in block.lines[1:]}
    assert files <= {Path(one["file"]).name.rstrip("}") for one in COMPOSE_FILE["secrets"].values()}


def test_an_extra_is_one():
    for block in blocks_of("tests/docs/test_command_lines.py::test_an_extra_is_one"):
        for line in block.lines:
            parse(line)
