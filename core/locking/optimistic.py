"""The guarantee: a cursor moves only for the writer that read its current version."""

from typing import Any, Protocol

from sqlalchemy import Integer, inspect, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column


class OptimisticLockMixin:
    """Gives a table its `version`: it rises by one with each commit that moves the cursor."""

    version: Mapped[int] = mapped_column(Integer, nullable=False, default=0, server_default=text("0"))


class CursorRow(Protocol):
    """What `safe_cursor_update` needs of a row."""

    id: Any
    cursor: Any
    version: Any


async def safe_cursor_update(session: AsyncSession, row: CursorRow, new_cursor: str | None) -> bool:
    """Move `row.cursor` if nobody else has since `row` was read, and tell whether it moved.

    The row stays locked until the caller's transaction ends, so a rival's check waits for it and then fails: of
    any number of writers that read one version exactly one gets True. None keeps the cursor and still takes the
    version. Takes the row's state as it was read; a True answer also brings `row` itself up to date.
    """
    table = inspect(type(row)).local_table
    cursor = row.cursor if new_cursor is None else new_cursor
    statement = (
        update(table)
        .where(table.c.id == row.id, table.c.version == row.version)
        .values(cursor=cursor, version=table.c.version + 1)
    )
    moved = (await session.execute(statement.returning(table.c.id))).first() is not None
    if moved:
        row.cursor, row.version = cursor, row.version + 1
    return moved
