"""Rows for people as a table, for programs as JSON."""

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from rich.console import Console
from rich.table import Table

ID_WIDTH = 36
PIPE_WIDTH = 1000


def plain(value: Any) -> Any:
    """Return a value as JSON can carry it: ids, words and exact amounts as text, times in ISO 8601."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID | Decimal) else value


def print_json(value: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(value, default=plain, ensure_ascii=False, indent=2))  # noqa: T201 - a command's answer


def print_told(facts: dict[str, Any], told: str, as_json: bool) -> None:  # noqa: FBT001 - as the option is
    """Print what came of a command: its figures as JSON, or a line that tells them."""
    if as_json:
        print_json(facts)
    else:
        print(told)  # noqa: T201 - a command's answer


def print_rows(rows: Sequence[dict[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """Print rows: every field as JSON, or the given columns as a table."""
    if as_json:
        print_json(list(rows))
        return
    console = Console()
    if not console.is_terminal:
        # A pipe has no edge to fit into.
        console.width = PIPE_WIDTH
    table = Table()
    for column in columns:
        # An id is there to be copied: what is short of room breaks in other columns.
        table.add_column(
            column, no_wrap=_is_id(column), min_width=ID_WIDTH if _is_id(column) else None, overflow="fold"
        )
    for row in rows:
        table.add_row(*("" if row[column] is None else str(plain(row[column])) for column in columns))
    console.print(table if rows else "nothing to show")


def _is_id(column: str) -> bool:
    return column == "id"
