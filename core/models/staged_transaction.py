from sqlalchemy import Boolean, Column, Table, Text, Uuid

from core.database import Base
from core.models.transaction import Transaction

KEYS = {"item_id", "transaction_id"}
OURS = {"removed_at", "created_at", "updated_at"}


def _staged() -> Table:
    """Return the table that a large update waits in, row for row as it will stand, until one commit moves it.

    `gone` marks what Plaid removed. Unlogged: a run that did not live to its commit begins again, and its rows with it.
    """
    rows = Transaction.__mapper__.local_table.columns
    copied = [Column(column.name, column.type, nullable=True) for column in rows if column.name not in OURS | KEYS]
    return Table(
        "staged_transactions",
        Base.metadata,
        Column("run_id", Uuid, primary_key=True),
        Column("transaction_id", Text, primary_key=True),
        Column("gone", Boolean, nullable=False),
        *copied,
        prefixes=["UNLOGGED"],
    )


STAGED = _staged()
