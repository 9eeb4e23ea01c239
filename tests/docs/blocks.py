"""The code blocks of the pages, and the commands in them and in their prose."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from tests.conftest import ROOT

FOLDERS = ("tutorial", "how-to", "runbooks")
# What a reader follows; of the reference, what shows commands or statements.
PAGES = (
    "README.md",
    *sorted(page.relative_to(ROOT).as_posix() for name in FOLDERS for page in (ROOT / "docs" / name).glob("*.md")),
    "docs/reference/api.md",
    "docs/reference/envelope.md",
)
BLOCK = re.compile(r"^([ ]*)```([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
ASSIGNMENT = re.compile(r"[A-Z][A-Z0-9_]*=")
ENDS = {"&&", "||", ";", "|", ">", ">>", "2>/dev/null"}


@dataclass(frozen=True)
class Block:
    """A fenced block; it is known by its page and its first line."""

    page: str
    language: str
    text: str

    @property
    def first_line(self) -> str:
        return self.text.splitlines()[0]

    @property
    def lines(self) -> list[str]:
        """Its commands, each on one line."""
        return [line for line in self.text.replace("\\\n", " ").splitlines() if line.strip()]


def blocks() -> Iterator[Block]:
    """Yield every block of every page, but for Sphinx's own directives."""
    for page in PAGES:
        for _, language, text in BLOCK.findall((ROOT / page).read_text("utf-8")):
            if not language.startswith("{"):
                yield Block(page, language, text)


def find_block(page: str, first_line: str) -> Block:
    (found,) = [block for block in blocks() if (block.page, block.first_line) == (page, first_line)]
    return found


def spans() -> Iterator[tuple[str, str]]:
    """Yield the page and the text of everything in back-ticks outside blocks."""
    for page in PAGES:
        for text in SPAN.findall(BLOCK.sub("", (ROOT / page).read_text("utf-8"))):
            yield page, text


def words(line: str) -> list[str]:
    """Return a command's words: without its variables, its comment, and what comes after a pipe or a redirection."""
    found = shlex.split(line, comments=True)
    while found and ASSIGNMENT.match(found[0]):
        found.pop(0)
    return found[: next((place for place, word in enumerate(found) if word in ENDS), len(found))]
