import asyncio
import os

import pytest

from tests.conftest import ROOT
from tests.docs.console import differences, steps
from tests.docs.readers import READERS

DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if list(steps(page.read_text("utf-8"))))
WEB = "localhost:8000"


@pytest.mark.timeout(300)  # a page is a dozen processes, and the machine may be busy
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
async def test_the_page_s_commands_do_what_it_says(page, reader):
    if prepare := READERS.get(page.relative_to(DOCS).as_posix()):
        await prepare(reader)
    text = page.read_text("utf-8")
    if any(WEB in step.command for step in steps(text)):
        reader.words[WEB] = reader.start_web()
    assert await asyncio.to_thread(differences, text, reader.folder, reader.environment, reader.words) == []


def test_the_tutorial_is_among_the_pages_that_are_run():
    assert DOCS / "tutorial" / "first-sync.md" in PAGES


def test_who_is_prepared_for_a_page_is_prepared_for_one_that_is_run():
    assert {DOCS / name for name in READERS} <= set(PAGES)


@pytest.mark.parametrize(
    ("block", "is_as_told"),
    [
        ("$ echo one\none", True),
        ("$ echo one\ntwo", False),
        ("$ echo one two\none …", True),
        ("$ printf 'a\\nb\\nc\\n'\na\n...", True),
        ("$ printf 'a\\nb\\n'\na", False),
        ("$ echo 'a\n> b'\na\nb", True),
        ("$ false", False),
        ("$ N=1\n$ echo $N\n1", True),
        ("$ echo ID\n7", True),
    ],
)
def test_the_runner_itself_tells_right_from_wrong(block, is_as_told, tmp_path):
    page = f"```console\n{block}\n```\n"
    assert (differences(page, tmp_path, os.environ, {"ID": "7"}) == []) is is_as_told
