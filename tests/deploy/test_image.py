"""What the image holds is enough for what it is started with, and its build knows every package by hash.

No container engine is needed: the files that the Dockerfile copies are laid out in a folder, and run from there with
nothing of the checkout in reach. docs/how-to/build-the-image.md tells how the image itself is built without Docker.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
import yaml

from core.version import VERSION
from tests.conftest import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
BUILD, FINAL = DOCKERFILE.split("\nFROM ")[1:]


def copies(stage):
    """Each COPY of a stage from the checkout: sources and target."""
    lines = [line.split()[1:] for line in stage.splitlines() if line.startswith("COPY ") and "--from=" not in line]
    return [(sources, target) for *sources, target in lines]


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    app = tmp_path_factory.mktemp("app")
    for sources, target in copies(FINAL):
        for source in sources:
            place = app / target / ("" if (ROOT / source).is_dir() else source.rpartition("/")[2])
            place.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
            copy(ROOT / source, place)
    return app


def run(image: Path, *arguments, **environment):
    # -S leaves out the link of this environment to the checkout.
    env = {"PYTHONPATH": f"{image}:{sysconfig.get_path('purelib')}", "PATH": "/usr/bin:/bin"} | environment
    command = [sys.executable, "-S", *arguments]
    return subprocess.run(command, cwd=image, env=env, capture_output=True, text=True, check=False)


def test_the_builder_is_given_what_is_copied():
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for sources, _ in [*copies(BUILD), *copies(FINAL)]:
        assert [source for source in sources if source.split("/")[0] not in allowed] == []


def test_the_checkout_is_out_of_reach(image):
    assert "No module named 'devstack'" in run(image, "-c", "import devstack").stderr


def test_what_the_processes_load_is_there(image):
    loaded = "import cli.main, simulator.__main__, web.app, worker; worker.app.loader.import_default_modules()"
    done = run(image, "-c", loaded, PLAID_CLIENT_ID="client")
    assert done.returncode == 0, done.stderr
    heads = run(image, "-m", "alembic", "heads")
    assert "(head)" in heads.stdout, heads.stderr


def test_it_tells_its_version(image):
    assert run(image, "-m", "cli", "--version").stdout == f"manna-sync {VERSION}\n"
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION
    (given,) = yaml.safe_load((ROOT / "deploy/kubernetes/overlays/production/kustomization.yaml").read_text())["images"]
    assert given["newTag"] == VERSION


@pytest.mark.parametrize("command", ["demo", "up"])
def test_what_needs_servers_of_its_own_says_in_one_line_that_there_are_none(image, command):
    done = run(image, "-m", "cli", command)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "manna: the image brings no servers to start: run `manna demo` and `manna up` in a checkout\n"


def test_its_security_is_validated_with_the_locks_in_hand(image):
    done = run(image, "-m", "scripts.validate_security", "--json", DATABASE_URL="postgresql://127.0.0.1:1/none")
    found = {finding["name"]: finding for finding in json.loads(done.stdout)}
    of_packages = {name: finding["status"] for name, finding in found.items() if name.startswith("dependencies.")}
    assert len(of_packages) > 5
    assert set(of_packages.values()) == {"passed"}, found


def pip_lines():
    (line,) = [line for line in BUILD.splitlines() if "pip install" in line]
    return [shlex.split(part)[1:] for part in line.removeprefix("RUN ").split("&&")]


def test_every_package_of_the_build_is_known_by_its_hash():
    *installs, uninstall = pip_lines()
    locks = [words[words.index("-r") + 1].replace("/build/", "locks/") for words in installs]
    assert locks == ["locks/build.txt", "locks/image.txt"]
    for words, lock in zip(installs, locks, strict=True):
        assert words[:4] == ["install", "--require-hashes", "--only-binary", ":all:"]
        pins = re.split(r"\n(?=\S)", (ROOT / lock).read_text().strip())
        assert [pin for pin in pins if "--hash=sha256:" not in pin] == []
    assert uninstall == ["uninstall", "--yes", "setuptools", "pip"]


def test_what_is_published_as_source_alone_is_built_by_what_is_locked():
    """plaid-python has no wheel: its lock has one hash, and nothing that is not locked may build it."""
    first, second, _ = pip_lines()
    assert "--no-binary" not in first
    assert second[second.index("--no-binary") + 1] == "plaid-python"
    assert "--no-build-isolation" in second
    assert (ROOT / "locks/build.txt").read_text().startswith("setuptools==")


def test_the_how_to_builds_what_there_is():
    """No engine is to be had here: argument, tag and base are those of the Dockerfile and of docker-compose.yml."""
    page = (ROOT / "docs/how-to/build-the-image.md").read_text("utf-8")
    name, default = re.search(r"^ARG (\w+)=(\S+)", DOCKERFILE, re.MULTILINE).groups()
    assert set(re.findall(r"--build-arg (\w+)=", page)) == {name}
    assert f"{name}=docker.io/library/{default}" in page
    tag = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["web"]["image"].partition(":")[0]
    assert set(re.findall(r"--tag (\S+)", page)) == {tag}
    made = re.search(r'commit "\$container" (\S+)', page)[1]
    assert f"{name}={made}`" in page
    assert all(
        f"`{path.relative_to(ROOT)}`" in page for path in map(ROOT.joinpath, ("locks/build.txt", "locks/image.txt"))
    )


def test_the_image_and_the_runtime_agree_on_every_version():
    def pins(name):
        found = re.findall(r"^([A-Za-z0-9._-]+==[^ ;\\]+)", (ROOT / "locks" / name).read_text(), re.MULTILINE)
        return set(found)

    assert pins("runtime.txt") <= pins("image.txt")
