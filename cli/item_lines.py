"""Lists of Items, from a file or standard input, one JSON object a line: every wrong one is told, then none is used."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from cli.failures import reason
from core.errors import EncryptionError, MannaError
from core.items.registration import NewItem

ACCEPTED = '{"user_id", "plaid_item_id", "access_token", "institution_id"?}'
# A file of another kind is wrong in each of its lines.
MOST_TOLD = 20

Reveal = Callable[[str], str]


def read_text(file: str) -> str:
    """Return what a file holds, or standard input for `-`; in UTF-8, with or without a byte order mark.

    Raises:
        MannaError: it cannot be read.
    """
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        name = "standard input" if file == "-" else file
        raise MannaError(f"{name} cannot be read: {reason(error).removeprefix(f'{file}: ')}") from None


def read_items(file: str, reveal: Reveal = str) -> list[NewItem]:
    """Return the Items of a file, their tokens as `reveal` gives them; a line for each wrong one on standard error.

    Raises:
        MannaError: a line is wrong, or there is none.
    """
    items, wrong = list[NewItem](), list[str]()
    for number, line in _lines(read_text(file)):
        try:
            items.append(_item(line, reveal))
        except (msgspec.MsgspecError, EncryptionError, UnicodeError) as error:
            wrong.append(f"line {number}: {error}")
    if len(wrong) == 1:
        raise MannaError(f"{wrong[0]}; accepted is {ACCEPTED}; nothing was done")
    if wrong:
        sys.stderr.writelines(f"{line}\n" for line in wrong[:MOST_TOLD])
        lines = len(wrong) + len(items)
        raise MannaError(f"{len(wrong)} of {lines} lines are wrong; accepted is {ACCEPTED}; nothing was done")
    if not items:
        raise MannaError(f"{file} holds no Item; accepted is {ACCEPTED}, one a line; nothing was done")
    return items


def _lines(text: str) -> Iterator[tuple[int, str]]:
    # Not splitlines(), which ends a line at characters that JSON allows within a text.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line


def new_item(given: dict[str, str | None]) -> NewItem:
    """Return an Item of the options of a command.

    Raises:
        MannaError: one of them cannot be.
    """
    try:
        return msgspec.convert(given, NewItem)
    except msgspec.MsgspecError as error:
        raise MannaError(f"{error}; accepted is one line of text, which is not empty") from None


def _item(line: str, reveal: Reveal) -> NewItem:
    given = msgspec.json.decode(line, type=NewItem)
    revealed = reveal(given.access_token)
    # Once more: what was encrypted elsewhere is looked at when it is open.
    return msgspec.convert(msgspec.to_builtins(msgspec.structs.replace(given, access_token=revealed)), NewItem)
