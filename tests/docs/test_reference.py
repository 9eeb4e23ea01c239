import ast
import re
import sys
from pathlib import Path

import pytest

from scripts.reference.__main__ import FOLDER, PAGES
from tests.conftest import ROOT

DOCS = ROOT / "docs"


@pytest.mark.parametrize("module", PAGES, ids=lambda module: module.NAME)
def test_a_page_says_what_the_code_says(module):
    assert (FOLDER / module.NAME).read_text("utf-8") == module.page(), "run make reference"


def names_in(path):
    """The names of a file's functions."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, functions)}


@pytest.mark.parametrize(
    "page", ["explanation/ten-rules.md", "explanation/threat-model.md", "explanation/security-promises.md"]
)
def test_every_test_that_a_promise_names_exists(page):
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (DOCS / page).read_text("utf-8"))
    assert len(named) >= 10
    assert [(path, name) for path, name in named if name not in names_in(ROOT / path)] == []


def test_every_threat_is_attacked_by_a_test():
    rows = (DOCS / "explanation" / "threat-model.md").read_text("utf-8").split("## Threats")[1].split("##")[0]
    threats = [line for line in rows.splitlines() if line.startswith("| ")][1:]
    assert len(threats) > 20
    assert [line for line in threats if not re.search(r"`tests/[\w/]+\.py::\w+` *\|$", line)] == []


def test_a_page_has_a_title_closes_its_blocks_and_names_nobody_s_machine():
    for page in DOCS.rglob("*.md"):
        text = page.read_text("utf-8")
        assert text.startswith("# "), page
        assert text.count("```") % 2 == 0, page
        assert not [place for place in (ROOT, Path.home(), sys.prefix) if f"{place}/" in text], page
