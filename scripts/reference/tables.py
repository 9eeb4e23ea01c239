"""The page of tables, from the models and the comments on their columns."""

import inspect
from collections.abc import Iterator

from sqlalchemy import CheckConstraint, Column, ColumnElement, Table
from sqlalchemy.dialects import postgresql

import core.models  # noqa: F401 - fills the metadata
from core.database import Base

NAME = "tables.md"
HEAD = """# Tables

Written from the code by `python -m scripts.reference`; a test holds it to the code, and another holds the code to the
migrations.

Ids of ours are UUIDv7 made by the client, times are `timestamptz` in UTC, money is `numeric`.
"""
DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped


def page() -> str:
    """Return the page's text."""
    meanings = {mapper.local_table: inspect.getdoc(mapper.class_) or "" for mapper in Base.registry.mappers}
    tables = sorted(Base.metadata.tables.values(), key=lambda table: table.name)
    return "\n".join([HEAD, *(line for table in tables for line in _table(table, meanings.get(table, "")))])


def _table(table: Table, meaning: str) -> Iterator[str]:
    yield f"## {table.name}\n"
    if meaning:
        yield f"{' '.join(meaning.split())}\n"
    yield "| column | type | |\n|---|---|---|"
    for column in table.columns:
        yield f"| `{column.name}` | `{column.type.compile(DIALECT)}` | {', '.join(_facts(column))} |"
    yield ""
    for constraint in sorted(table.constraints, key=lambda one: str(one.name)):
        if isinstance(constraint, CheckConstraint):
            yield f"- {_words(constraint.sqltext)}"
    yield ""


def _facts(column: Column[object]) -> Iterator[str]:
    if column.primary_key:
        yield "primary key"
    yield from (f"references `{key.target_fullname}`" for key in column.foreign_keys)
    if column.unique:
        yield "unique"
    if column.nullable:
        yield "may be null"


def _words(condition: ColumnElement[bool]) -> str:
    return f"`{condition}`"
