"""No page shows a block that nobody runs."""

import ast
import re

import pytest

from tests.conftest import ROOT
from tests.docs.blocks import Block, blocks
from tests.docs.ledger import LEDGER, PROMQL, SQL

# By their language, wherever they stand: each has one test for all of its kind.
BY_LANGUAGE = {"console": "tests/docs/test_console_blocks.py::test_the_page_s_commands_do_what_it_says"}
BY_LANGUAGE |= {"sql": SQL, "promql": PROMQL}


def claims(block: Block) -> tuple[str, ...]:
    """The tests that answer for a block."""
    if block.language in BY_LANGUAGE:
        return (BY_LANGUAGE[block.language],)
    return LEDGER.get(block.page, {}).get(block.first_line, ())


def test_every_block_of_every_page_is_run_by_a_test():
    assert [f"{block.page}: {block.first_line}" for block in blocks() if not claims(block)] == []


def test_every_block_says_what_language_it_is_in():
    assert [f"{block.page}: {block.first_line}" for block in blocks() if not block.language] == []


def test_the_ledger_holds_nothing_that_is_gone():
    there = {(block.page, block.first_line) for block in blocks()}
    assert [(page, line) for page, given in LEDGER.items() for line in given if (page, line) not in there] == []


def test_every_test_that_answers_for_a_block_exists():
    named = {test for given in LEDGER.values() for tests in given.values() for test in tests} | set(
        BY_LANGUAGE.values()
    )
    for test in named:
        path, name = test.split("::")
        tree = ast.parse((ROOT / path).read_text("utf-8"))
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, functions)}, test


@pytest.mark.parametrize(("language", "is_claimed"), [("console", True), ("sql", True), ("sh", False), ("", False)])
def test_a_new_block_without_a_test_would_be_found(language, is_claimed):
    assert bool(claims(Block("docs/how-to/new.md", language, "manna items list\n"))) is is_claimed


def test_no_fence_is_overlooked():
    text = "".join((ROOT / page).read_text("utf-8") for page in sorted({block.page for block in blocks()}))
    fences = [line for line in re.findall(r"^ *```(.*)$", text, re.MULTILINE)[::2] if not line.startswith("{")]
    assert len(fences) == len(list(blocks()))
