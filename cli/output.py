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


def print_rows(rows: Sequence[dict[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """Print rows: every field as JSON, or the given columns as a table."""
    if as_json:
        print_json(list(rows))
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*("" if row[column] is None else str(plain(row[column])) for column in columns))
    Console().print(table if rows else "nothing to show")
